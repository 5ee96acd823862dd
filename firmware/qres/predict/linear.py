"""Linear prediction of the next change from the last ones, learned online by normalised LMS (Widrow and Hoff 1960).

value[t] = value[t-1] + sum(w[i] * delta[t-1-i]).  All weights zero is persistence.
"""

from array import array

from qres.fixed import sat32
from qres.kernels import DELTA_MAX, ORDER_MAX, WEIGHT_MAX, nlms_predict, nlms_update, push

WIRE_ID = 1


class Linear:
    """NLMS over the channel's own last `order` changes; at most 256 bytes of weights."""

    WIRE_ID = WIRE_ID
    STATE = "i:last u:count a:w a:d"

    def __init__(self, order: int, rate: int) -> None:
        """`order` lags (1 to 16), learning `rate` in Q10 (0 to 512); ValueError outside."""
        if not 1 <= order <= ORDER_MAX or not 0 <= rate <= 512:
            raise ValueError("order or rate out of range")
        self.order = order
        self.rate = rate
        self.last = 0
        self.count = 0  # values seen, at most order + 1
        self.w = array("i", [0] * order)
        self.d = array("i", [0] * order)  # last changes, newest first

    def predict(self) -> int:
        """Predicted next value, int32; the last value while there is no history."""
        if self.count < 2:
            return self.last
        return sat32(self.last + nlms_predict(self.w, 0, self.d, self.count - 1))

    def update(self, actual: int) -> None:
        """Learn from the value that came (int32) and remember it."""
        if self.count >= 2 and self.rate:
            error = _clamp(actual - self.predict())
            nlms_update(self.w, self.d, self.count - 1, error, self.rate)
        if self.count:
            push(self.d, self.order, _clamp(actual - self.last))
        if self.count <= self.order:
            self.count += 1
        self.last = actual

    def weights(self) -> list[int]:
        """The weights, Q16.16, one for each lag, newest first."""
        return list(self.w)

    def set_weights(self, weights: list[int]) -> None:
        """Replace the weights (clamped to +-2); ValueError for a wrong number of them.  The history stays."""
        if len(weights) != self.order:
            raise ValueError("wrong number of weights")
        for i in range(self.order):
            w = weights[i]
            self.w[i] = WEIGHT_MAX if w > WEIGHT_MAX else -WEIGHT_MAX if w < -WEIGHT_MAX else w


def _clamp(delta: int) -> int:
    """`delta` within what the kernels take."""
    return DELTA_MAX if delta > DELTA_MAX else -DELTA_MAX if delta < -DELTA_MAX else delta
