"""Batches into the database, each in one transaction; chunks of samples that may still change are kept in memory."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from qres.codec import Checkpoint

from qres_host import chunks
from qres_host.batch import Batch
from qres_host.frames import FrameTable
from qres_host.records import Samples
from qres_host.sender import POINTS_MAX

OPEN_CHUNKS = 1024  # chunks of samples kept in memory between transactions, written or not
LEVELS = (1, 16, 256)  # chunks per rollup bucket

_ROLLUP = """INSERT INTO rollups VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n,
  total = total + excluded.total, low = min(low, excluded.low), high = max(high, excluded.high)"""
_REJECTED = "INSERT INTO rejected VALUES (?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n"

ChunkKey = tuple[int, int, int]  # node, period_ms, bucket
RollKey = tuple[int, int, int, int]  # and channel


class Writer:
    """Writes batches to a database that is open in the thread that calls it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """`database`: without transactions of its own (isolation_level None)."""
        self._database = database
        self._frames = FrameTable(database)
        self._open: OrderedDict[ChunkKey, dict[int, chunks.Row]] = OrderedDict()
        self._dirty: set[ChunkKey] = set()
        self._rolled: dict[RollKey, list[int]] = {}  # what fresh samples add to the rollups of single chunks

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction. Raises sqlite3.Error when the database cannot be written."""
        frames = batch.frames()
        self._database.execute("BEGIN IMMEDIATE")  # it reads before it writes: another writer is waited for, here
        self._frames.write(frames)
        for statement, rows in batch.rows.items():
            self._database.executemany(statement, rows)
        self._database.executemany(_REJECTED, [(*who, n) for who, n in batch.rejected.items()])
        for samples in batch.samples:
            self._samples(samples)
        self._write_chunks()
        for node, points in batch.points.items():
            self._write_points(node, points)
        self._database.execute("COMMIT")

    def _write_chunks(self) -> None:
        """Write the chunks that changed and what that adds to the rollups; the oldest leave the memory."""
        packed = [(*key, len(self._open[key]), chunks.pack(self._open[key])) for key in sorted(self._dirty)]
        self._database.executemany("INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?)", packed)
        self._dirty.clear()
        self._database.executemany(_ROLLUP, self._rollups())
        self._rolled.clear()
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
            self._write_chunks()
        found = self._database.execute("SELECT data FROM chunks WHERE node=? AND period_ms=? AND bucket=?", key)
        row = found.fetchone()
        rows = self._open[key] = chunks.unpack(row[0]) if row else {}
        return rows

    def _roll_up(self, key: ChunkKey, steps: Sequence[tuple[int | None, ...]]) -> None:
        """Add fresh samples of a chunk to what `_write_chunks` adds to its rollups."""
        for channel, column in enumerate(zip(*steps, strict=True)):
            present = [value for value in column if value is not None]
            if present:
                rolled = (len(present), sum(present), min(present), max(present))
                _merge(self._rolled, (*key, channel), rolled)

    def _rollups(self) -> list[tuple[int, ...]]:
        """Return the rows that the changed samples add, of all levels."""
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
