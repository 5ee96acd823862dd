"""Peers with a bounded error that draw: send-on-delta (hold), LTC, the swing filter; and how their segments are coded.

Every end of a segment is an integer, every sample between is rounded, and the bound holds after that: an encoder closes
a segment at the last sample where an integer end keeps all of it within the bound. Lengths and steps between ends are
two lists, each in the smaller of a Rice code with the best parameter and xz over variable-length bytes.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qres_host.bench.bits import get, put, view
from qres_host.bench.coder import Ints
from qres_host.bench.jit import jit
from qres_host.bench.peers.rice import (
    PARAMETER_BITS,
    VALUE_BITS_MAX,
    Wide,
    best_parameter,
    read,
    unzigzag,
    write,
    zigzag,
)

_XZ_FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]


class Line(NamedTuple):
    """A way to draw: `encode(x, eps)` and `decode(data, rows)` of one column; |error| <= eps in steps."""

    name: str
    encode: Callable[[Ints, int], bytes]
    decode: Callable[[bytes, int], Ints]


@jit
def _hold(x: Wide, eps: int, at: Wide, ends: Wide) -> int:
    """Send a value when the last one sent is off by more than `eps`."""
    n = 0
    for i in range(len(x)):
        if n == 0 or abs(x[i] - ends[n - 1]) > eps:
            at[n] = i
            ends[n] = x[i]
            n += 1
    return n


@jit
def _between(y0: int, y1: int, i: int, length: int) -> int:
    """The point i of a segment of `length` steps from y0 to y1, rounded half up."""
    return y0 + ((y1 - y0) * i * 2 + length) // (2 * length)


@jit
def _end(x: Wide, start: int, y0: int, low: float, high: float, length: int, swing: bool) -> int:
    """An integer end of the segment within the slopes low..high: their middle (LTC), or of least squares (swing)."""
    slope = (low + high) / 2
    if swing:
        above = 0.0
        below = 0.0
        for i in range(1, length + 1):
            above += float(x[start + i] - y0) * i
            below += float(i) * i
        slope = min(max(above / below, low), high)
    end = y0 + int(np.floor(slope * length + 0.5))
    return min(max(end, y0 + int(np.ceil(low * length))), y0 + int(np.floor(high * length)))


@jit
def _draw(x: Wide, eps: int, swing: bool, at: Wide, ends: Wide) -> int:
    """Connected segments from the first sample on; the number of ends.

    A segment grows while some slope keeps every sample within the bound; rounding gives each half a step more.
    """
    at[0] = 0
    ends[0] = x[0]
    n = 1
    start = 0
    while start < len(x) - 1:
        y0 = ends[n - 1]
        low = -1e18
        high = 1e18
        kept = 0
        kept_low = low
        kept_high = high
        length = 1
        while start + length < len(x):
            low = max(low, (x[start + length] - y0 - eps - 0.499) / length)
            high = min(high, (x[start + length] - y0 + eps + 0.499) / length)
            if low > high:
                break
            if np.ceil(low * length) <= np.floor(high * length):
                kept, kept_low, kept_high = length, low, high
            length += 1
        ends[n] = _end(x, start, y0, kept_low, kept_high, kept, swing)
        start += kept
        at[n] = start
        n += 1
    return n


@jit
def _fill(at: Wide, ends: Wide, x: Wide) -> None:
    for s in range(len(at) - 1):
        length = at[s + 1] - at[s]
        for i in range(length + 1):
            x[at[s] + i] = _between(ends[s], ends[s + 1], i, length)


def _press(values: Wide) -> bytes:
    """Integers >= 0 in the smaller of two codes; the first bit says which."""
    k = best_parameter(values) if len(values) else 0
    out = np.zeros(16 + len(values) * VALUE_BITS_MAX // 8, np.uint8)
    bits = write(values, k, out, int(put(out, 1, k, PARAMETER_BITS)))
    rice = out[: (bits + 7) >> 3].tobytes()
    packed = bytearray()
    for value in values.tolist():
        while value > 127:
            packed.append(value & 127 | 128)
            value >>= 7
        packed.append(value)
    xz = b"\x80" + lzma.compress(bytes(packed), lzma.FORMAT_RAW, filters=_XZ_FILTERS)
    return min(rice, xz, key=len)


def _expand(data: bytes, count: int) -> Wide:
    """The `count` integers that `_press` was given."""
    values = np.zeros(count, np.int64)
    if data[0] < 128:
        bits = view(data)
        read(bits, get(bits, 1, PARAMETER_BITS), 1 + PARAMETER_BITS, values)
        return values
    packed = iter(lzma.decompress(data[1:], lzma.FORMAT_RAW, filters=_XZ_FILTERS))
    for i in range(count):
        shift = 0
        while (byte := next(packed)) > 127:
            values[i] |= (byte & 127) << shift
            shift += 7
        values[i] |= byte << shift
    return values


def _pack(at: Wide, ends: Wide) -> bytes:
    """Ends of segments: their number, the size of the first list, lengths, steps between the values."""
    lengths = _press(np.diff(at) - 1)
    return len(at).to_bytes(4, "little") + len(lengths).to_bytes(4, "little") + lengths + _press(zigzag(_steps(ends)))


def _steps(ends: Wide) -> Wide:
    return np.diff(ends, prepend=np.zeros(1, np.int64))


def _unpack(data: bytes) -> tuple[Wide, Wide]:
    count, size = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    at = np.concatenate([[0], np.cumsum(_expand(data[8 : 8 + size], count - 1) + 1)])
    return at, np.cumsum(unzigzag(_expand(data[8 + size :], count)))


def _encode_hold(x: Ints, eps: int) -> bytes:
    at, ends = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    n = _hold(x.astype(np.int64), eps, at, ends)
    return _pack(at[:n], ends[:n])


def _decode_hold(data: bytes, rows: int) -> Ints:
    at, ends = _unpack(data)
    return np.repeat(ends, np.diff(np.append(at, rows))).astype(np.int32)


def _line(name: str, swing: bool) -> Line:
    def encode(x: Ints, eps: int) -> bytes:
        at, ends = np.zeros(len(x) + 1, np.int64), np.zeros(len(x) + 1, np.int64)
        n = _draw(x.astype(np.int64), eps, swing, at, ends)
        return _pack(at[:n], ends[:n])

    def decode(data: bytes, rows: int) -> Ints:
        at, ends = _unpack(data)
        x = np.full(rows, ends[0], np.int64)
        _fill(at, ends, x)
        return x.astype(np.int32)

    return Line(name, encode, decode)


SEND_ON_DELTA = Line("send-on-delta", _encode_hold, _decode_hold)
LTC = _line("LTC", False)
SWING = _line("swing filter", True)
LINES = (SEND_ON_DELTA, LTC, SWING)
"""Send-on-delta (Miskowicz 2006), LTC (Schoellhammer et al. 2004), the swing filter (Elmeleegy et al. 2009)."""
