"""The database: decoded records in SQLite, written by one thread behind a bounded queue.

Everything in it follows from the captured bytes alone: no clock, no running number of the database, no
order of commits. So replaying a capture gives the same content, and after VACUUM the same file. Samples
lie in chunks of 64 (see `chunks`), with rollups of 64, 1,024 and 16,384 samples beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

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

SCHEMA_VERSION = 2
QUEUE_BATCHES = 4096
OPEN_CHUNKS = 1024  # chunks kept in memory between commits, written or not
COMMIT_RECORDS = 5000
LEVELS = (1, 16, 256)  # chunks per rollup bucket

SCHEMA = """
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
  node INTEGER, session INTEGER, counter INTEGER, swarm_ms INTEGER, "values" TEXT,
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

ChunkKey = tuple[int, int, int]  # node, period_ms, bucket


class Store:
    """A writer of decoded records to the database at `path`; `started_ms` is the capture's wall clock.

    `put` never blocks unless told to: when the disk is too slow, batches are dropped and counted in
    `dropped` (records). The capture has them, and `qres replay` brings them back.
    """

    def __init__(self, path: str | os.PathLike[str], started_ms: int = 0, queue_batches: int = QUEUE_BATCHES) -> None:
        self.path = Path(path)
        self.dropped = self.written = 0
        self.error = ""
        self._queue: queue.Queue[Sequence[Found] | None] = queue.Queue(queue_batches)
        open_database(self.path, started_ms).close()
        self._thread = threading.Thread(target=self._run, name="qres-store", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Found], wait: bool = False) -> None:
        """Queue records for writing. `wait` blocks for room instead of dropping (for replays)."""
        if not records:
            return
        try:
            self._queue.put(records, block=wait and self._thread.is_alive())
        except queue.Full:
            self.dropped += len(records)

    def points(self) -> list[tuple[int, bytes]]:
        """Return the last checkpoints of all nodes, (node, packed), oldest first."""
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return list(database.execute("SELECT node, packed FROM checkpoints ORDER BY node, next_index, name"))

    def close(self) -> None:
        """Write what is queued, then close the database. Raises QresError when writing had failed."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
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
            running = True
            while running:
                batch = self._queue.get()
                database.execute("BEGIN")
                done = 0
                while batch is not None and done < COMMIT_RECORDS:
                    writer.add(batch)
                    done += len(batch)
                    if self._queue.empty():
                        break
                    batch = self._queue.get()
                running = batch is not None
                writer.flush()
                database.execute("COMMIT")
                self.written += done
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:  # whatever ends this thread must be heard: `close` raises it
            self.error = str(error) or type(error).__name__
            self._drain()
        finally:
            database.close()

    def _drain(self) -> None:
        """After a failure: count what can no longer be written, until `close` says stop."""
        while (batch := self._queue.get()) is not None:
            self.dropped += len(batch)


class _Writer:
    """Turns records into rows within the open transaction; keeps recent chunks in memory."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._open: OrderedDict[ChunkKey, dict[int, chunks.Row]] = OrderedDict()
        self._dirty: set[ChunkKey] = set()
        self._rolled: dict[tuple[int, ...], list[int]] = {}  # what the next flush adds to the rollups

    def add(self, records: Sequence[Found]) -> None:
        """Insert records; samples go to their chunk in memory, which `flush` writes."""
        execute = self._database.execute
        row: tuple[object, ...]
        for r in records:
            if isinstance(r, Samples):
                self._samples(r)
            elif isinstance(r, Packet):
                row = (
                    r.node,
                    r.session,
                    r.counter,
                    r.kind,
                    r.arrival_ms,
                    r.swarm_ms,
                    r.device,
                    r.rssi_dbm,
                    r.size,
                )
                execute("INSERT OR IGNORE INTO packets VALUES (?,?,?,?,?,?,?,?,?)", row)
            elif isinstance(r, Telemetry):
                self._telemetry(r)
            elif isinstance(r, Model):
                row = (r.epoch, r.hash.hex(), r.inputs, r.channels, r.order, r.packed)
                execute("INSERT OR IGNORE INTO models VALUES (?,?,?,?,?,?)", row)
            elif isinstance(r, Update):
                row = (r.node, r.epoch, r.base.hex(), r.residual_q16, r.accuracy_q16, r.swarm_ms)
                execute("INSERT OR IGNORE INTO updates VALUES (?,?,?,?,?,?)", row)
            elif isinstance(r, Alert):
                row = (r.node, r.swarm_ms, r.regime, r.entropy_q16, r.epoch)
                execute("INSERT OR IGNORE INTO alerts VALUES (?,?,?,?,?)", row)
            elif isinstance(r, Coded):
                if r.point is not None:
                    self._point(r.node, r.point)
            elif isinstance(r, Joined):
                execute(_BOARD, (r.node, None, r.name, None, None, None))
            elif isinstance(r, Rejected):
                upsert = "INSERT INTO rejected VALUES (?,?,1) ON CONFLICT DO UPDATE SET n = n + 1"
                execute(upsert, (r.device, r.reason))
            elif isinstance(r, Event):
                self._event(r)

    def flush(self) -> None:
        """Write the chunks that changed."""
        rows = [(*key, len(self._open[key]), chunks.pack(self._open[key])) for key in sorted(self._dirty)]
        self._database.executemany("INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?)", rows)
        self._dirty.clear()
        self._database.executemany(_ROLLUP, [(*key, *rolled) for key, rolled in sorted(self._rolled.items())])
        self._rolled.clear()
        while len(self._open) > OPEN_CHUNKS:
            self._open.popitem(last=False)

    def _samples(self, samples: Samples) -> None:
        for i, values in enumerate(samples.steps):
            bucket, offset = divmod(samples.first + i, chunks.SAMPLES)
            key = (samples.node, samples.period_ms, bucket)
            rows = self._open.get(key)
            if rows is None:
                rows = self._load(key)
            if offset in rows or (rows and len(next(iter(rows.values()))[1]) != len(values)):
                continue  # known already (a database that is continued), or of another shape
            rows[offset] = (samples.regime, values)
            self._dirty.add(key)
            self._roll_up(key, values)

    def _load(self, key: ChunkKey) -> dict[int, chunks.Row]:
        if len(self._open) >= 2 * OPEN_CHUNKS:
            self.flush()
        found = self._database.execute("SELECT data FROM chunks WHERE node=? AND period_ms=? AND bucket=?", key)
        row = found.fetchone()
        rows = self._open[key] = chunks.unpack(row[0]) if row else {}
        return rows

    def _roll_up(self, key: ChunkKey, values: tuple[int | None, ...]) -> None:
        node, period_ms, bucket = key
        for channel, value in enumerate(values):
            if value is None:
                continue
            for level in LEVELS:
                rolled = self._rolled.setdefault(
                    (node, period_ms, level, bucket // level, channel), [0, 0, value, value]
                )
                rolled[0] += 1
                rolled[1] += value
                rolled[2] = min(rolled[2], value)
                rolled[3] = max(rolled[3], value)

    def _point(self, node: int, point: Checkpoint) -> None:
        row = (node, point.name.hex(), point.next_index, point.packed)
        self._database.execute("INSERT OR IGNORE INTO checkpoints VALUES (?,?,?,?)", row)
        old = "SELECT name FROM checkpoints WHERE node=? ORDER BY next_index DESC, name LIMIT -1 OFFSET ?"
        for (name,) in self._database.execute(old, (node, POINTS_MAX)).fetchall():
            self._database.execute("DELETE FROM checkpoints WHERE node=? AND name=?", (node, name))

    def _telemetry(self, said: Telemetry) -> None:
        values = {name: v.hex() if isinstance(v, bytes) else v for name, v in said.values.items()}
        row = (said.node, said.session, said.counter, said.swarm_ms, json.dumps(values, sort_keys=True))
        self._database.execute("INSERT OR IGNORE INTO telemetry VALUES (?,?,?,?,?)", row)
        mac = said.values.get("mac")
        if isinstance(mac, bytes):
            self._database.execute(_BOARD, (said.node, mac.hex(":"), None, None, None, None))

    def _event(self, event: Event) -> None:
        row = (event.arrival_ms, event.n, event.device, event.kind, event.text)
        self._database.execute("INSERT OR IGNORE INTO events VALUES (?,?,?,?,?)", row)
        board = board_of_hello(event)
        if board is not None:
            channels = json.dumps(board.channels, sort_keys=True)
            who = (board.node, board.mac, board.name, board.role, channels, board.period_ms)
            self._database.execute(_BOARD, who)


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
