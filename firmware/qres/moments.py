"""The exact sums of `stats.Welford` in machine words: the form for kernels and for long streams.

A sample costs a few additions and three products, no division, and nothing is rounded, where Welford's update in fixed
width divides and rounds each time. Mean (16 guard bits) and squared deviations (Q32) are made when they are asked for.
"""

from array import array

from qres.compat import const, kernel, ptr32
from qres.stats import Welford

SIZE_MAX = const(0x1000000)  # samples: 2^24
# Words of the state; the sums are of d = x - x0.
_N = const(0)
_X0 = const(1)
_S = const(2)  # sum of d: above 2^25, and the rest
_Q = const(4)  # sum of d^2 in five digits of 15 bits, the lowest first, the last of any size
WORDS = const(9)


@kernel
def add_sample(d: int, a: int, b: int, state: object) -> int:
    """Add the sample `d`, from -2^29 to 2^29 - 1, to sums of fewer than SIZE_MAX samples; returns their number.

    `a` and `b` are work, whatever they are.
    """
    s = ptr32(state)
    if s[_N] == 0:
        s[_X0] = d
    s[_N] = s[_N] + 1
    d -= s[_X0]
    a = s[_S + 1] + (d & 0x1FFFFFF)
    s[_S] = s[_S] + (d >> 25) + (a >> 25)
    s[_S + 1] = a & 0x1FFFFFF
    if d < 0:
        d = -d
    a = d >> 15  # d = a 2^15 + b
    b = d & 32767
    d = b * b
    carry = s[_Q] + (d & 32767)
    s[_Q] = carry & 32767
    carry = (carry >> 15) + s[_Q + 1] + (d >> 15)
    if a != 0:
        b = b * a  # twice at 2^15
        carry += (b & 16383) << 1
        d = a * a
        s[_Q + 1] = carry & 32767
        carry = (carry >> 15) + s[_Q + 2] + (b >> 14) + (d & 32767)
        s[_Q + 2] = carry & 32767
        carry = (carry >> 15) + s[_Q + 3] + (d >> 15)
    else:
        s[_Q + 1] = carry & 32767
        carry = (carry >> 15) + s[_Q + 2]
        s[_Q + 2] = carry & 32767
        carry = (carry >> 15) + s[_Q + 3]
    s[_Q + 3] = carry & 32767
    s[_Q + 4] = s[_Q + 4] + (carry >> 15)
    return s[_N]


class Moments:
    """Mean and squared deviations of up to SIZE_MAX Q16.16 numbers: exact sums, each result rounded once."""

    STATE = "a:sums"

    def __init__(self) -> None:
        """No sample yet."""
        self.sums = array("i", [0] * WORDS)

    def push(self, x: int) -> None:
        """Add one sample, from -2^29 to 2^29 - 1."""
        add_sample(x, 0, 0, self.sums)

    def welford(self) -> Welford:
        """The same statistics with integers of any size: to merge, to go on beyond SIZE_MAX."""
        s = self.sums
        w = Welford()
        w.n = s[_N]
        w.x0 = s[_X0]
        w.s = (s[_S] << 25) + s[_S + 1]
        for i in range(_Q + 4, _Q - 1, -1):
            w.q = (w.q << 15) + s[i]
        return w

    def mean_q32(self) -> int:
        """Mean with 16 guard bits, rounded to the nearest; 0 before the first sample."""
        w = self.welford()
        return (w.x0 << 16) + ((w.s << 17) + w.n) // (2 * w.n) if w.n else 0

    def m2_q32(self) -> int:
        """Sum of squared deviations from the mean, Q32 of Q16.16 samples, rounded to the nearest."""
        w = self.welford()
        return (2 * w.spread() + w.n) // (2 * w.n) if w.n else 0
