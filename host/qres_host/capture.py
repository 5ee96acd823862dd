"""Capture: the raw bytes of every port in append-only segments. This is the truth; all else is derived.

A segment is a file `NNNNNNNN.qcap`: the header `QCAP`, version u8, three zero bytes, wall clock unix ms
u64 LE of its opening, then records:

    length u32 LE | crc32 u32 LE | arrival_ms u64 LE | device length u8 | device utf-8 | bytes

`length` counts what follows the CRC, which covers the same. `arrival_ms` is monotonic within a capture.
Records are written whole, many with one system call, so after a power cut or a kill only the tail of the last
segment can be damaged: the reader ignores that tail and says how many bytes it held.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from qres_host.errors import QresError

MAGIC = b"QCAP\x01\0\0\0"
SUFFIX = ".qcap"
MAX_RECORD = 1 << 20  # a length beyond it is damage, not data: reads of a port are at most 64 KB
MAX_ARRIVAL_MS = (1 << 63) - 1  # what a database can hold
SEGMENT_BYTES = 64 << 20
_HEADER = struct.Struct("<8sQ")
_RECORD = struct.Struct("<II")
_BODY = struct.Struct("<QB")


class Record(NamedTuple):
    """One read of one port: arrival in ms since the capture began, device name, the bytes."""

    arrival_ms: int
    device: str
    data: bytes


def pack_record(arrival_ms: int, device: str, data: bytes) -> bytes:
    """Return the stored form of a record. Device names are cut to 255 bytes of UTF-8."""
    name = device.encode()[:255]
    body = _BODY.pack(arrival_ms, len(name)) + name + data
    return _RECORD.pack(len(body), crc32(body)) + body


class CaptureWriter:
    """Appends records to the segments of a folder. One thread calls `append`; any may call `sync`.

    An existing capture is continued in a new segment, so a damaged tail is never written behind.
    `segment_bytes` is where a segment ends and the next begins. Raises QresError when the folder
    or a segment cannot be written. `started_ms` is the wall clock (unix ms) of the first segment.
    """

    def __init__(self, folder: str | os.PathLike[str], segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = Path(folder)
        self.records = self.bytes = 0
        self._limit = segment_bytes
        self._fd = -1
        self._full: list[int] = []  # segments that are complete, but not yet on the disk for sure
        self._lock = threading.Lock()  # of the two above: `sync` runs beside `append`
        self._size = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            existing = segments(self.folder)
            self.started_ms = started_ms(existing[0]) if existing else int(time.time() * 1000)
            self._number = int(existing[-1].stem) + 1 if existing else 0
            self._base_ms = _last_arrival_ms(existing) + 1 if existing else 0
            self._started = time.monotonic()
            self._open_segment()
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def now_ms(self) -> int:
        """Return the arrival time for a record that comes in now."""
        return self._base_ms + int((time.monotonic() - self._started) * 1000)

    def append(self, arrival_ms: int, device: str, data: bytes) -> None:
        """Store one record; when this returns, it survives the end of this process."""
        self.extend([Record(arrival_ms, device, data)])

    def extend(self, records: Sequence[Record]) -> None:
        """Store records with one write; when this returns, they survive the end of this process."""
        packed = b"".join([pack_record(*record) for record in records])
        try:
            if self._size and self._size + len(packed) > self._limit:
                self._number += 1
                self._open_segment()
            written = os.write(self._fd, packed)
            while written < len(packed):  # a full disk or a signal may cut a write short
                written += os.write(self._fd, packed[written:])
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._size += len(packed)
        self.records += len(records)
        self.bytes += sum(len(record.data) for record in records)

    def sync(self) -> None:
        """Force what was appended to the disk, so that it survives a power cut as well."""
        with self._lock:
            full, self._full = self._full, []
            now = os.dup(self._fd) if self._fd >= 0 else -1
        for fd in (*full, now):
            if fd >= 0:
                os.fsync(fd)
                os.close(fd)

    def close(self) -> None:
        """Sync and close. Closing twice is harmless."""
        if self._fd < 0:
            return
        self.sync()
        with self._lock:
            os.close(self._fd)
            self._fd = -1

    def _open_segment(self) -> None:
        path = self.folder / f"{self._number:08d}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        opened_ms = int(time.time() * 1000) if self._number else self.started_ms
        os.write(fd, _HEADER.pack(MAGIC, opened_ms))
        with self._lock:
            if self._fd >= 0:
                self._full.append(self._fd)
            self._fd, self._size = fd, 0


class CaptureReader:
    """Iterates the records of a capture: a folder of segments or a single segment.

    After the iteration `damaged_bytes` tells how much of the tails was unreadable. Raises QresError
    when there is no capture at `path`, or when it is something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damaged_bytes = 0
        self._segments = segments(self.path) if self.path.is_dir() else [self.path]
        if not self.path.exists():
            raise QresError(f"no capture at {self.path}", "name a capture folder or a .qcap segment")
        if not self._segments:
            raise QresError(f"{self.path} holds no capture", "name a folder with .qcap segments")
        # The wall clock (unix ms) at which the capture began.
        self.started_ms = min(started_ms(segment) for segment in self._segments)

    def __iter__(self) -> Iterator[Record]:
        self.damaged_bytes = 0
        for segment in self._segments:
            yield from self._read(segment.read_bytes())

    def _read(self, data: bytes) -> Iterator[Record]:
        at = _HEADER.size
        while at < len(data):
            record, end = _parse(data, at)
            if record is None:
                self.damaged_bytes += len(data) - at
                return
            yield record
            at = end


def segments(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the segments of a capture folder, oldest first."""
    found = (p for p in Path(folder).glob(f"*{SUFFIX}") if p.stem.isdigit())
    return sorted(found, key=lambda p: int(p.stem))


def started_ms(segment: str | os.PathLike[str]) -> int:
    """Return the wall clock (unix ms) at which a segment was opened; 0 when its header was cut off."""
    try:
        with open(segment, "rb") as file:
            head = file.read(_HEADER.size)
    except OSError as error:
        raise QresError(f"cannot read {segment}", str(error.strerror)) from error
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        raise QresError(f"{segment} is not a QRES capture", "name a folder or file that --capture wrote")
    return int(_HEADER.unpack(head)[1]) if len(head) == _HEADER.size else 0


def _parse(data: bytes, at: int) -> tuple[Record | None, int]:
    """Return the record at `at` and where it ends, or None when it is cut off or damaged."""
    body_at = at + _RECORD.size
    if body_at > len(data):
        return None, at
    length, crc = _RECORD.unpack_from(data, at)
    end = body_at + length
    if not _BODY.size <= length <= MAX_RECORD or end > len(data):
        return None, at
    body = data[body_at:end]
    if crc32(body) != crc:
        return None, at
    arrival_ms, name_length = _BODY.unpack_from(body)
    data_at = _BODY.size + name_length
    if data_at > length or arrival_ms > MAX_ARRIVAL_MS:
        return None, at
    return Record(arrival_ms, body[_BODY.size : data_at].decode("utf-8", "replace"), body[data_at:]), end


def _last_arrival_ms(existing: list[Path]) -> int:
    for segment in reversed(existing):
        last = max((record.arrival_ms for record in CaptureReader(segment)), default=-1)
        if last >= 0:
            return last
    return 0


def _cannot_write(folder: Path, error: OSError) -> QresError:
    remedy = f"{error.strerror}; free space or choose another folder"
    return QresError(f"cannot write the capture in {folder}", remedy)
