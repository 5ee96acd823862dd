"""Checkpoints: the state that a packet ended in, rounded to a compact form, from which later packets start.

A packet names the checkpoint that it starts from; a board starts only from one that the receiver acknowledged.
"""

from qres.compat import const, sha256
from qres.forecast import CHANGE_MAX, COUNT, DELTAS, MEANS, NEIGHBOURS, SEEN
from qres.model import CHANNELS_MAX
from qres.state import MEAN_MAX, put_varint, unzigzag, zigzag

if False:
    from typing import Any

    from qres.state import State

EPS_MAX = const(0xFFFFFF)
_ORDER_MAX = const(16)
_SEEN_MAX = const(24)  # most changes that a checkpoint's means count for


class StateError(ValueError):
    """Bytes that are no checkpoint."""


def get_varint(data: bytes, at: int) -> "tuple[int, int]":
    """(value, where it ends) of the varint at data[at], of at most 7 bytes; StateError when there is none."""
    value = 0
    for i in range(7):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise StateError("no varint")


def _short(mean: int) -> int:
    """A mean as one byte: three bits behind the highest, and where that stands."""
    shift = 0
    while mean > 15:
        mean >>= 1
        shift += 1
    return shift << 3 | mean & 7 if shift or mean > 7 else 0


def put_modes(out: bytearray, modes: "list[tuple[int, int]]") -> None:
    """Append how exact each channel is: (eps, whether it may be silent), or nothing but a zero for all exact ones."""
    out.append(len(modes))
    for eps, silent in modes:
        put_varint(out, eps << 1 | (1 if silent else 0))


def get_modes(data: bytes, at: int, channels: int) -> "tuple[list[tuple[int, int]], int]":
    """(what put_modes wrote at data[at..], where it ends); StateError when there is nothing such."""
    modes = []
    if at >= len(data) or data[at] not in (0, channels):
        raise StateError("no modes")
    at += 1
    for _ in range(data[at - 1]):
        value, at = get_varint(data, at)
        if value >> 1 > EPS_MAX:
            raise StateError("no modes")
        modes.append((value >> 1, value & 1))
    return modes, at


class Checkpoint:
    """A state that a packet may start from; `name` are four bytes that stand for it and for the node that it is of."""

    def __init__(self, node: int, packed: bytes) -> None:
        """Of `pack`; StateError when it cannot be one."""
        self.packed = packed
        if len(packed) < 4 or not 1 <= packed[0] <= CHANNELS_MAX or not 1 <= packed[1] <= _ORDER_MAX:
            raise StateError("no checkpoint")
        self.channels = packed[0]
        self.order = packed[1]
        self.period_code = packed[2] | packed[3] << 8
        self.next_index, at = get_varint(packed, 4)
        self.modes, self.body = get_modes(packed, at, self.channels)
        self.name = sha256(node.to_bytes(4, "little") + packed)[:4]


def pack(state: "State", coder: "Any", next_index: int, period_code: int, modes: "list[tuple[int, int]]") -> bytes:
    """The checkpoint after the last step, whose successor would be number `next_index`."""
    out = bytearray([state.channels, state.order, period_code & 255, period_code >> 8])
    put_varint(out, next_index)
    put_modes(out, modes)
    coder.keep(state, out)
    n = state.ints
    for c in range(state.channels):
        at = c * state.stride
        own = state.shared + c * state.per
        out.append(n[at + COUNT])
        if not n[at + COUNT]:
            continue
        out.append(min(n[at + SEEN], _SEEN_MAX))
        put_varint(out, zigzag(state.last[c]))
        for i in range(3):
            out.append(_short(n[at + MEANS + i]))
        for i in range(state.order):
            w = state.words[own + i]
            out.append(w & 255)
            out.append(w >> 8)
        for i in range(NEIGHBOURS):
            out.append(state.words[own + state.order + i] >> 6 & 255)
        for i in range(DELTAS, state.stride):
            put_varint(out, zigzag(n[at + i]))
    return bytes(out)


def resume(state: "State", coder: "Any", point: Checkpoint, gap: int) -> None:
    """Start from a checkpoint of the same shape, `gap` steps after its end; StateError when it is malformed."""
    data = point.packed
    try:
        at = coder.recall(state, data, point.body)
        for c in range(state.channels):
            at = _resume(state, c, data, at)
    except IndexError:
        raise StateError("truncated")
    if at != len(data):
        raise StateError("bytes left over")
    state.away = state.gap = 0
    if gap:
        state.away = (1 << state.channels) - 1
        while gap > 0 and state.gap < 8:
            gap >>= 2
            state.gap += 1
        for at in range(0, len(state.ints), state.stride):
            for i in range(DELTAS, state.stride):
                state.ints[at + i] = 0


def _resume(state: "State", c: int, data: bytes, at: int) -> int:
    """Read channel `c` from data[at..]; where it ends."""
    n = state.ints
    first = c * state.stride
    own = state.shared + c * state.per
    n[first + COUNT] = data[at]
    if data[at] > state.order + 1:
        raise StateError("no channel")
    if not data[at]:
        return at + 1
    n[first + SEEN] = min(data[at + 1], _SEEN_MAX)
    value, at = get_varint(data, at + 2)
    state.last[c] = unzigzag(value)
    means = []
    for i in range(3):
        b = data[at + i]
        means.append(min((8 | b & 7) << (b >> 3), MEAN_MAX) if b else 1)
    state.set_means(first, means[0], means[1], means[2])
    at += 3
    for i in range(state.order):
        state.words[own + i] = data[at] | data[at + 1] << 8
        at += 2
    for i in range(NEIGHBOURS):
        w = data[at]
        state.words[own + state.order + i] = (w << 6) - (16384 if w > 127 else 0) & 65535
        at += 1
    for i in range(DELTAS, state.stride):
        value, at = get_varint(data, at)
        n[first + i] = min(max(unzigzag(value), -CHANGE_MAX), CHANGE_MAX)
    return at
