"""What predictors of whole rows have in common: standardized changes of all channels, and the linear layer beside them.

Imported only by predictors that need it.
"""

from array import array

from qres.fixed import sat32
from qres.kernels import WEIGHT_MAX
from qres.predict.linear import Linear, clamp
from qres.regression import DRIFTS, MISSING, advance, features, residuals, restore, standardize

if False:
    from collections.abc import Sequence


def zeros(count: int) -> "array[int]":
    """A flat buffer for kernels."""
    return array("i", [0] * count)


class Standard:
    """Changes of all channels in units of their own scales: the last `lags` of each, and two leaky sums of all."""

    STATE = "a:scales a:ages a:history a:drifts"

    def __init__(self, channels: int, lags: int) -> None:
        """No value seen."""
        self.channels = channels
        self.lags = lags
        self.width = lags + DRIFTS  # features of a channel
        self.scales = zeros(channels)
        self.ages = zeros(channels)
        self.history = zeros(channels * lags)
        self.drifts = zeros(channels * DRIFTS)
        self.y = zeros(channels)  # the changes of the row that came, or MISSING

    def take(self, linear: Linear, row: "Sequence[int | None]") -> None:
        """Fill `y` from the row that follows on what `linear` saw last."""
        for c in range(self.channels):
            value = row[c]
            self.y[c] = MISSING if value is None or not linear.count[c] else clamp(value - linear.last[c])
        standardize(0, 0, 0, self.channels, self.y, self.scales, self.ages)

    def remember(self) -> None:
        """Put `y` into the history."""
        advance(0, 0, 0, self.channels, self.lags, self.y, self.history, self.drifts)


class Rows:
    """A predictor of whole rows: subclasses say `forecast()` and `learn()`, in standardized changes."""

    def __init__(self, channels: int, order: int, rate: int, lags: int) -> None:
        """As `qres.predict.make`; `lags` changes of each channel are features."""
        self.linear = Linear(channels, order, rate)
        self.standard = Standard(channels, lags)
        self.x = zeros(channels * self.standard.width)  # features, channel after channel
        self.ahead = zeros(channels)  # standardized predictions, Q12
        self.errors = zeros(channels)  # what they missed by, Q8
        self.ready = False  # whether x and ahead are those of the next row

    def forecast(self) -> None:
        """Fill `ahead` from the features `x`."""
        raise NotImplementedError

    def learn(self) -> None:
        """Learn from `standard.y`, which came, and `errors`, by which `ahead` missed it."""
        raise NotImplementedError

    def advance(self) -> None:
        """Go on after the row was learned from and remembered; nothing here."""

    def take_weights(self, weights: "Sequence[int]", parts: "Sequence[array[int]]") -> None:
        """Spread `weights`, clamped to +-2, over the linear layer and `parts`; ValueError for a wrong number."""
        size = len(self.linear.w)
        if len(weights) != size + sum([len(part) for part in parts]):
            raise ValueError("wrong number of weights")
        self.linear.set_weights(weights[:size])
        at = size
        for part in parts:
            for i in range(len(part)):
                part[i] = max(min(weights[at], WEIGHT_MAX), -WEIGHT_MAX)
                at += 1
        self.ready = False

    def _prepare(self) -> None:
        if not self.ready:
            s = self.standard
            features(0, 0, 0, s.channels, s.lags, s.history, s.drifts, self.x)
            self.forecast()
            self.ready = True

    def predict(self) -> list[int]:
        """The next value of each channel, int32."""
        self._prepare()
        out = []
        for c in range(len(self.ahead)):
            out.append(sat32(self.linear.last[c] + restore(self.ahead[c], self.standard.scales[c], 0)))
        return out

    def update(self, row: "Sequence[int | None]") -> None:
        """Learn from the values that came (int32, None when missing) and remember them."""
        self._prepare()
        s = self.standard
        s.take(self.linear, row)
        residuals(0, 0, s.channels, s.y, self.ahead, self.errors)
        self.learn()
        s.remember()
        self.advance()
        self.linear.update(row)
        self.ready = False
