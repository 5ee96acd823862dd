"""The small numbers of the format, read with every limit checked: varints, signed varints, byte strings."""

from __future__ import annotations

from qres.codec import CodecError

MASK64 = (1 << 64) - 1
_SIGNED_MAX = (1 << 65) - 1


def varint(number: int) -> bytes:
    """Return `number` >= 0 with seven bits a byte, lowest first; the top bit says that another byte follows."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed(number: int) -> bytes:
    """Return `number` as the varint of its zigzag: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return varint(2 * number if number >= 0 else -2 * number - 1)


def string(data: bytes) -> bytes:
    """Return `data` behind its length."""
    return varint(len(data)) + data


def to_int64(number: int) -> int:
    """Return `number` modulo 2^64 as a signed 64-bit integer."""
    number &= MASK64
    return number - (1 << 64) if number >> 63 else number


class Fields:
    """Takes fields from `data` one after another; whatever is not there or beyond its limit is a CodecError."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Begin at byte `at`."""
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Return the next byte."""
        if self.at >= len(self.data):
            raise CodecError("cut short")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self, limit: int = MASK64) -> int:
        """Return the next varint, which must not exceed `limit`."""
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 70:
                raise CodecError("number too long")
        if number > limit:
            raise CodecError(f"{number} is more than the {limit} allowed")
        return number

    def signed(self) -> int:
        """Return the next signed varint, wrapped to 64 bits."""
        number = self.varint(_SIGNED_MAX)
        return to_int64(-(number + 1 >> 1) if number & 1 else number >> 1)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self.data) - self.at:
            raise CodecError("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def string(self, limit: int) -> bytes:
        """Return the next byte string of at most `limit` bytes."""
        return self.take(self.varint(limit))

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        """Refuse bytes that no field claims."""
        if self.at != len(self.data):
            raise CodecError("bytes behind the end")
