"""The next value is the last one: the baseline that every predictor has to beat."""

from array import array

WIRE_ID = 0


class Persistence:
    """Predicts the last value.  Its weights, one for each of the model's `order` lags, are zero and stay zero."""

    WIRE_ID = WIRE_ID
    STATE = "i:last u:count"

    def __init__(self, order: int) -> None:
        """Predicts 0 until the first update; `order` is the shape of the swarm's model."""
        self.order = order
        self.rate = 0
        self.last = 0
        self.count = 0  # values seen, at most order + 1
        self.d = array("i", [0] * order)  # the changes that would matter to a linear model

    def predict(self) -> int:
        """The last value."""
        return self.last

    def update(self, actual: int) -> None:
        """Take the value that came (int32)."""
        self.last = actual
        if self.count <= self.order:
            self.count += 1

    def weights(self) -> list[int]:
        """Zeros."""
        return [0] * self.order

    def set_weights(self, weights: list[int]) -> None:
        """Ignore them; ValueError for a wrong number."""
        if len(weights) != self.order:
            raise ValueError("wrong number of weights")
