"""Integers of heads: seven bits a byte, lowest first, the top bit set on all but the last; and strings of bytes."""

from collections.abc import Iterable
from typing import Final

from qres.codec import CodecError

LIMIT: Final = (1 << 63) - 1
"""The greatest integer that is read where no other limit is named."""
_SHIFT_MAX: Final = 70
"""Bits before the last byte of the longest integer."""


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
    """Integers one after the other, each as `put_signed` puts it."""
    out = bytearray()
    for value in values:
        folded = 2 * value if value >= 0 else -2 * value - 1
        while folded > 127:
            out.append(folded & 127 | 128)
            folded >>= 7
        out.append(folded)
    return bytes(out)


class Reader:
    """Reads bytes from data[at:]; what is not there or beyond its limit is a CodecError."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Start at byte `at`."""
        self.data = data
        self.at = at

    def byte(self) -> int:
        """The next byte."""
        if self.at >= len(self.data):
            raise CodecError("cut short")
        self.at += 1
        return self.data[self.at - 1]

    def get(self, limit: int = LIMIT) -> int:
        """The next integer, which must not exceed `limit`."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > _SHIFT_MAX:
                raise CodecError("number too long")
        if value > limit:
            raise CodecError(f"{value} is more than the {limit} allowed")
        return value

    def signed(self, limit: int = LIMIT) -> int:
        """The next folded integer, which must not exceed `limit` as it is folded: 0, -1, 1, ... as 0, 1, 2, ..."""
        folded = self.get(limit)
        return folded >> 1 if folded & 1 == 0 else -((folded + 1) >> 1)

    def int32(self) -> int:
        """The next folded integer, which fits 32 bits."""
        return self.signed(0xFFFFFFFF)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self.data) - self.at:
            raise CodecError("cut short")
        self.at += count
        return self.data[self.at - count : self.at]
