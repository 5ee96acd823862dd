"""Snapshots: one versioned, checksummed blob, and two files that survive a power cut at any byte.

Layout: "QS", version, payload of varints, CRC-32 (little endian) of all before.
"""

from qres.compat import const, crc32
from qres.fixed import MAX32, MIN32

if False:
    from array import array

VERSION = const(1)
RTC_BYTES = const(2048)  # what the chip keeps through deep sleep
_INTS_MAX = const(1024)  # no list in a snapshot is longer


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

    def sints(self, values: "array[int] | list[int]") -> None:
        """A counted list of ints."""
        self.uint(len(values))
        for v in values:
            self.sint(v)

    def blob(self, value: "bytes | bytearray") -> None:
        """Counted bytes."""
        self.uint(len(value))
        self.data += value

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
        """The next uint, below 2^70."""
        value = 0
        shift = 0
        while True:
            if self.at >= self.end or shift > 63:
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

    def int32(self) -> int:
        """The next int, which must be an int32."""
        v = self.sint()
        if not MIN32 <= v <= MAX32:
            raise SnapshotError("out of range")
        return v

    def below(self, bound: int) -> int:
        """The next uint, which must be below `bound`."""
        v = self.uint()
        if v >= bound:
            raise SnapshotError("out of range")
        return v

    def sints(self) -> list[int]:
        """The next list of ints."""
        return [self.sint() for _ in range(self.below(_INTS_MAX))]

    def fill(self, target: "array[int]", limit: int) -> None:
        """Read a list into `target`, of the same length, each value within +-limit."""
        values = self.sints()
        if len(values) != len(target):
            raise SnapshotError("another configuration")
        for i in range(len(values)):
            if not -limit <= values[i] <= limit:
                raise SnapshotError("out of range")
            target[i] = values[i]

    def blob(self) -> bytes:
        """The next counted bytes."""
        n = self.uint()
        if n > self.end - self.at:
            raise SnapshotError("truncated")
        self.at += n
        return bytes(self.data[self.at - n : self.at])

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

    def __init__(self, storage: "object") -> None:
        """Look at both files; damaged ones count in `damaged`."""
        self.storage = storage
        self.damaged = 0
        self.sequence = 0
        self.blob: bytes | None = None
        for name in self.NAMES:
            data = storage.read(name)  # type: ignore[attr-defined]
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
        self.storage.write(name, data + crc32(data).to_bytes(4, "little"))  # type: ignore[attr-defined]
        self.sequence = sequence
        self.blob = blob
