"""Linear prediction of each channel's next change from its last ones, learned online by normalised LMS.

value[t] = value[t-1] + sum(w[i] * delta[t-1-i]) (Widrow and Hoff 1960).  All weights zero is persistence.
"""

from array import array

from qres.fixed import sat32
from qres.kernels import DELTA_MAX, ORDER_MAX, WEIGHT_MAX, nlms_predict, nlms_update, push, shift_for

if False:
    from collections.abc import Sequence


class Linear:
    """NLMS over each channel's own last `order` changes; at most 64 bytes of weights a channel."""

    WIRE_ID = 1
    STATE = "a:last a:count a:w a:d a:shifts"

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """`order` lags (1 to 16), learning `rate` in Q10 (0 to 512); ValueError outside."""
        if channels < 1 or not 1 <= order <= ORDER_MAX or not 0 <= rate <= 512:
            raise ValueError("channels, order or rate out of range")
        self.linear = self
        self.order = order
        self.rate = rate
        self.last = array("i", [0] * channels)  # last value of each channel
        self.count = array("i", [0] * channels)  # values seen, at most order + 1
        self.w = array("i", [0] * (channels * order))  # Q16.16, channel after channel, newest lag first
        self.d = array("i", [0] * (channels * order))  # last changes, likewise
        self.shifts = array("i", [0] * channels)  # of each channel's changes, as shift_for says
        self.ahead: list[int] = []  # what predict() found; empty when something changed since

    def expect(self, channel: int, weights: "array[int]", at: int) -> int:
        """Next value of a channel, int32, under weights[at..]; its last value while there is no history."""
        count = self.count[channel]
        if count < 2:
            return self.last[channel]
        first, shift = channel * self.order, self.shifts[channel]
        return sat32(self.last[channel] + nlms_predict(0, 0, at, first, count - 1, shift, weights, self.d))

    def predict(self) -> list[int]:
        """The next value of each channel, int32."""
        ahead = self.ahead
        if not ahead:
            for c in range(len(self.last)):
                ahead.append(self.expect(c, self.w, c * self.order))
        return ahead

    def update(self, row: "Sequence[int | None]") -> None:
        """Learn from the values that came (int32, None when missing) and remember them."""
        if self.rate:
            self.learn(row)
        for c in range(len(self.last)):
            value = row[c]
            if value is not None:
                if self.count[c]:
                    first = c * self.order
                    push(self.d, first, self.order, clamp(value - self.last[c]))
                    self.shifts[c] = shift_for(self.d, first, self.order)
                if self.count[c] <= self.order:
                    self.count[c] += 1
                self.last[c] = value
        self.ahead = []

    def learn(self, row: "Sequence[int | None]") -> None:
        """Move the weights by what the prediction of the row that came missed."""
        ahead = self.predict()
        for c in range(len(self.last)):
            value = row[c]
            if value is not None and self.count[c] >= 2:
                error = clamp(value - ahead[c])
                first, shift = c * self.order, self.shifts[c]
                nlms_update(0, 0, 0, first, self.count[c] - 1, shift, error, self.rate, self.w, self.d)

    def weights(self) -> list[int]:
        """The weights, Q16.16: channel after channel, newest lag first."""
        return list(self.w)

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Replace the weights (clamped to +-2); ValueError for a wrong number of them.  The history stays."""
        if len(weights) != len(self.w):
            raise ValueError("wrong number of weights")
        for i in range(len(weights)):
            self.w[i] = max(min(weights[i], WEIGHT_MAX), -WEIGHT_MAX)
        self.ahead = []


def clamp(delta: int) -> int:
    """`delta` within what the kernels take."""
    return DELTA_MAX if delta > DELTA_MAX else -DELTA_MAX if delta < -DELTA_MAX else delta


make = Linear
