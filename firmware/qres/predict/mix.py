"""Attention over predictors: the softmax of what seven experts lost lately weighs what they say.

Persistence; each channel from its own past by normalised LMS at the rates 0.04 and 0.2 and by recursive least squares;
and from the past of all channels, by LMS and by least squares with a short and a long memory.
"""

from qres.attention import account, blend, judge
from qres.elementary import EXPS, shares
from qres.regression import FEATURES_MAX, correlate, descend, products, pull, residuals, step
from qres.standard import Rows, zeros

if False:
    from array import array
    from collections.abc import Sequence

_LAGS = 4
_EXPERTS = 7


class Expert:
    """A linear predictor of all channels: over each channel's own features, or over `chosen` ones of all channels."""

    STATE = "a:weights a:moments a:slopes"

    def __init__(self, channels: int, width: int, chosen: "list[int] | None", rate: int, memory: int) -> None:
        """LMS at `rate` (Q12), or least squares over 2^`memory` samples when that is not 0."""
        self.channels = channels
        self.chosen = chosen
        self.n = len(chosen) if chosen else width
        self.stride = 0 if chosen else width
        self.rate = rate
        self.memory = memory
        size = self.n * (self.n + 1) // 2 if memory else 0
        self.size = 0 if chosen else size
        self.weights = zeros(channels * self.n)
        self.moments = zeros(size if chosen else size * channels)
        self.slopes = zeros(channels * self.n if memory else 0)
        self.picked = zeros(self.n if chosen else 0)
        self.ahead = zeros(channels)
        self.errors = zeros(channels)

    def forecast(self, x: "array[int]") -> "array[int]":
        """Predictions from the features `x` of all channels."""
        if self.chosen:
            for i in range(self.n):
                self.picked[i] = x[self.chosen[i]]
            x = self.picked
        products(0, 0, 0, self.n, self.stride, self.channels, self.weights, x, self.ahead)
        return self.ahead

    def learn(self, x: "array[int]", y: "array[int]", k: int) -> None:
        """Learn from the changes `y`; at most 2^k samples are known."""
        residuals(0, 0, self.channels, y, self.ahead, self.errors)
        n, stride = self.n, self.stride
        if self.chosen:
            x = self.picked
        if not self.memory:
            step(0, 0, 0, n, stride, self.channels, self.rate, self.weights, x, self.errors)
            return
        k = min(k, self.memory)
        correlate(0, 0, 0, n, stride, 1 if self.chosen else self.channels, k, x, self.moments)
        pull(0, 0, 0, n, stride, self.channels, k, x, self.errors, self.slopes)
        descend(0, 0, 0, n, self.size, self.channels, self.errors, self.moments, self.slopes, self.weights)


class Mix(Rows):
    """Seven experts, weighed for each channel by the errors of about its last 128 samples."""

    WIRE_ID = 5
    STATE = "o:linear o:standard l:experts a:losses u:age"

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """`order` and `rate` are those of the linear layer."""
        super().__init__(channels, order, rate, _LAGS)
        width = self.standard.width
        few = []
        for c in range(channels):
            few += [c * width, c * width + _LAGS, c * width + _LAGS + 1]
        many = few + [c * width + 1 for c in range(channels)]
        if len(many) > FEATURES_MAX:
            many = few
        self.experts = [
            Expert(channels, width, None, 164, 0),
            Expert(channels, width, None, 819, 0),
            Expert(channels, width, None, 0, 11),
            Expert(channels, width, many, 41, 0),
            Expert(channels, width, few, 0, 10),
            Expert(channels, width, many, 0, 12),
        ]
        self.losses = zeros(channels * _EXPERTS)
        self.said = zeros(channels * _EXPERTS)  # by persistence, which says no change, and the experts
        self.logits = zeros(_EXPERTS)
        self.age = 0  # samples seen, at most 2^12

    def forecast(self) -> None:
        """Ask all experts, weigh what they say."""
        count = self.standard.channels
        at = count
        for expert in self.experts:
            self.said[at : at + count] = expert.forecast(self.x)
            at += count
        for c in range(count):
            judge(0, 0, 0, c * _EXPERTS, _EXPERTS, self.losses, self.logits)
            shares(0, 0, 0, _EXPERTS, self.logits, EXPS)
            blend(0, 0, 0, c, count, _EXPERTS, self.logits, self.said, self.ahead)

    def learn(self) -> None:
        """All experts, and what they lost."""
        y = self.standard.y
        k = 1
        while 1 << k <= self.age:
            k += 1
        self.age = min(self.age + 1, 1 << 12)
        account(0, 0, 0, self.standard.channels, _EXPERTS, y, self.said, self.losses)
        for expert in self.experts:
            expert.learn(self.x, y, k)

    def weights(self) -> list[int]:
        """Of the linear layer and of all experts, Q16.16."""
        out = self.linear.weights()
        for expert in self.experts:
            out += list(expert.weights)
        return out

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Replace them (clamped to +-2), and forget what the experts knew of errors; ValueError for a wrong number."""
        self.take_weights(weights, [expert.weights for expert in self.experts])
        for expert in self.experts:
            for buffer in (expert.moments, expert.slopes):
                for i in range(len(buffer)):
                    buffer[i] = 0
        self.age = 0


make = Mix
