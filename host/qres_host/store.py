"""The database: decoded records in SQLite, written by one thread behind a bounded queue.

Everything in it follows from the captured bytes alone: no clock, no running number of the database, no
order of commits. So replaying a capture gives the same content, and after VACUUM the same file. Samples
lie in chunks of 64 (see `chunks`), with rollups of 64, 1,024 and 16,384 samples beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from binascii import crc_hqx
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from qres import telemetry
from qres.codec import Checkpoint

from qres_host import chunks
from qres_host.boards import board_of_hello
from qres_host.errors import QresError
from qres_host.sender import POINTS_MAX
from qres_host.streams import (
    Alert,
    Coded,
    Event,
    Found,
    Joined,
    Model,
    Packet,
    Rejected,
    Samples,
    Telemetry,
    Update,
)

SCHEMA_VERSION = 3 << 16 | crc_hqx(repr(telemetry.FIELDS).encode(), 0)  # other fields are other columns
QUEUE_BATCHES = 4096
OPEN_CHUNKS = 1024  # chunks kept in memory between commits, written or not
COMMIT_RECORDS = 20_000
COMMIT_S = 0.5  # between two transactions: each costs as much as hundreds of records, and so does waking the writer
_ROOM_S = 0.002  # between two looks for room in the queue
WAL_PAGES = 4096  # of 8 KB, written into the database at once: pages that change often go there only then
LEVELS = (1, 16, 256)  # chunks per rollup bucket

_TYPES = {"uint": "INTEGER"}  # of telemetry fields; all others are bytes
_FIELDS = ", ".join(f"{name} {_TYPES.get(kind, 'BLOB')}" for name, kind in telemetry.FIELDS)

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE boards (
  node INTEGER PRIMARY KEY, mac TEXT, name TEXT, role TEXT, channels TEXT, period_ms INTEGER);
CREATE TABLE packets (
  node INTEGER, session INTEGER, counter INTEGER, kind INTEGER, arrival_ms INTEGER, swarm_ms INTEGER,
  device TEXT, rssi_dbm INTEGER, size INTEGER, PRIMARY KEY (node, session, counter)) WITHOUT ROWID;
CREATE TABLE models (
  epoch INTEGER, hash TEXT, inputs INTEGER, channels INTEGER, lags INTEGER, packed BLOB,
  PRIMARY KEY (epoch, hash)) WITHOUT ROWID;
CREATE TABLE telemetry (
  node INTEGER, session INTEGER, counter INTEGER, swarm_ms INTEGER, {_FIELDS},
  PRIMARY KEY (node, session, counter)) WITHOUT ROWID;
CREATE TABLE updates (
  node INTEGER, epoch INTEGER, base TEXT, residual_q16 INTEGER, accuracy_q16 INTEGER, swarm_ms INTEGER,
  PRIMARY KEY (node, epoch, base)) WITHOUT ROWID;
CREATE TABLE alerts (
  node INTEGER, swarm_ms INTEGER, regime INTEGER, entropy_q16 INTEGER, epoch INTEGER,
  PRIMARY KEY (node, swarm_ms)) WITHOUT ROWID;
CREATE TABLE events (
  arrival_ms INTEGER, n INTEGER, device TEXT, kind TEXT, text TEXT,
  PRIMARY KEY (arrival_ms, n)) WITHOUT ROWID;
CREATE TABLE rejected (device TEXT, reason TEXT, n INTEGER, PRIMARY KEY (device, reason)) WITHOUT ROWID;
CREATE TABLE checkpoints (
  node INTEGER, name TEXT, next_index INTEGER, packed BLOB, PRIMARY KEY (node, name)) WITHOUT ROWID;
CREATE TABLE chunks (
  node INTEGER, period_ms INTEGER, bucket INTEGER, n INTEGER, data BLOB,
  PRIMARY KEY (node, period_ms, bucket)) WITHOUT ROWID;
CREATE TABLE rollups (
  node INTEGER, period_ms INTEGER, chunks INTEGER, bucket INTEGER, channel INTEGER,
  n INTEGER, total INTEGER, low INTEGER, high INTEGER,
  PRIMARY KEY (node, period_ms, chunks, bucket, channel)) WITHOUT ROWID;
"""

_ROLLUP = """INSERT INTO rollups VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n,
  total = total + excluded.total, low = min(low, excluded.low), high = max(high, excluded.high)"""
_BOARD = """INSERT INTO boards VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
  mac = coalesce(excluded.mac, mac), name = coalesce(excluded.name, name),
  role = coalesce(excluded.role, role),
  channels = coalesce(excluded.channels, channels), period_ms = coalesce(excluded.period_ms, period_ms)"""

_INSERT: dict[type, str] = {
    Packet: "INSERT OR IGNORE INTO packets VALUES (?,?,?,?,?,?,?,?,?)",
    Telemetry: f"INSERT OR IGNORE INTO telemetry VALUES (?,?,?,?{',?' * len(telemetry.FIELDS)})",
    Model: "INSERT OR IGNORE INTO models VALUES (?,?,?,?,?,?)",
    Update: "INSERT OR IGNORE INTO updates VALUES (?,?,?,?,?,?)",
    Alert: "INSERT OR IGNORE INTO alerts VALUES (?,?,?,?,?)",
    Event: "INSERT OR IGNORE INTO events VALUES (?,?,?,?,?)",
    Joined: _BOARD,
}

ChunkKey = tuple[int, int, int]  # node, period_ms, bucket
_PACKET = _INSERT[Packet]
_packet_row = attrgetter("node", "session", "counter", "kind", "arrival_ms", "swarm_ms", "device", "rssi_dbm", "size")
RollKey = tuple[int, int, int, int]  # and channel


class Store:
    """A writer of decoded records to the database at `path`; `started_ms` is the capture's wall clock.

    `put` never blocks unless told to: when the disk is too slow, batches are dropped and counted in
    `dropped` (records). The capture has them, and `qres replay` brings them back.
    """

    def __init__(self, path: str | os.PathLike[str], started_ms: int = 0, queue_batches: int = QUEUE_BATCHES) -> None:
        self.path = Path(path)
        self.dropped = self.written = 0
        self.error = ""
        self._batches: deque[Sequence[Found]] = deque()
        self._most = queue_batches
        self._wake = threading.Event()
        self._closing = False
        open_database(self.path, started_ms).close()
        self._thread = threading.Thread(target=self._run, name="qres-store", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Found], wait: bool = False) -> None:
        """Queue records for writing. `wait` blocks for room instead of dropping (for replays)."""
        if not records:
            return
        if len(self._batches) >= self._most // 2:
            self._wake.set()
        while len(self._batches) >= self._most or self.error:
            if not wait or not self._thread.is_alive():
                self.dropped += len(records)
                return
            time.sleep(_ROOM_S)
        self._batches.append(records)

    def points(self) -> list[tuple[int, bytes]]:
        """Return the last checkpoints of all nodes, (node, packed), oldest first."""
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return list(database.execute("SELECT node, packed FROM checkpoints ORDER BY node, next_index, name"))

    def close(self) -> None:
        """Write what is queued, then close the database. Raises QresError when writing had failed."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        if self.error:
            raise QresError(
                f"the database {self.path} could not be written",
                f"{self.error}; rebuild it with `qres replay`",
            )

    def _run(self) -> None:
        database = sqlite3.connect(self.path, isolation_level=None)
        writer = _Writer(database)
        try:
            _configure(database)
            while not self._closing or self._batches:
                self._wake.wait(0 if self._closing else COMMIT_S)
                self._wake.clear()
                while self._batches:
                    self._commit(writer)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:  # whatever ends this thread must be heard: `close` raises it
            self.error = str(error) or type(error).__name__
            self.dropped += sum(len(batch) for batch in self._batches)
        finally:
            database.close()

    def _commit(self, writer: _Writer) -> None:
        """Write what waits, or the first part of it, in one transaction."""
        done = 0
        while self._batches and done < COMMIT_RECORDS:
            batch = self._batches.popleft()
            writer.add(batch)
            done += len(batch)
        writer.flush()
        self.written += done


class _Writer:
    """Turns records into rows, which `flush` writes in one transaction; keeps recent chunks in memory."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._open: OrderedDict[ChunkKey, dict[int, chunks.Row]] = OrderedDict()
        self._dirty: set[ChunkKey] = set()
        self._rolled: dict[RollKey, list[int]] = {}  # what the next flush adds to the rollups of single chunks
        self._rows: dict[str, list[tuple[object, ...]]] = {statement: [] for statement in _INSERT.values()}
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._points: dict[int, list[Checkpoint]] = {}
        self._macs: dict[int, bytes] = {}  # that are in the database

    def add(self, records: Sequence[Found]) -> None:
        """Take records; samples go to their chunk in memory, rows to their lists."""
        rows = self._rows
        for r in records:
            if isinstance(r, Packet):
                rows[_PACKET].append(_packet_row(r))
            elif isinstance(r, Telemetry):
                self._telemetry(r)
            elif isinstance(r, Samples):
                self._samples(r)
            elif isinstance(r, Coded):
                if r.point is not None:
                    self._points.setdefault(r.node, []).append(r.point)
            elif isinstance(r, Model):
                row: tuple[object, ...] = (r.epoch, r.hash.hex(), r.inputs, r.channels, r.order, r.packed)
                rows[_INSERT[Model]].append(row)
            elif isinstance(r, Update):
                row = (r.node, r.epoch, r.base.hex(), r.residual_q16, r.accuracy_q16, r.swarm_ms)
                rows[_INSERT[Update]].append(row)
            elif isinstance(r, Alert):
                rows[_INSERT[Alert]].append((r.node, r.swarm_ms, r.regime, r.entropy_q16, r.epoch))
            elif isinstance(r, Joined):
                rows[_BOARD].append((r.node, None, r.name, None, None, None))
            elif isinstance(r, Rejected):
                self._rejected[r.device, r.reason] += 1
            elif isinstance(r, Event):
                self._event(r)

    def flush(self) -> None:
        """Write what changed."""
        self._database.execute("BEGIN")
        for statement, rows in self._rows.items():
            if rows:
                self._database.executemany(statement, rows)
                rows.clear()
        upsert = "INSERT INTO rejected VALUES (?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
        self._database.executemany(upsert, [(*who, n) for who, n in self._rejected.items()])
        self._rejected.clear()
        packed = [(*key, len(self._open[key]), chunks.pack(self._open[key])) for key in sorted(self._dirty)]
        self._database.executemany("INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?)", packed)
        self._dirty.clear()
        self._database.executemany(_ROLLUP, self._rollups())
        self._rolled.clear()
        for node, points in self._points.items():
            self._write_points(node, points)
        self._points.clear()
        self._database.execute("COMMIT")
        while len(self._open) > OPEN_CHUNKS:
            self._open.popitem(last=False)

    def _samples(self, samples: Samples) -> None:
        steps, regime, at = samples.steps, samples.regime, 0
        while at < len(steps):
            bucket, offset = divmod(samples.first + at, chunks.SAMPLES)
            key = (samples.node, samples.period_ms, bucket)
            rows = self._open.get(key)
            if rows is None:
                rows = self._load(key)
            part = steps[at : at + chunks.SAMPLES - offset]
            width = len(next(iter(rows.values()))[1]) if rows else len(part[0])
            if len(part[0]) == width:  # else of another shape than what is there
                # What is known already (a database that is continued) stays.
                fresh = [(offset + i, values) for i, values in enumerate(part) if offset + i not in rows]
                rows.update((i, (regime, values)) for i, values in fresh)
                if fresh:
                    self._dirty.add(key)
                    self._roll_up(key, [values for _, values in fresh])
            at += len(part)

    def _load(self, key: ChunkKey) -> dict[int, chunks.Row]:
        if len(self._open) >= 2 * OPEN_CHUNKS:
            self.flush()
        found = self._database.execute("SELECT data FROM chunks WHERE node=? AND period_ms=? AND bucket=?", key)
        row = found.fetchone()
        rows = self._open[key] = chunks.unpack(row[0]) if row else {}
        return rows

    def _roll_up(self, key: ChunkKey, steps: Sequence[tuple[int | None, ...]]) -> None:
        """Add fresh samples of a chunk to what the next flush adds to its rollups."""
        for channel, column in enumerate(zip(*steps, strict=True)):
            present = [value for value in column if value is not None]
            if present:
                rolled = (len(present), sum(present), min(present), max(present))
                _merge(self._rolled, (*key, channel), rolled)

    def _rollups(self) -> list[tuple[int, ...]]:
        """Return the rows that the next flush adds, of all levels."""
        levels: dict[tuple[int, ...], list[int]] = {}
        for (node, period_ms, bucket, channel), rolled in self._rolled.items():
            for level in LEVELS:
                _merge(levels, (node, period_ms, level, bucket // level, channel), rolled)
        return [(*key, *rolled) for key, rolled in sorted(levels.items())]

    def _write_points(self, node: int, points: Sequence[Checkpoint]) -> None:
        """Keep the last checkpoints of a node: of many in one transaction only those that will stay."""
        last = sorted(points, key=lambda point: (-point.next_index, point.name))[:POINTS_MAX]
        rows = [(node, point.name.hex(), point.next_index, point.packed) for point in last]
        self._database.executemany("INSERT OR IGNORE INTO checkpoints VALUES (?,?,?,?)", rows)
        old = "SELECT name FROM checkpoints WHERE node=? ORDER BY next_index DESC, name LIMIT -1 OFFSET ?"
        for (name,) in self._database.execute(old, (node, POINTS_MAX)).fetchall():
            self._database.execute("DELETE FROM checkpoints WHERE node=? AND name=?", (node, name))

    def _telemetry(self, said: Telemetry) -> None:
        values = said.values  # in the order of the fields
        row = (said.node, said.session, said.counter, said.swarm_ms, *values.values())
        self._rows[_INSERT[Telemetry]].append(row)
        mac = values["mac"]
        if isinstance(mac, bytes) and self._macs.get(said.node) != mac:
            self._macs[said.node] = mac
            self._rows[_BOARD].append((said.node, mac.hex(":"), None, None, None, None))

    def _event(self, event: Event) -> None:
        row = (event.arrival_ms, event.n, event.device, event.kind, event.text)
        self._rows[_INSERT[Event]].append(row)
        board = board_of_hello(event)
        if board is not None:
            channels = json.dumps(board.channels, sort_keys=True)
            self._macs.pop(board.node, None)
            who = (board.node, board.mac, board.name, board.role, channels, board.period_ms)
            self._rows[_BOARD].append(who)


def _merge(rolled: dict[Any, list[int]], key: tuple[int, ...], more: Sequence[int]) -> None:
    """Add (number, total, least, greatest) to the entry of `key`."""
    held = rolled.get(key)
    if held is None:
        rolled[key] = list(more)
        return
    held[0] += more[0]
    held[1] += more[1]
    held[2] = min(held[2], more[2])
    held[3] = max(held[3], more[3])


def open_database(path: str | os.PathLike[str], started_ms: int = 0) -> sqlite3.Connection:
    """Open a database of ours, made when it is not there. Raises QresError when it is something else."""
    try:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA page_size = 8192")
        _configure(database)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        empty = not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if empty:
            database.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
            database.execute("INSERT INTO meta VALUES ('started_ms', ?)", (started_ms,))
    except sqlite3.Error as error:
        raise QresError(f"cannot open the database {path}", f"{error}; name another file") from error
    if not empty and version != SCHEMA_VERSION:
        database.close()
        raise QresError(f"{path} is not a database of this version", "rebuild it with `qres replay CAPTURE --db`")
    return database


def _configure(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    database.execute("PRAGMA busy_timeout = 5000")


def read_samples(
    database: sqlite3.Connection, node: int, period_ms: int, first: int, last: int
) -> list[tuple[int, int, tuple[int | None, ...]]]:
    """Return (index, regime, values) of the stored samples with first <= index < last, in order."""
    where = "node=? AND period_ms=? AND bucket BETWEEN ? AND ?"
    query = f"SELECT bucket, data FROM chunks WHERE {where} ORDER BY bucket"
    buckets = (node, period_ms, first // chunks.SAMPLES, (last - 1) // chunks.SAMPLES)
    found = []
    for bucket, blob in database.execute(query, buckets):
        for offset, (regime, values) in sorted(chunks.unpack(blob).items()):
            index = bucket * chunks.SAMPLES + offset
            if first <= index < last:
                found.append((index, regime, values))
    return found
