"""The loops of short blocks: the same text for Numba, on arrays, and for plain Python, on lists and bytes."""

from typing import Any, Final

from qres_host.blocks.loops import wrap32
from qres_host.native import jit

ESCAPE: Final = 24  # ones before 32 raw bits, in short blocks
FIRST: Final = 11  # low bits of a first value, which tells nothing of the next
MEMORY: Final = 16  # values after which the running mean of a short block is halved


@jit
def _golomb(total: int, count: int) -> int:
    """Low bits for values whose sum over `count` was `total`."""
    k = 0
    while 3 * count << k < 2 * total and k < 31:  # the best k is near log2(2/3 of the mean)
        k += 1
    return k


@jit
def _order(x: Any, base: int, rows: int) -> int:
    """The order of differences, 0 to 2, with the least sum of magnitudes; the first value counts for none."""
    sum0 = sum1 = sum2 = 0
    for t in range(2, rows):
        now = int(x[base + t])
        last = int(x[base + t - 1])
        sum0 += abs(now)
        sum1 += abs(now - last)
        sum2 += abs(now - 2 * last + int(x[base + t - 2]))
    if sum1 <= sum0 and sum1 <= sum2:
        return 1
    return 0 if sum0 <= sum2 else 2


@jit
def _flush(out: Any, at: int, held: int, filled: int) -> Any:
    """Write whole bytes of the `filled` bits in `held`; returns the place and what is left."""
    while filled >= 8:
        out[at] = held & 255
        at += 1
        held >>= 8
        filled -= 8
    return at, held, filled


@jit
def _fill(data: Any, at: int, held: int, filled: int, least: int) -> Any:
    """Read bytes until `least` bits are held, zeros beyond the end; returns the place and what is held."""
    size = len(data)
    while filled < least:
        held |= (int(data[at]) if at < size else 0) << filled
        at += 1
        filled += 8
    return at, held, filled


@jit
def _learn(total: int, count: int, folded: int) -> Any:
    """The sum and count of recent values with one more."""
    total += folded if folded < 0x1000000 else 0x1000000
    count += 1
    if count >= MEMORY:
        return (total + 1) >> 1, count >> 1
    return total, count


@jit
def encode(x: Any, rows: int, channels: int, out: Any) -> int:
    """Write `x`, columns one after the other, to the bytes `out`; returns how many."""
    held = filled = at = 0  # bits not yet written, and how many; the place
    for channel in range(channels):
        base = channel * rows
        order = _order(x, base, rows)
        held |= order << filled
        filled += 2
        last = slope = 0
        total, count = 8, 1
        for t in range(rows):
            now = int(x[base + t])
            error = wrap32(now - (last + slope if order == 2 else last))
            slope = now - last if t > 0 else 0
            last = now if order > 0 else 0
            folded = 2 * error if error >= 0 else -2 * error - 1
            k = _golomb(total, count) if t > 0 else FIRST
            ones = folded >> k
            if ones >= ESCAPE:
                held |= ((1 << ESCAPE) - 1) << filled
                at, held, filled = _flush(out, at, held, filled + ESCAPE)
                held |= folded << filled
                filled += 32
            else:
                held |= ((1 << ones) - 1 | (folded & ((1 << k) - 1)) << (ones + 1)) << filled
                filled += ones + 1 + k
            at, held, filled = _flush(out, at, held, filled)
            if t > 0:
                total, count = _learn(total, count, folded)
    if filled > 0:
        out[at] = held & 255
        at += 1
    return at


@jit
def decode(data: Any, at: int, rows: int, channels: int, out: Any) -> int:
    """Read what `encode` wrote from data[at:]; returns where it ended, beyond the data if that is too short."""
    held = filled = 0
    for channel in range(channels):
        base = channel * rows
        at, held, filled = _fill(data, at, held, filled, 2)
        order = held & 3
        held >>= 2
        filled -= 2
        last = slope = 0
        total, count = 8, 1
        for t in range(rows):
            at, held, filled = _fill(data, at, held, filled, 32)
            k = _golomb(total, count) if t > 0 else FIRST
            ones = 0
            while ones < ESCAPE and held & 1:
                held >>= 1
                ones += 1
            filled -= ones
            if ones < ESCAPE:
                held >>= 1
                filled -= 1
            else:
                k = 32
            at, held, filled = _fill(data, at, held, filled, k)
            folded = held & ((1 << k) - 1)
            held >>= k
            filled -= k
            if ones < ESCAPE:
                folded = (folded | ones << k) & 0xFFFFFFFF
            error = folded >> 1 if folded & 1 == 0 else -((folded + 1) >> 1)
            now = wrap32(error + (last + slope if order == 2 else last))
            slope = now - last if t > 0 else 0
            last = now if 0 < order < 3 else 0
            out[base + t] = now
            if t > 0:
                total, count = _learn(total, count, folded)
    return at - (filled >> 3)
