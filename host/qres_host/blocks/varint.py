"""Integers of heads: seven bits a byte, least significant first, the top bit set on all but the last."""

from collections.abc import Iterable

from qres.codec import CodecError


def put(value: int) -> bytes:
    """A non-negative integer."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_signed(value: int) -> bytes:
    """An integer, folded: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return put(2 * value if value >= 0 else -2 * value - 1)


def put_folded(values: Iterable[int]) -> bytes:
    """Integers one after the other, folded."""
    out = bytearray()
    for value in values:
        folded = 2 * value if value >= 0 else -2 * value - 1
        while folded > 127:
            out.append(folded & 127 | 128)
            folded >>= 7
        out.append(folded)
    return bytes(out)


class Reader:
    """Reads bytes from data[at:]; every method raises CodecError past the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Start at byte `at`."""
        self.data = data
        self.at = at

    def byte(self) -> int:
        """The next byte."""
        if self.at >= len(self.data):
            raise CodecError("truncated")
        self.at += 1
        return self.data[self.at - 1]

    def get(self) -> int:
        """The next integer, below 2^63."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CodecError("no such integer")

    def signed(self) -> int:
        """The next folded integer: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
        folded = self.get()
        return folded >> 1 if folded & 1 == 0 else -((folded + 1) >> 1)

    def int32(self) -> int:
        """The next folded integer, which fits 32 bits."""
        value = self.signed()
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise CodecError("no such integer")
        return value
