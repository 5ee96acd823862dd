"""Bits in and out of bytes, most significant first."""


class BitsError(ValueError):
    """Read past the end."""


class BitWriter:
    """Appends bits to a bytearray."""

    def __init__(self) -> None:
        """Empty."""
        self.data = bytearray()
        self.bits = 0  # bits written

    def put(self, value: int, count: int) -> None:
        """Append the low `count` bits of `value` >= 0."""
        while count > 0:
            free = -self.bits & 7
            if free == 0:
                self.data.append(0)
                free = 8
            take = count if count < free else free
            count -= take
            self.data[-1] |= ((value >> count) & ((1 << take) - 1)) << (free - take)
            self.bits += take


class BitReader:
    """Reads bits from bytes[at:]."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Start at byte `at`."""
        self.data = data
        self.at = at * 8
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
