"""The next value is the last one: the baseline that every predictor has to beat."""

WIRE_ID = 0


class Persistence:
    """Predicts the last value."""

    WIRE_ID = WIRE_ID
    STATE = "i:last"

    def __init__(self) -> None:
        """Predicts 0 until the first update."""
        self.last = 0

    def predict(self) -> int:
        """The last value."""
        return self.last

    def update(self, actual: int) -> None:
        """Take the value that came (int32)."""
        self.last = actual

    def weights(self) -> list[int]:
        """No weights."""
        return []

    def set_weights(self, weights: list[int]) -> None:
        """ValueError unless `weights` is empty."""
        if weights:
            raise ValueError("persistence has no weights")
