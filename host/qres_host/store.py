"""The database: decoded records in SQLite, written by one thread behind a bounded queue.

Everything in it follows from the captured bytes alone: no clock, no running number of the database, no
order of commits. So replaying a capture gives the same content, and after VACUUM the same file. Samples
lie in chunks of 64 (see `chunks`), with rollups of 64, 1,024 and 16,384 samples beside them, radio frames and the
telemetry in them in chunks of 16 (see `frames`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from binascii import crc_hqx
from collections.abc import Sequence
from pathlib import Path

from qres import telemetry

from qres_host import chunks, frames
from qres_host.batch import Batch
from qres_host.errors import QresError
from qres_host.records import Found, count
from qres_host.writer import Writer

SCHEMA_VERSION = 4 << 16 | crc_hqx(repr(telemetry.FIELDS).encode(), 0)  # other fields are another payload
QUEUE_RECORDS = 200_000
COMMIT_RECORDS = 20_000  # from which a transaction is begun before its time
COMMIT_S = 1.0  # between two transactions: each costs as much as hundreds of records, and so does waking the writer
_ROOM_S = 0.002  # between two looks for room in the queue
WAL_PAGES = 4096  # of 8 KB, written into the database at once: pages that change often go there only then

SCHEMA = f"""{frames.SCHEMA}
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE boards (
  node INTEGER PRIMARY KEY, mac TEXT, name TEXT, role TEXT, channels TEXT, period_ms INTEGER);
CREATE TABLE models (
  epoch INTEGER, hash TEXT, inputs INTEGER, channels INTEGER, lags INTEGER, packed BLOB,
  PRIMARY KEY (epoch, hash)) WITHOUT ROWID;
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


class Store:
    """A writer of decoded records to the database at `path`; `started_ms` is the capture's wall clock.

    `put` never blocks unless told to: when the disk is too slow and `queue_records` wait, records are dropped and
    counted in `dropped`. The capture has them, and `qres replay` brings them back.
    """

    def __init__(self, path: str | os.PathLike[str], started_ms: int = 0, queue_records: int = QUEUE_RECORDS) -> None:
        self.path = Path(path)
        self.dropped = self.written = 0
        self.error = ""
        self._macs: dict[int, int] = {}
        self._batch = Batch(self._macs)  # what comes next
        self._lock = threading.Lock()  # of the batch
        self._most = queue_records
        self._wake = threading.Event()
        self._closing = False
        open_database(self.path, started_ms).close()
        self._thread = threading.Thread(target=self._run, name="qres-store", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Found], wait: bool = False) -> None:
        """Queue records for writing. `wait` blocks for room instead of dropping (for replays)."""
        if not records:
            return
        fresh = count(records)
        while self.error or (self._batch.records and self._batch.records + fresh > self._most):
            self._wake.set()
            if not wait or not self._thread.is_alive():
                self.dropped += fresh
                return
            time.sleep(_ROOM_S)
        with self._lock:
            self._batch.add(records)
        if self._batch.records >= COMMIT_RECORDS:
            self._wake.set()

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
        writer, batch = Writer(database), self._batch
        try:
            _configure(database)
            while not self._closing or self._batch.records:
                self._wake.wait(0 if self._closing else COMMIT_S)
                self._wake.clear()
                with self._lock:
                    batch, self._batch = self._batch, Batch(self._macs)
                if batch.records:
                    writer.write(batch)
                self.written += batch.records
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:  # whatever ends this thread must be heard: `close` raises it
            self.error = str(error) or type(error).__name__
            with self._lock:
                self.dropped += batch.records + self._batch.records
        finally:
            database.close()


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
