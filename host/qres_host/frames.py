"""Radio frames in the database: up to 16 of one session of a node as one small blob, telemetry whole.

Layout: for each device that frames came by: length of its name u8, name UTF-8, number of its frames u8, then these in
the order of their counters: counter mod 16 u8, kind u8, rssi i8, size on the air u8, length of what it told u8, arrival
ms u64, swarm time ms u64, all little endian, and the payload of telemetry. One row for many frames costs a small part
of a row for each. With more of them a row would not fit on a page among its neighbours, and a board that speaks seldom
would rewrite more each time.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import add
from typing import NamedTuple

import numpy as np
from qres import telemetry

from qres_host.records import Frames
from qres_host.runs import runs

FRAMES = 16  # in a chunk
OPEN_CHUNKS = 4096  # kept in memory between commits, written or not
SCHEMA = """
CREATE TABLE frames (
  node INTEGER, session INTEGER, bucket INTEGER, n INTEGER, data BLOB,
  PRIMARY KEY (node, session, bucket)) WITHOUT ROWID;
"""
_ROW = np.dtype([
    ("at", "u1"), ("kind", "u1"), ("rssi_dbm", "i1"), ("size", "u1"), ("told", "u1"),
    ("arrival_ms", "<u8"), ("swarm_ms", "<u8"),
])  # fmt: skip
_TOLD = 4  # where in a row the length of what the frame told stands

Key = tuple[int, int, int]  # node, session, counter // FRAMES
Rows = dict[int, bytes]  # by counter mod FRAMES
Chunk = dict[str, Rows]  # by device, in the order of their first frames
Place = tuple[int, int, int, str]  # the key of the chunk, and device


def gather(gathered: dict[Place, list[bytes]], found: Sequence[Frames]) -> None:
    """Add the rows of frames to those `gathered` by where they belong, in the order in which they came."""
    if not found:
        return
    arrival_ms, device, swarm_ms, node, session, counter, kind, rssi_dbm, size, _, told, _ = Frames.joined(found)
    payloads = [payload or b"" for payload in told]
    heads = np.empty(len(node), _ROW)
    heads["told"] = np.fromiter(map(len, payloads), np.int64, len(payloads))
    heads["at"], heads["kind"], heads["rssi_dbm"], heads["size"] = counter % FRAMES, kind, rssi_dbm, size
    heads["arrival_ms"], heads["swarm_ms"] = arrival_ms, swarm_ms
    rows = list(map(add, heads.view(f"V{_ROW.itemsize}").tolist(), payloads))

    bucket = counter // FRAMES
    order = np.lexsort((bucket, session, node))
    keys = [column.take(order) for column in (node, session, bucket, device)]
    starts, ends = runs(*keys)
    places = zip(*[key.take(starts).tolist() for key in keys], strict=True)
    rows = [rows[i] for i in order.tolist()]
    for place, at, end in zip(places, starts.tolist(), ends.tolist(), strict=True):
        gathered.setdefault(place, []).extend(rows[at:end])


def pack(chunk: Chunk) -> bytes:
    """Return the blob of a chunk. Names of devices are cut to 255 bytes of UTF-8."""
    return b"".join([_pack_rows(device, rows.values()) for device, rows in chunk.items()])


def _pack_rows(device: str, rows: Collection[bytes]) -> bytes:
    name = device.encode()[:255]
    return bytes([len(name)]) + name + bytes([len(rows)]) + b"".join(sorted(rows))  # each begins with its place


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
                end = at + _ROW.itemsize + blob[at + _TOLD]
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

    def write(self, fresh: Mapping[Place, list[bytes]]) -> None:
        """Write what `gather` found, inside a transaction of the caller; a frame that is there stays as it was."""
        changed: dict[Key, Chunk] = {}
        packed = []
        for (node, session, bucket, device), told in fresh.items():
            key = (node, session, bucket)
            chunk = self._open.get(key)
            if chunk is None:
                chunk = self._load(key)
                if not chunk and len(told) == FRAMES:  # as most are where much is told
                    packed.append((*key, FRAMES, _pack_rows(device, told)))
                    continue
                self._open[key] = chunk
            rows = {row[0]: row for row in told}
            if chunk:
                known = set().union(*chunk.values())
                rows = {i: row for i, row in rows.items() if i not in known}
            if rows:
                chunk.setdefault(device, {}).update(rows)
                changed[key] = chunk
        for key, chunk in changed.items():
            count = sum(map(len, chunk.values()))
            packed.append((*key, count, pack(chunk)))
            if count == FRAMES:
                del self._open[key]
        self._database.executemany("INSERT OR REPLACE INTO frames VALUES (?,?,?,?,?)", sorted(packed))
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
        return chunk


def read_frames(database: sqlite3.Connection, node: int) -> Iterator[StoredFrame]:
    """Yield the stored frames of a node, by session and counter."""
    query = "SELECT session, bucket, data FROM frames WHERE node=? ORDER BY session, bucket"
    for session, bucket, blob in database.execute(query, (node,)):
        found = [(row, device) for device, rows in unpack(blob).items() for row in rows.values()]
        for row, device in sorted(found):
            offset, kind, rssi_dbm, size, length, arrival_ms, swarm_ms = np.frombuffer(row, _ROW, 1).item()
            told = telemetry.unpack(row[_ROW.itemsize :]) if length else None
            counter = bucket * FRAMES + offset
            yield StoredFrame(session, counter, kind, arrival_ms, swarm_ms, device, rssi_dbm, size, told)
