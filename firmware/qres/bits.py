"""Bits out of bytes, most significant first; `qres.golomb.put` writes them."""


class BitsError(ValueError):
    """Bytes that end too early."""


class BitReader:
    """Reads bits from bytes."""

    def __init__(self, data: bytes) -> None:
        """Start at the first byte."""
        self.data = data
        self.at = 0
        self.end = len(data) * 8

    def get(self, count: int) -> int:
        """The next `count` bits as an int; BitsError past the end."""
        if count > self.end - self.at:
            raise BitsError("truncated")
        value = 0
        while count > 0:
            left = 8 - (self.at & 7)
            take = count if count < left else left
            byte = self.data[self.at >> 3] >> (left - take)
            value = value << take | byte & ((1 << take) - 1)
            self.at += take
            count -= take
        return value

    def skip_ones(self, count: int) -> int:
        """Whether the next `count` bits, at most 24, are all ones, which are skipped then; 1 or 0."""
        at = self.at
        if count <= self.end - at and self.get(count) == (1 << count) - 1:
            return 1
        self.at = at
        return 0

    def ended(self) -> bool:
        """Whether only the zeros that fill the last byte are left."""
        left = self.end - self.at
        return left < 8 and not self.get(left)
