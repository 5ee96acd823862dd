"""Bits into uint8 arrays and back, most significant first; for compiled loops, so positions are passed around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.jit import jit

Bytes = NDArray[np.uint8]


@jit
def put(out: Bytes, at: int, value: int, count: int) -> int:
    """Write the low `count` bits (0 to 64) of `value` at bit `at` of `out`, which must be zero there; the new `at`."""
    while count > 0:
        free = 8 - (at & 7)
        take = count if count < free else free
        count -= take
        out[at >> 3] |= ((value >> count) & ((1 << take) - 1)) << (free - take)
        at += take
    return at


@jit
def get(data: Bytes, at: int, count: int) -> int:
    """`count` bits (0 to 64) from bit `at` of `data`."""
    value = 0
    while count > 0:
        left = 8 - (at & 7)
        take = count if count < left else left
        value = value << take | (int(data[at >> 3]) >> (left - take)) & ((1 << take) - 1)
        at += take
        count -= take
    return value


@jit
def width(value: int) -> int:
    """Number of bits of `value` >= 0."""
    bits = 0
    while value > 0:
        value >>= 1
        bits += 1
    return bits


def view(data: bytes) -> Bytes:
    """`data` as an array, with eight bytes of zeros behind it."""
    return np.frombuffer(data + bytes(8), np.uint8)
