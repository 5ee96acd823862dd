"""Exponentially weighted mean and variance, with the fractional bits that keep them free of bias.

A step moves the mean 2^-k of the way towards the sample. Without guard bits it stands still as soon as it is nearer
than 2^k units, so a mean of whole numbers stays up to 2^k - 1 units below: k + 8 bits leave 1/256 of a unit.
"""

from qres.compat import bit_length, const, kernel, ptr32
from qres.fixed import isqrt

GUARD = const(8)  # fractional bits beyond k


@kernel
def ew_step(x: int, low: int, at: int, shift: int, bits: int, state: object) -> int:
    """Move a mean 2^-shift of the way towards `x`, within +-2^29; returns the mean, rounded to the nearest.

    state[at] is its whole part, state[at+1] its fraction in `bits` bits: `shift` + GUARD, or more, at most 28. For an
    EW variance give squares of differences. `low` is work, whatever it is.
    """
    s = ptr32(state)
    low = s[at + 1]
    x -= s[at]
    low += ((x & ((1 << shift) - 1)) << (bits - shift)) + (-low >> shift)
    x = s[at] + (x >> shift) + (low >> bits)
    low &= (1 << bits) - 1
    s[at] = x
    s[at + 1] = low
    return x + (low >> (bits - 1))


class Ew:
    """EW mean and variance of integers of any size; the first 2^k samples count about alike.

    The update is West's: variance = (1 - a) (variance + a d^2), a = 2^-k, d the sample less the mean before.
    """

    STATE = "u:n i:m u:v"

    def __init__(self, k: int) -> None:
        """A step is 2^-k, or while fewer than 2^k samples came 2^-floor(log2 of their number)."""
        self.k = k
        self.bits = k + GUARD
        self.n = 0  # samples, counted to 2^k
        self.m = 0  # mean and variance with `bits` fractional bits
        self.v = 0

    def push(self, x: int) -> None:
        """Add one sample."""
        if not self.n >> self.k:
            self.n += 1
        shift = bit_length(self.n) - 1
        d = (x << self.bits) - self.m
        self.m += d >> shift
        square = d * d >> self.bits
        self.v += (square - (square >> shift) - self.v) >> shift

    def mean(self) -> int:
        """Mean, rounded to the nearest; 0 before the first sample."""
        return (self.m + (1 << self.bits >> 1)) >> self.bits

    def variance_q8(self) -> int:
        """Population variance, Q8."""
        return self.v >> self.k

    def deviation_q8(self, x: int) -> int:
        """|x - mean| in standard deviations, Q8; a variance below one unit counts as one unit."""
        d = (x << self.bits) - self.m
        return isqrt((d * d << 16) // (max(self.v, 1 << self.bits) << self.bits))
