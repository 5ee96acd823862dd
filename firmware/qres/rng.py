"""A small deterministic generator for choices that must be replayable; never for keys."""


class Rng:
    """xorshift32 (Marsaglia 2003): period 2^32 - 1, state is one non-zero 32-bit integer."""

    STATE = "u:state"

    def __init__(self, seed: int) -> None:
        """Start from `seed`; any int, 0 included."""
        self.state = (seed ^ 0x9E3779B9) & 0xFFFFFFFF or 1

    def next(self) -> int:
        """The next integer, 1 to 2^32 - 1."""
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        return x

    def below(self, bound: int) -> int:
        """An integer from 0 to bound - 1; bound from 1 to 65536."""
        return ((self.next() >> 16) * bound) >> 16
