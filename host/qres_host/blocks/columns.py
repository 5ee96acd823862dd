"""Columns of the fast level: an integer predictor fitted ahead, and tokens with tables of their own.

Layout: length of the head (varint), the head, the state (four bytes, little-endian), 16-bit words.  The head describes
the columns one after the other.  The decoder is integer throughout.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host import native
from qres_host.blocks import fit, linear, loops, tokens
from qres_host.blocks.linear import Plan
from qres_host.blocks.varint import Reader, put, put_signed

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
STRETCH: Final = 512
"""Contexts are judged by stretches of so many rows, JUDGED rows in all."""

DIFFERENCES, TAPS, CONSTANT = 3, 4, 64
KIND_SHIFT: Final = 4

Ints = NDArray[np.int64]


class Column(NamedTuple):
    """One column ready to be put."""

    head: bytes
    u: Ints
    token: Ints
    context: NDArray[np.uint8]
    coder: tokens.Coder | None


def bits_for(rows: int) -> int:
    """Frequencies of a block of so many rows add up to 2 to this power."""
    return 14 if rows >= 8192 else 13 if rows >= 4096 else 12


def encode(columns: list[Ints], ordered: bool = True) -> bytes:
    """Columns of one length, at least 1, int64 within 32 bits, as bytes; not `ordered`: no value tells of the next."""
    kin = fit.Kin() if ordered else None
    done = [_column(v, columns[:c], kin) for c, v in enumerate(columns)]
    head = b"".join(column.head for column in done)
    state = STATE
    words = []
    for column in reversed(done):
        if column.coder is not None:
            state, part = column.coder.put(column.u, column.token, column.context, state)
            words.append(part)
    stream = np.concatenate([*words, np.empty(0, np.uint16)])[::-1].astype("<u2").tobytes()
    return put(len(head)) + head + state.to_bytes(4, "little") + stream


def _column(v: Ints, columns: list[Ints], kin: fit.Kin | None) -> Column:
    """Plan one column and describe it."""
    if not np.any(v != v[0]):
        return Column(bytes((CONSTANT,)) + put_signed(int(v[0])), v, v, np.zeros(0, np.uint8), None)
    plan = fit.plan(v, kin, len(columns)) if kin else Plan(0, int(np.median(v)))
    r = linear.residuals(v, plan, columns)
    found = tokens.counted(r)
    u = np.asarray(found.u)
    parts = tokens.cheapest(found)
    token = tokens.tokens(np.asarray(found.token), parts)
    kind, limits = _contexts(v, token, parts, plan) if kin else (NO_CONTEXT, np.zeros(0, np.int64))
    context = np.zeros(v.size, np.uint8)
    if kind:
        key = _sizes(token, parts) if kind == BY_SIZE else _levels(v, plan.first, np.arange(v.size))
        context = _context(key, limits)
    table = _table(token, context, int(token.max()) + 1, limits.size + 1)
    weights = tokens.weights(table, bits_for(v.size))
    coder = tokens.Coder(weights, bits_for(v.size), parts)
    flags = plan.differences | (TAPS if plan.taps else 0) | kind << KIND_SHIFT
    head = bytes((flags,)) + _describe(plan) + bytes((parts.small << 2 | parts.fine,)) + put(table.shape[1])
    if kind:
        head += bytes((limits.size,)) + b"".join(put_signed(int(step)) for step in np.diff(limits, prepend=0))
    return Column(head + _tables(weights), u, token, context, coder)


def _sizes(token: Ints, parts: tokens.Split) -> Ints:
    """The key of BY_SIZE for each row, as `get_tokens` sees it."""
    key: Any = np.empty(token.size, np.int64) if native.COMPILED else [0] * token.size
    loops.sizes(loops.ready(token), loops.ready(parts.length), key)
    return np.asarray(key, np.int64)


def _levels(v: Ints, first: int, rows: Ints) -> Ints:
    """The key of BY_LAST and BY_SUM for these rows: the value before, less the first."""
    key = linear.wrap(v[np.maximum(rows - 1, 0)] - first)
    key[rows == 0] = 0
    return key


def _context(key: Ints, limits: Ints) -> NDArray[np.uint8]:
    """How many of the limits are below each key."""
    context = np.zeros(key.size, np.uint8)
    for limit in limits:
        context += key > limit
    return context


def _table(token: Ints, context: NDArray[Any], size: int, contexts: int) -> Ints:
    """Tokens counted, a row a context."""
    counts: Ints = np.bincount(context * np.int64(size) + token, minlength=size * contexts)
    return counts.reshape(contexts, size)


def _contexts(v: Ints, token: Ints, parts: tokens.Split, plan: Plan) -> tuple[int, Ints]:
    """The kind of contexts, and their limits, that cost least over some stretches of the column."""
    step = max(1, v.size // JUDGED)
    starts = np.arange(0, v.size, STRETCH * step) if step > 1 else np.zeros(1, np.int64)
    rows = (starts[:, None] + np.arange(STRETCH if step > 1 else v.size)).ravel()
    rows = rows[: np.searchsorted(rows, v.size)]
    some = token[rows]
    size = int(some.max()) + 1
    best = tokens.entropy(np.bincount(some)[None], step)
    found = NO_CONTEXT, np.zeros(0, np.int64)
    by_size = _table(some, _sizes(some, parts), size, KEYS)
    for count in BY_SIZE_COUNTS:
        limits = _limits(by_size.sum(axis=1).cumsum(), count)
        bits = tokens.entropy(np.add.reduceat(by_size, np.concatenate([[0], limits + 1])), step)
        if bits < best:
            best, found = bits, (BY_SIZE, limits)
    if plan.taps or plan.differences > 1:
        return found
    key = _levels(v, plan.first, rows)
    ranked = np.sort(key[:: max(1, key.size // LEVELS_SEEN)])
    limits = np.unique(ranked[np.arange(1, BY_LEVEL_COUNT) * ranked.size // BY_LEVEL_COUNT])
    bits = tokens.entropy(_table(some, _context(key, limits), size, limits.size + 1), step)
    return (BY_SUM if plan.differences else BY_LAST, limits) if bits < best else found


def _limits(running: Ints, count: int) -> Ints:
    """Limits between keys 0, 1, 2, ..., of these running sums of rows, that part the rows in about `count` parts."""
    total = int(running[-1])
    keys = np.unique(np.searchsorted(running, np.arange(1, count) * total // count, side="right"))
    return keys[running[keys] < total]


def _describe(plan: Plan) -> bytes:
    """The fields of a plan."""
    out = put_signed(plan.first)
    if plan.taps:
        out += bytes((plan.order, plan.shift)) + put(plan.other + 1) + b"".join(map(put_signed, plan.taps))
    return out


def _tables(weights: Ints) -> bytes:
    """Weights as bits."""
    room = 5 * weights.size + 8
    out: Any = np.empty(room, np.uint8) if native.COMPILED else bytearray(room)
    used = loops.put_tables(loops.ready(weights.ravel()), weights.size, out)
    return bytes(out[:used])


def decode(data: bytes, at: int, rows: int, channels: int) -> list[Ints]:
    """The columns that data[at:] holds; CodecError for bytes that are no such columns."""
    reader = Reader(data, at)
    end = reader.get() + reader.at
    if end + 4 > len(data) or (len(data) - end) % 2:
        raise CodecError("truncated")
    state = int.from_bytes(data[end : end + 4], "little")
    words = loops.ready(np.frombuffer(data, "<u2", offset=end + 4).astype(np.uint16))
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
    weights: Any = np.zeros((count + 1) * size, np.int64) if native.COMPILED else [0] * ((count + 1) * size)
    source = np.frombuffer(reader.data, np.uint8) if native.COMPILED else reader.data
    reader.at = loops.get_tables(source, reader.at, weights, len(weights))
    if reader.at < 0:
        raise CodecError("no such tables")
    table = np.array(weights, np.int64).reshape(count + 1, size)
    return tokens.Coder(table, bits_for(rows), parts), kind, limits
