"""Snapshots: one versioned, checksummed blob, and two files that survive a power cut at any byte.

Layout: "QS", version, payload of varints, CRC-32 (little endian) of all before.
"""

from qres.compat import const, crc32
from qres.fixed import MAX32, MIN32

if False:
    from typing import Any

VERSION = const(2)
RTC_BYTES = const(2048)  # what the chip keeps through deep sleep


class SnapshotError(ValueError):
    """Bytes that are no snapshot of this version, or one of another configuration."""


class Writer:
    """Builds a snapshot."""

    def __init__(self) -> None:
        """Empty but for the header."""
        self.data = bytearray(b"QS")
        self.data.append(VERSION)

    def uint(self, value: int) -> None:
        """A non-negative int of any size: seven bits a byte, lowest first."""
        while value > 127:
            self.data.append((value & 127) | 128)
            value >>= 7
        self.data.append(value)

    def sint(self, value: int) -> None:
        """Any int: zigzag, then as uint."""
        self.uint(-2 * value - 1 if value < 0 else 2 * value)

    def sints(self, values: "Any") -> None:
        """A counted list of ints."""
        self.uint(len(values))
        for v in values:
            self.sint(v)

    def blob(self, value: "bytes | bytearray") -> None:
        """Counted bytes."""
        self.uint(len(value))
        self.data += value

    def fields(self, thing: "Any") -> None:
        """Every field that `thing.STATE` names, as "kind:name" separated by spaces.

        Kinds: u uint, i int, a ints of fixed number, v ints, b bytes, t tuples of ints, q pairs of int and bytes, o an
        object with a STATE, l a list of them, c an object with dump and load of its own.
        """
        for field in thing.STATE.split():
            kind, value = field[0], getattr(thing, field[2:])
            if kind == "u":
                self.uint(value)
            elif kind == "i":
                self.sint(value)
            elif kind in "av":
                self.sints(value)
            elif kind == "b":
                self.blob(value)
            elif kind == "o":
                self.fields(value)
            elif kind == "c":
                value.dump(self)
            else:
                self.uint(len(value))
                for item in value:
                    if kind == "l":
                        self.fields(item)
                    elif kind == "t":
                        self.sints(item)
                    else:
                        self.sint(item[0])
                        self.blob(item[1])

    def finish(self) -> bytes:
        """The blob with its checksum."""
        return bytes(self.data) + crc32(self.data).to_bytes(4, "little")


class Reader:
    """Reads what Writer wrote; every method raises SnapshotError alone."""

    def __init__(self, blob: bytes) -> None:
        """Check header and checksum."""
        if len(blob) < 7 or blob[:2] != b"QS" or blob[2] != VERSION:
            raise SnapshotError("not a snapshot of this version")
        if crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
            raise SnapshotError("checksum differs")
        self.data = blob
        self.at = 3
        self.end = len(blob) - 4

    def uint(self) -> int:
        """The next uint, below 2^98."""
        value = 0
        shift = 0
        while True:
            if self.at >= self.end or shift > 91:
                raise SnapshotError("truncated")
            b = self.data[self.at]
            self.at += 1
            value |= (b & 127) << shift
            if b < 128:
                return value
            shift += 7

    def sint(self) -> int:
        """The next int."""
        v = self.uint()
        return -(v >> 1) - 1 if v & 1 else v >> 1

    def count(self) -> int:
        """The next uint, which must be plausible as a number of items."""
        v = self.uint()
        if v > self.end - self.at:
            raise SnapshotError("truncated")
        return v

    def sints(self) -> list[int]:
        """The next list of ints."""
        return [self.sint() for _ in range(self.count())]

    def blob(self) -> bytes:
        """The next counted bytes."""
        n = self.count()
        self.at += n
        return bytes(self.data[self.at - n : self.at])

    def fields(self, thing: "Any") -> None:
        """Read what Writer.fields wrote of an object of the same class and shape."""
        for field in thing.STATE.split():
            kind, name = field[0], field[2:]
            if kind in "aloc":
                self._fill(kind, getattr(thing, name))
            elif kind == "u":
                setattr(thing, name, self.uint())
            elif kind == "i":
                setattr(thing, name, self.sint())
            elif kind == "v":
                setattr(thing, name, self.sints())
            elif kind == "b":
                growing = isinstance(getattr(thing, name), bytearray)
                setattr(thing, name, bytearray(self.blob()) if growing else self.blob())
            elif kind == "t":
                setattr(thing, name, [tuple(self.sints()) for _ in range(self.count())])
            else:
                setattr(thing, name, [(self.sint(), self.blob()) for _ in range(self.count())])

    def _fill(self, kind: str, target: "Any") -> None:
        """Read into an object that exists, whose shape the configuration fixed."""
        if kind == "o":
            self.fields(target)
        elif kind == "c":
            target.load(self)
        else:
            n = self.count()
            if n != len(target):
                raise SnapshotError("another configuration")
            for i in range(n):
                if kind == "l":
                    self.fields(target[i])
                else:
                    v = self.sint()
                    if not MIN32 <= v <= MAX32:
                        raise SnapshotError("out of range")
                    target[i] = v

    def done(self) -> None:
        """SnapshotError unless everything was read."""
        if self.at != self.end:
            raise SnapshotError("bytes left over")


class Slots:
    """Two files that take turns, so that a power cut at any byte leaves the older one whole.

    `storage` gives read(name) -> bytes or None and write(name, bytes).  A file is a u32 sequence number, the blob, and
    the CRC-32 of both.
    """

    NAMES = ("snapshot.0", "snapshot.1")

    def __init__(self, storage: "Any") -> None:
        """Look at both files; damaged ones count in `damaged`."""
        self.storage = storage
        self.damaged = 0
        self.sequence = 0
        self.blob: bytes | None = None
        for name in self.NAMES:
            data = storage.read(name)
            if data is None:
                continue
            if len(data) < 8 or crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
                self.damaged += 1
                continue
            sequence = int.from_bytes(data[:4], "little")
            if self.blob is None or sequence > self.sequence:
                self.sequence = sequence
                self.blob = data[4:-4]

    def load(self) -> "bytes | None":
        """The newest whole blob, or None."""
        return self.blob

    def save(self, blob: bytes) -> None:
        """Write `blob` over the older file; the storage's errors pass through and leave the newer one in force."""
        sequence = self.sequence + 1
        data = sequence.to_bytes(4, "little") + blob
        name = self.NAMES[sequence & 1]
        self.storage.write(name, data + crc32(data).to_bytes(4, "little"))
        self.sequence = sequence
        self.blob = blob
