"""Radio frames in the database: up to 16 of one session of a node as one small blob, telemetry whole.

Layout: for each device that frames came by: length of its name u8, name UTF-8, number of its frames u8, then these in
the order of their counters: counter mod 16 u8, kind u8, rssi i8, size on the air u8, length of what it told u8, arrival
ms u64, swarm time ms u64, all little endian, and the payload of telemetry. One row for many frames costs a small part
of a row for each. With more of them a row would not fit on a page among its neighbours, and a board that speaks seldom
would rewrite more each time.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qres import telemetry

from qres_host.records import Packet

FRAMES = 16  # in a chunk
OPEN_CHUNKS = 4096  # kept in memory between commits, written or not
SCHEMA = """
CREATE TABLE frames (
  node INTEGER, session INTEGER, bucket INTEGER, n INTEGER, data BLOB,
  PRIMARY KEY (node, session, bucket)) WITHOUT ROWID;
"""
_SHIFT = FRAMES.bit_length() - 1
_ROW = struct.Struct("<BBbBBQQ")
_TOLD = 4  # where in a row the length of what the frame told stands

Key = tuple[int, int, int]  # node, session, counter // FRAMES
Rows = dict[int, bytes]  # by counter mod FRAMES
Chunk = dict[str, Rows]  # by device, in the order of their first frames
Fresh = dict[tuple[int, int, int, str], Rows]  # by the key of the chunk, and device


def gather(fresh: Fresh, packets: Iterable[Packet]) -> None:
    """Add frames to those that are to be written."""
    pack_row = _ROW.pack
    for arrival_ms, device, swarm_ms, node, session, counter, kind, rssi_dbm, size, _, told in packets:
        key = (node, session, counter >> _SHIFT, device)
        rows = fresh.get(key)
        if rows is None:
            rows = fresh[key] = {}
        offset = counter & FRAMES - 1
        if told is None:
            rows[offset] = pack_row(offset, kind, rssi_dbm, size, 0, arrival_ms, swarm_ms)
        else:
            payload = told[0]
            rows[offset] = pack_row(offset, kind, rssi_dbm, size, len(payload), arrival_ms, swarm_ms) + payload


def pack(chunk: Chunk) -> bytes:
    """Return the blob of a chunk. Names of devices are cut to 255 bytes of UTF-8."""
    out = []
    for device, rows in chunk.items():
        name = device.encode()[:255]
        out += [bytes([len(name)]), name, bytes([len(rows)]), *[rows[i] for i in sorted(rows)]]
    return b"".join(out)


def unpack(blob: bytes) -> Chunk:
    """Return the chunk of a blob. Raises ValueError when it is none."""
    chunk: Chunk = {}
    at = 0
    try:
        while at < len(blob):
            count_at = at + 1 + blob[at]
            rows = chunk.setdefault(blob[at + 1 : count_at].decode("utf-8", "ignore"), {})
            at = count_at + 1
            for _ in range(blob[count_at]):
                if blob[at] >= FRAMES:
                    raise ValueError("not a chunk of frames")
                end = at + _ROW.size + blob[at + _TOLD]
                rows[blob[at]] = blob[at:end]
                at = end
    except IndexError:
        raise ValueError("not a chunk of frames") from None
    if at != len(blob):
        raise ValueError("not a chunk of frames")
    return chunk


class StoredFrame(NamedTuple):
    """A frame that the database holds; `told` are the values of telemetry, None of other kinds."""

    session: int
    counter: int
    kind: int
    arrival_ms: int
    swarm_ms: int
    device: str
    rssi_dbm: int
    size: int
    told: dict[str, int | bytes] | None


class FrameTable:
    """Writes frames; chunks that are not full yet are kept in memory."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._open: OrderedDict[Key, Chunk] = OrderedDict()
        self._last: dict[int, tuple[int, int]] = {}  # by node: a session, and its last bucket in the database

    def write(self, fresh: Fresh) -> None:
        """Write frames, inside a transaction of the caller; one that is there already stays as it was."""
        changed: dict[Key, Chunk] = {}
        for (node, session, bucket, device), rows in fresh.items():
            key = (node, session, bucket)
            chunk = self._open.get(key)
            if chunk is None:
                chunk = self._load(key)
            if chunk:
                known = set().union(*chunk.values())
                rows = {i: row for i, row in rows.items() if i not in known}
            if rows:
                chunk.setdefault(device, {}).update(rows)
                changed[key] = chunk
        packed = []
        for key in sorted(changed):
            chunk = changed[key]
            count = sum(map(len, chunk.values()))
            packed.append((*key, count, pack(chunk)))
            if count == FRAMES:
                del self._open[key]
        self._database.executemany("INSERT OR REPLACE INTO frames VALUES (?,?,?,?,?)", packed)
        while len(self._open) > OPEN_CHUNKS:
            self._open.popitem(last=False)

    def _load(self, key: Key) -> Chunk:
        node, session, bucket = key
        known, last = self._last.get(node, (-1, -1))
        if known != session:
            query = "SELECT coalesce(max(bucket), -1) FROM frames WHERE node=? AND session=?"
            last = self._database.execute(query, (node, session)).fetchone()[0]
        chunk: Chunk = {}
        if bucket <= last:  # else it is new, as most are
            query = "SELECT data FROM frames WHERE node=? AND session=? AND bucket=?"
            row = self._database.execute(query, key).fetchone()
            chunk = unpack(row[0]) if row else {}
        self._last[node] = session, max(last, bucket)
        self._open[key] = chunk
        return chunk


def read_frames(database: sqlite3.Connection, node: int) -> Iterator[StoredFrame]:
    """Yield the stored frames of a node, by session and counter."""
    query = "SELECT session, bucket, data FROM frames WHERE node=? ORDER BY session, bucket"
    for session, bucket, blob in database.execute(query, (node,)):
        found = [(row, device) for device, rows in unpack(blob).items() for row in rows.values()]
        for row, device in sorted(found):
            offset, kind, rssi_dbm, size, length, arrival_ms, swarm_ms = _ROW.unpack_from(row)
            told = telemetry.unpack(row[_ROW.size :]) if length else None
            counter = bucket * FRAMES + offset
            yield StoredFrame(session, counter, kind, arrival_ms, swarm_ms, device, rssi_dbm, size, told)
