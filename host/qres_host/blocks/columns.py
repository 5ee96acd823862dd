"""Columns of the fast level: an integer predictor fitted ahead, and tokens with tables of their own.

Layout: length of the head (varint), the head, the state (four bytes, little-endian), 16-bit words.  The head describes
the columns one after the other.  The decoder is integer throughout.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host import native
from qres_host.blocks import fit, linear, loops, token_loops, tokens
from qres_host.blocks.linear import Plan
from qres_host.blocks.loops import ready
from qres_host.blocks.varint import Reader, put, put_folded, put_signed

STATE: Final = 1 << 16
"""The coder's state before the first value is put, and so after the last one is read."""

NO_CONTEXT, BY_SIZE, BY_LAST, BY_SUM = 0, 1, 2, 3
BY_SIZE_COUNTS: Final = (3, 8)
BY_LEVEL_COUNT: Final = 6
"""How many contexts are tried of each kind: BY_SUM where values are differences, else BY_LAST."""
KEYS: Final = 3 * 32 + 1
"""Keys of BY_SIZE."""
LEVELS_SEEN: Final = 1024
JUDGED: Final = 8192
STRETCH: Final = 256
"""Contexts are judged by stretches of so many rows, JUDGED rows in all."""

DIFFERENCES, TAPS, CONSTANT = 3, 4, 64
KIND_SHIFT: Final = 4

Ints = NDArray[np.int64]
Values = NDArray[np.int32]


class Column(NamedTuple):
    """One column ready to be put: residuals, and where the token of each stands in the tables."""

    head: bytes
    residuals: Any
    places: Any
    coder: tokens.Coder | None


def bits_for(rows: int) -> int:
    """Frequencies of a block of so many rows add up to 2 to this power."""
    return 14 if rows >= 8192 else 13 if rows >= 4096 else 12


def encode(columns: list[Values], ordered: bool = True) -> bytes:
    """Columns of one length, at least 1, as bytes; not `ordered`: no value tells of the next."""
    kin = fit.Kin() if ordered else None
    done = [_column(v, columns[:c], kin) for c, v in enumerate(columns)]
    head = b"".join(column.head for column in done)
    state = STATE
    words = []
    for column in reversed(done):
        if column.coder is not None:
            state, part = column.coder.put(column.residuals, column.places, state)
            words.append(part)
    return put(len(head)) + head + state.to_bytes(4, "little") + b"".join(reversed(words))


def _column(v: Values, columns: list[Values], kin: fit.Kin | None) -> Column:
    """Plan one column and describe it."""
    if v.min() == v.max():
        return Column(bytes((CONSTANT,)) + put_signed(int(v[0])), v, v, None)
    plan = fit.plan(v, kin, len(columns)) if kin else Plan(0, int(np.median(v)))
    r, finest, places = tokens.empty(v.size), tokens.empty(v.size, "i2"), tokens.empty(v.size, "i2")
    counts = tokens.room(tokens.FINEST.base.size)
    most = linear.residuals(v, plan, columns, r, finest, counts)
    parts = tokens.cheapest(counts, most + 1)
    size = int(tokens.merged_tokens(parts)[most]) + 1
    values = ready(v)
    kind, limits = _contexts(v, values, finest, size, parts, plan) if kin else (NO_CONTEXT, np.zeros(0, np.int64))
    table = tokens.room((limits.size + 1) * size)
    merged, length = tokens.merged_tokens(parts), ready(parts.length)
    by_size = ready(_by_size(limits))
    token_loops.place(values, plan.first, finest, merged, length, kind, ready(limits), by_size, size, places, table)
    weights = tokens.room(len(table))
    loops.weigh(table, size, bits_for(v.size), weights)
    flags = plan.differences | (TAPS if plan.taps else 0) | kind << KIND_SHIFT
    head = bytes((flags,)) + _describe(plan) + bytes((parts.small << 2 | parts.fine,)) + put(size)
    if kind:
        head += bytes((limits.size,)) + put_folded(_steps(limits))
    coder = tokens.Coder(weights, size, bits_for(v.size), parts)
    return Column(head + _tables(weights), r, places, coder)


def _steps(limits: Ints) -> list[int]:
    """Each limit less the one before."""
    values = limits.tolist()
    return [value - last for value, last in zip(values, [0, *values])]


def _by_size(limits: Ints) -> Ints:
    """The context of each key of BY_SIZE: how many limits lie below."""
    return np.searchsorted(limits, np.arange(KEYS))


def _contexts(v: Values, values: Any, finest: Any, size: int, parts: tokens.Split, plan: Plan) -> tuple[int, Ints]:
    """The kind of contexts, and their limits, that cost least over some stretches of the column."""
    step = max(1, v.size // JUDGED)
    room = min(v.size, (v.size // (STRETCH * step) + 1) * STRETCH)
    some, keys, counts = tokens.empty(room, "i2"), tokens.empty(room, "u1"), tokens.room(KEYS)
    stretches = STRETCH, step
    taken = token_loops.sample(finest, tokens.merged_tokens(parts), ready(parts.length), *stretches, some, keys, counts)

    def bits(keys: Any, contexts: Ints, count: int) -> float:
        table = tokens.room(count * size)
        return tokens.entropy_of(some, keys, taken, contexts, table, size, step)

    best = bits(keys, np.zeros(KEYS, np.int64), 1)
    found = NO_CONTEXT, np.zeros(0, np.int64)
    for count in BY_SIZE_COUNTS:
        limits = _limits(counts, count)
        cost = bits(keys, _by_size(limits), limits.size + 1)
        if cost < best:
            best, found = cost, (BY_SIZE, limits)
    if plan.taps or plan.differences > 1:
        return found
    ranked = np.sort(linear.wrap(v[:: max(1, v.size // LEVELS_SEEN)].astype(np.int64) - plan.first))
    limits = np.unique(ranked[np.arange(1, BY_LEVEL_COUNT) * ranked.size // BY_LEVEL_COUNT])
    token_loops.levels(values, plan.first, ready(limits), *stretches, keys)
    cost = bits(keys, np.arange(KEYS), limits.size + 1)
    return (BY_SUM if plan.differences else BY_LAST, limits) if cost < best else found


def _limits(counts: Any, parts: int) -> Ints:
    """Limits between keys so counted, that part the rows in about `parts` parts."""
    out = tokens.empty(parts)
    found = token_loops.limits(counts, parts, out)
    return np.array(out[:found], np.int64)


def _describe(plan: Plan) -> bytes:
    """The fields of a plan."""
    out = put_signed(plan.first)
    if plan.taps:
        out += bytes((plan.order, plan.shift)) + put(plan.other + 1) + put_folded(plan.taps)
    return out


def _tables(weights: Any) -> bytes:
    """Weights as bits."""
    room = 5 * len(weights) + 8
    out: Any = np.empty(room, np.uint8) if native.COMPILED else bytearray(room)
    used = loops.put_tables(weights, len(weights), out)
    return bytes(out[:used])


def decode(data: bytes, at: int, rows: int, channels: int) -> list[Ints]:
    """The columns that data[at:] holds; CodecError for bytes that are no such columns."""
    reader = Reader(data, at)
    end = reader.get() + reader.at
    if end + 4 > len(data) or (len(data) - end) % 2:
        raise CodecError("truncated")
    state = int.from_bytes(data[end : end + 4], "little")
    words = ready(np.frombuffer(data, "<u2", offset=end + 4).astype(np.uint16))
    reader = Reader(data[:end], reader.at)
    columns: list[Ints] = []
    place = 0
    for _ in range(channels):
        flags = reader.byte()
        if flags == CONSTANT:
            columns.append(np.full(rows, reader.int32(), np.int64))
            continue
        plan = _read_plan(reader, flags, len(columns))
        coder, kind, limits = _read_coder(reader, flags, rows)
        state, place, r = coder.get(words, state, place, rows, limits, kind)
        if place > len(words):
            raise CodecError("truncated")
        columns.append(linear.restore(r, plan, columns))
    if reader.at != end or place != len(words) or state != STATE:
        raise CodecError("bytes left over")
    return columns


def _read_plan(reader: Reader, flags: int, before: int) -> Plan:
    """The plan of the next column, `before` columns precede it."""
    differences = flags & DIFFERENCES
    if differences > linear.DIFFERENCES_MAX or flags >= CONSTANT:
        raise CodecError("no such column")
    first = reader.int32()
    if not flags & TAPS:
        return Plan(differences, first)
    order, shift, other = reader.byte(), reader.byte(), reader.get() - 1
    if not 1 <= order <= linear.ORDER_MAX or shift > linear.SHIFT_MAX or other >= before:
        raise CodecError("no such predictor")
    count = order + (linear.OTHER_TAPS if other >= 0 else 0)
    taps = tuple(reader.signed() for _ in range(count))
    if max(taps) > linear.TAP_MAX or min(taps) < -linear.TAP_MAX:
        raise CodecError("no such tap")
    return Plan(differences, first, order, shift, taps, other)


def _read_coder(reader: Reader, flags: int, rows: int) -> tuple[tokens.Coder, int, Ints]:
    """The tables of the next column, the kind of its contexts and their limits."""
    sizes = reader.byte()
    parts = tokens.split(sizes >> 2, sizes & 3)
    size = reader.get()
    if not 1 <= size <= parts.base.size:
        raise CodecError("no such tokens")
    kind = flags >> KIND_SHIFT & 3
    count = reader.byte() if kind else 0
    if count >= tokens.CONTEXTS_MAX:
        raise CodecError("too many contexts")
    limits = np.cumsum([reader.signed() for _ in range(count)], dtype=np.int64)
    weights = tokens.room((count + 1) * size)
    source = np.frombuffer(reader.data, np.uint8) if native.COMPILED else reader.data
    reader.at = loops.get_tables(source, reader.at, weights, len(weights))
    if reader.at < 0:
        raise CodecError("no such tables")
    return tokens.Coder(weights, size, bits_for(rows), parts), kind, limits
