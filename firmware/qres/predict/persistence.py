"""The next value is the last one: the baseline that every predictor has to beat."""

from qres.predict.linear import Linear

if False:
    from collections.abc import Sequence


class Persistence(Linear):
    """Predicts the last value: a linear layer whose weights are zero and stay zero."""

    WIRE_ID = 0

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """`order` is the shape of the swarm's model; no `rate` makes it learn."""
        super().__init__(channels, order, rate)

    def learn(self, row: "Sequence[int | None]") -> None:
        """Nothing."""

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Ignore them; ValueError for a wrong number."""
        if len(weights) != len(self.w):
            raise ValueError("wrong number of weights")


make = Persistence
