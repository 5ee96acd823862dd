"""The file: records one after another, each with its CRC-32, and an index behind every batch of blocks.

Nothing that is written is ever changed: appending adds blocks and one more index, which names the index before it. So
a file that was cut anywhere holds all blocks that were complete, and a scan finds them when the last index is gone.
Layout: docs/format.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from zlib import crc32

from qres.codec import CodecError

from qres_host.archive.block import STORED, Summary, read_summary
from qres_host.archive.fields import Fields, varint

MAGIC = b"\x89QRES\n"
VERSION = 1
META, BLOCK, RAW, INDEX = 1, 2, 3, 4
OPTIONAL = 0x80  # a reader passes over an unknown record of such a kind
PAYLOAD_MAX = 1 << 28  # of what is read into memory at once
_TAIL = struct.Struct("<II")  # size of the index record, and its CRC-32: the last bytes of a whole file
_HEAD_MAX = 1 + 10
_PIECE = 1 << 20


class Entry(NamedTuple):
    """Where a block lies (its record, in bytes of the file) and its summary."""

    offset: int
    size: int
    summary: Summary


class Record(NamedTuple):
    """Where a record lies: kind, offset of the record, offset and length of its payload, offset behind it."""

    kind: int
    offset: int
    payload: int
    length: int
    end: int


def record(kind: int, payload: bytes) -> bytes:
    """Return a record: kind u8, length varint, payload, CRC-32 of all before."""
    body = bytes((kind,)) + varint(len(payload)) + payload
    return body + struct.pack("<I", crc32(body))


class Container:
    """A file open for reading. `entries` are its blocks; `complete` tells whether the file ends with a valid index,
    `end` where its last valid record ends, `lost` how many bytes belong to no valid record.

    Raises CodecError for what is no archive, or one of an unknown version.
    """

    def __init__(self, file: BinaryIO) -> None:
        """`file` is seekable and stays the caller's."""
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(len(MAGIC) + 1)
        if head[: len(MAGIC)] != MAGIC:
            raise CodecError("no QRES archive")
        if len(head) <= len(MAGIC):
            raise CodecError("cut short")
        if head[-1] != VERSION:
            raise CodecError(f"format version {head[-1]}, known is {VERSION}: a newer QRES reads it")
        first = self._record_at(len(head))
        if first is None or first.kind != META or not self._intact(first):
            raise CodecError("the metadata is damaged or cut short")
        self.meta = self._payload(first)
        self.start = first.end
        self.entries: list[Entry] = []
        self.last_index = -1
        self.lost = 0
        self.complete = self._read_indices()
        self.end = self.size if self.complete else self._scan()
        self.lost += self.size - self.end

    def payload(self, entry: Entry) -> bytes:
        """Return the payload of a block after checking its CRC and its summary."""
        found = self._record_at(entry.offset)
        if found is None or found.kind != BLOCK or found.end != entry.offset + entry.size or not self._intact(found):
            raise CodecError(f"the block at byte {entry.offset} is damaged")
        payload = self._payload(found)
        if read_summary(Fields(payload)) != entry.summary:
            raise CodecError(f"the block at byte {entry.offset} is not what the index says")
        return payload

    def raw_pieces(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of a RAW record; CodecError before the first one when they are damaged."""
        found = self._record_at(entry.offset)
        if found is None or found.kind != RAW or found.length != entry.summary.rows or not self._intact(found):
            raise CodecError(f"the bytes at byte {entry.offset} are damaged")
        for at in range(0, found.length, _PIECE):
            self.file.seek(found.payload + at)
            yield self.file.read(min(_PIECE, found.length - at))

    def _record_at(self, offset: int) -> Record | None:
        """Return the record that begins at `offset` when the file is long enough for it; its CRC is not checked."""
        self.file.seek(offset)
        fields = Fields(self.file.read(_HEAD_MAX))
        try:
            kind, length = fields.byte(), fields.varint()
        except CodecError:
            return None
        payload = offset + fields.at
        end = payload + length + 4
        return Record(kind, offset, payload, length, end) if end <= self.size else None

    def _intact(self, found: Record) -> bool:
        self.file.seek(found.offset)
        checksum, left = 0, found.end - 4 - found.offset
        while left:
            piece = self.file.read(min(left, _PIECE))
            if not piece:
                return False
            checksum = crc32(piece, checksum)
            left -= len(piece)
        return self.file.read(4) == struct.pack("<I", checksum)

    def _payload(self, found: Record) -> bytes:
        if found.length > PAYLOAD_MAX:
            raise CodecError("a record larger than there can be")
        self.file.seek(found.payload)
        return self.file.read(found.length)

    def _read_indices(self) -> bool:
        """Follow the chain of indices back from the end; False when the file does not end with one."""
        if self.size < self.start + _TAIL.size:
            return False
        self.file.seek(self.size - _TAIL.size)
        at = self.size - _TAIL.unpack(self.file.read(_TAIL.size))[0]
        last, limit = at, self.size
        batches: list[list[Entry]] = []
        if at < self.start:
            return False
        while at >= self.start:
            found = self._record_at(at)
            if found is None or found.kind != INDEX or found.end > limit or not self._intact(found):
                return False
            if not batches and found.end != self.size:
                return False
            try:
                entries, before = _read_index(self._payload(found), at)
            except CodecError:
                return False
            batches.append(entries)
            limit, at = at, before
        for entries in reversed(batches):
            self.entries += entries
        self.last_index = last
        return True

    def _scan(self) -> int:
        """Find all valid records from the beginning; return where the last one ends."""
        at = self.start
        while (found := self._record_at(at)) is not None:
            if not self._intact(found):
                # One damaged record does not cost those behind it, when its length still leads to them.
                after = self._record_at(found.end)
                if after is None or not self._intact(after):
                    break
                self.lost += found.end - found.offset
            elif found.kind in (BLOCK, RAW):
                if found.kind == BLOCK:
                    self.file.seek(found.payload)
                    summary = read_summary(Fields(self.file.read(min(found.length, 64))))
                else:
                    summary = Summary(found.length, STORED)
                self.entries.append(Entry(found.offset, found.end - found.offset, summary))
            elif found.kind != INDEX and not found.kind & OPTIONAL:
                raise CodecError(f"unknown record of kind {found.kind}: a newer QRES wrote this")
            at = found.end
        return at


def _read_index(payload: bytes, at: int) -> tuple[list[Entry], int]:
    """Return the blocks that the index at offset `at` names, and the offset of the index before it, -1 for none."""
    fields = Fields(payload[:-4])
    if fields.varint() != at:
        raise CodecError("the index belongs elsewhere")
    before = at - fields.varint(at)
    entries: list[Entry] = []
    offset = 0
    for _ in range(fields.varint(len(payload))):
        offset += fields.varint(at - offset)
        size = fields.varint(at - offset)
        entries.append(Entry(offset, size, read_summary(fields)))
        offset += size
    fields.end()
    return entries, before if before < at else -1


def pack_index(entries: list[Entry], at: int, before: int) -> bytes:
    """Return the index record for `entries`, to be written at offset `at`; `before`: the index before it, or -1.

    The payload ends with the size of the whole record, so that it is found from the end of the file.
    """
    body = bytearray(varint(at) + varint(at - before if before >= 0 else 0))
    body += varint(len(entries))
    end = 0
    for entry in entries:
        body += varint(entry.offset - end) + varint(entry.size) + entry.summary.pack()
        end = entry.offset + entry.size
    size = len(record(INDEX, bytes(body) + bytes(4)))
    return record(INDEX, bytes(body) + struct.pack("<I", size))


def begin(meta: bytes) -> bytes:
    """Return the first bytes of a file: magic, version, metadata."""
    return MAGIC + bytes((VERSION,)) + record(META, meta)


class Appender:
    """Writes blocks behind what `file` holds up to `offset`, and an index when closed."""

    def __init__(self, file: BinaryIO, offset: int, found: Container | None = None) -> None:
        """`file` stands at `offset`; `found` is what it holds before that.

        Where its last index is gone, the next one names all blocks anew.
        """
        self.file = file
        self.offset = offset
        self._durable = found is not None
        self.last_index = found.last_index if found and found.complete else -1
        self.entries = list(found.entries) if found and not found.complete else []

    def add(self, summary: Summary, payload: bytes) -> None:
        """Write one block."""
        data = record(BLOCK, payload)
        self.file.write(data)
        self.entries.append(Entry(self.offset, len(data), summary))
        self.offset += len(data)

    def add_raw(self, pieces: Iterator[bytes], length: int) -> None:
        """Write `length` bytes as they are, as one record; ValueError when the pieces are not so long."""
        head = bytes((RAW,)) + varint(length)
        checksum, written = crc32(head), 0
        self.file.write(head)
        for piece in pieces:
            checksum = crc32(piece, checksum)
            written += len(piece)
            self.file.write(piece)
        if written != length:
            raise ValueError("the input changed while it was read")
        self.file.write(struct.pack("<I", checksum))
        self.entries.append(Entry(self.offset, len(head) + length + 4, Summary(length, STORED)))
        self.offset += len(head) + length + 4

    def finish(self) -> None:
        """Write the index; behind a file that was there, only when the disk has the blocks that it names."""
        if self._durable:
            self.file.flush()
            os.fsync(self.file.fileno())
        data = pack_index(self.entries, self.offset, self.last_index)
        self.file.write(data)
        self.last_index, self.offset = self.offset, self.offset + len(data)
        self.entries = []
