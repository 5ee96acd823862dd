"""Q16.16 numbers in int32, and block floating point for vectors on the air.

Q16.16: an int `v` stands for v / 65536.  Every result saturates to int32, never wraps.
"""

from qres.compat import bit_length, const

ONE = const(65536)
MAX32 = const(0x7FFFFFFF)
MIN32 = const(-0x80000000)


class FixedError(ValueError):
    """Bytes that are no block of numbers."""


def sat32(value: int) -> int:
    """`value` clamped to int32."""
    if value > MAX32:
        return MAX32
    if value < MIN32:
        return MIN32
    return value


def mul(a: int, b: int) -> int:
    """Q16.16 product, rounded down, saturated."""
    return sat32((a * b) >> 16)


def div(a: int, b: int) -> int:
    """Q16.16 quotient, truncated toward zero, saturated; ZeroDivisionError is the caller's error."""
    n = a << 16
    q = abs(n) // abs(b)
    return sat32(q if (n < 0) == (b < 0) else -q)


def isqrt(value: int) -> int:
    """Floor of the square root of `value` >= 0, exact for any size.

    Newton's method from above; its first step is from a power of two, so that it needs no division.
    """
    if value < 2:
        return value
    half = bit_length(value) >> 1
    x = ((value >> half) + (1 << half)) >> 1
    while True:
        y = (x + value // x) >> 1
        if y >= x:
            return x
        x = y


def log2_q12(value: int) -> int:
    """log2 of `value` >= 1 in Q12, linear between powers of two (at most 0.087 too small)."""
    bits = bit_length(value) - 1
    if bits < 0:
        return 0
    frac = (value << 12 >> bits) - 4096
    return (bits << 12) + frac


def exp2_q12(value: int) -> int:
    """Inverse of log2_q12, rounded down; for `value` >= 0."""
    bits = value >> 12
    return ((4096 + (value & 4095)) << bits) >> 12


def bfp_pack(values: list[int]) -> bytes:
    """BFP-16: one int8 exponent e, then an int16 mantissa m for each value; value = m * 2^e.

    Values are int32.  Rounds half up; a full-scale power of two takes a larger exponent, it does not saturate.
    """
    top = 0
    for v in values:
        a = -v if v < 0 else v
        if a > top:
            top = a
    e = 0
    while (top + ((1 << e) >> 1)) >> e > 32767:
        e += 1
    half = (1 << e) >> 1
    out = bytearray([e])
    for v in values:
        m = (v + half) >> e
        out.append(m & 0xFF)
        out.append((m >> 8) & 0xFF)
    return bytes(out)


def bfp_unpack(data: bytes, count: int, at: int = 0) -> list[int]:
    """The `count` values that bfp_pack wrote at offset `at`; FixedError when they are not there."""
    if len(data) < at + 1 + 2 * count or data[at] > 17:
        raise FixedError("no BFP-16 block")
    e = data[at]
    out = []
    for i in range(at + 1, at + 1 + 2 * count, 2):
        m = data[i] | data[i + 1] << 8
        out.append(sat32((m - 65536 if m & 0x8000 else m) << e))
    return out
