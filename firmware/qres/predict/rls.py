"""The linear layer with another learner: recursive least squares by coordinate descent (`qres.regression.descend`).

It remembers how the changes of a channel vary together, over about 2,000 samples, and so finds in tens of samples the
weights that normalised LMS needs thousands for.
"""

from qres.fixed import sat32
from qres.predict.linear import Linear
from qres.regression import correlate, descend, products, pull, residuals, restore
from qres.standard import Standard, zeros

if False:
    from array import array
    from collections.abc import Sequence

_MEMORY = 11  # binary logarithm of the samples that count
_MEMORY_STORM = 9  # the same while the learning rate is high


class Rls(Linear):
    """Recursive least squares over each channel's own last `order` changes; as many weights as the linear layer."""

    WIRE_ID = 2
    STATE = Linear.STATE + " o:standard a:moments a:slopes u:age"

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """As the linear layer's; a `rate` above a tenth (Q10) makes it forget four times as fast, 0 not learn."""
        super().__init__(channels, order, rate)
        self.standard = Standard(channels, order)
        self.size = order * (order + 1) // 2
        self.moments = zeros(channels * self.size)
        self.slopes = zeros(channels * order)
        self.age = 0  # samples seen, at most 2^_MEMORY
        self.found = zeros(channels)
        self.cell = zeros(1)
        self.errors = zeros(channels)

    def expect(self, channel: int, weights: "array[int]", at: int) -> int:
        """Next value of a channel, int32, under weights[at..], from changes cut at eight scales."""
        n = self.order
        s = self.standard
        products(0, 0, 0, n, n, 1, weights[at : at + n], s.history[channel * n : channel * n + n], self.cell)
        return sat32(self.last[channel] + restore(self.cell[0], s.scales[channel], 0))

    def update(self, row: "Sequence[int | None]") -> None:
        """Learn from the values that came (int32, None when missing) and remember them."""
        s = self.standard
        s.take(self, row)
        super().update(row)
        s.remember()

    def learn(self, row: "Sequence[int | None]") -> None:
        """Move the weights of all channels."""
        s, n, channels = self.standard, self.order, len(self.last)
        k = 1
        while 1 << k <= self.age:
            k += 1
        k = min(k, _MEMORY_STORM if self.rate > 102 else _MEMORY)
        self.age = min(self.age + 1, 1 << _MEMORY)
        products(0, 0, 0, n, n, channels, self.w, s.history, self.found)
        residuals(0, 0, channels, s.y, self.found, self.errors)
        correlate(0, 0, 0, n, n, channels, k, s.history, self.moments)
        pull(0, 0, 0, n, n, channels, k, s.history, self.errors, self.slopes)
        descend(0, 0, 0, n, self.size, channels, self.errors, self.moments, self.slopes, self.w)

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Replace the weights (clamped to +-2), and move the slopes accordingly; ValueError for a wrong number."""
        old = self.weights()
        super().set_weights(weights)
        n = self.order
        for at in range(len(old)):
            move = self.w[at] - old[at]
            first = at // n * n
            i = at - first
            for j in range(n if move else 0):
                high, low = (i, j) if i > j else (j, i)
                moment = self.moments[first // n * self.size + high * (high + 1) // 2 + low]
                slope = self.slopes[first + j] - (move * moment >> 16)
                self.slopes[first + j] = max(min(slope, 0x7FFFFFF), -0x7FFFFFF)


make = Rls
