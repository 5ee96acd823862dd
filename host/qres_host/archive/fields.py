"""The small numbers of the format, read with every limit checked: varints, signed varints, byte strings."""

from __future__ import annotations

from qres.codec import CodecError

from qres_host.blocks.varint import Reader
from qres_host.blocks.varint import put as varint
from qres_host.blocks.varint import put_signed as signed

MASK64 = (1 << 64) - 1
_SIGNED_MAX = (1 << 65) - 1

__all__ = ["MASK64", "Fields", "signed", "string", "to_int64", "varint"]


def string(data: bytes) -> bytes:
    """Return `data` behind its length."""
    return varint(len(data)) + data


def to_int64(number: int) -> int:
    """Return `number` modulo 2^64 as a signed 64-bit integer."""
    number &= MASK64
    return number - (1 << 64) if number >> 63 else number


class Fields(Reader):
    """Takes fields from `data` one after another; whatever is not there or beyond its limit is a CodecError."""

    def varint(self, limit: int = MASK64) -> int:
        """Return the next varint, which must not exceed `limit`."""
        return self.get(limit)

    def signed(self, limit: int = _SIGNED_MAX) -> int:
        """Return the next signed varint, wrapped to 64 bits."""
        return to_int64(super().signed(limit))

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
