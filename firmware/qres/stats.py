"""Running statistics, exact: integers of any size instead of rounded floats.

`qres.moments` keeps the same sums in machine words, `qres.ew` forgets the past.
"""

from qres.fixed import isqrt


class Welford:
    """Exact mean and variance of all samples, in the shifted-sum form of Welford's update (Chan 1983).

    Keeps n, S = sum(x - x0), Q = sum((x - x0)^2), so nothing is ever rounded, however many samples come.
    """

    STATE = "u:n i:x0 i:s u:q"

    def __init__(self) -> None:
        """No sample yet."""
        self.n = 0
        self.x0 = 0
        self.s = 0
        self.q = 0

    def push(self, x: int) -> None:
        """Add one sample."""
        if self.n == 0:
            self.x0 = x
        d = x - self.x0
        self.n += 1
        self.s += d
        self.q += d * d

    def merge(self, other: "Welford") -> None:
        """Add all samples of `other`, which stays as it is."""
        if other.n == 0:
            return
        if self.n == 0:
            self.x0 = other.x0
        shift = other.x0 - self.x0
        self.q += other.q + 2 * shift * other.s + other.n * shift * shift
        self.s += other.s + other.n * shift
        self.n += other.n

    def halve(self) -> None:
        """Let all samples so far count half, rounded down: called now and then, the statistics follow the signal."""
        self.n >>= 1
        self.s >>= 1
        self.q >>= 1

    def mean(self) -> int:
        """Mean, rounded down; 0 before the first sample."""
        return self.x0 + self.s // self.n if self.n else 0

    def spread(self) -> int:
        """n times the sum of squared deviations: n*Q - S^2 = n^2 * population variance, exact, >= 0."""
        v = self.n * self.q - self.s * self.s
        return v if v > 0 else 0

    def deviation_q8(self, x: int) -> int:
        """|x - mean| in standard deviations, Q8; a variance below one unit counts as one unit."""
        n = self.n
        if n < 2:
            return 0
        spread = self.spread()
        floor = n * (n - 1)  # sample variance of 1, in units of the spread
        if spread < floor:
            spread = floor
        d = n * (x - self.x0) - self.s
        return isqrt(((d * d * (n - 1)) << 16) // (n * spread))
