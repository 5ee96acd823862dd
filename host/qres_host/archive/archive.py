"""An archive open for reading: its columns, any part of its rows by time or number, and whether it is whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive import arrays, block, general, meta
from qres_host.archive.block import STORED, TIMED, UNORDERED, moments
from qres_host.archive.chunk import CLOCK, TEXT, Chunk
from qres_host.archive.clock import Clock, parse_moment
from qres_host.archive.container import Container, Entry
from qres_host.archive.fields import Fields
from qres_host.archive.meta import BYTES, CSV, Column

Array = npt.NDArray[Any]
_A_SECOND = {"D": 1 / 86400, "h": 1 / 3600, "m": 1 / 60, "s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
Moment = float | str | np.datetime64 | None


class Archive:
    """An archive. Use as a context manager; iterating gives the blocks as `blocks()` does.

    `columns` (names are unique; empty for bytes), `rows` (bytes, when it holds bytes), `origin` (`csv`, `bytes`, ...),
    `complete` (False: the end was cut off), `lost` (bytes that belong to no valid record).
    """

    def __init__(self, file: BinaryIO) -> None:
        """`file` is seekable and becomes the archive's. Raises CodecError for what is no archive."""
        self._file = file
        self.container = Container(file)
        self.meta = meta.unpack(self.container.meta)
        self.origin = meta.ORIGINS[self.meta.origin]
        names = meta.unique_names(self.meta.columns)
        self.columns = [Column(n.rstrip("\r"), c.shown_unit(), c.kind) for n, c in zip(names, self.meta.columns)]
        self.rows = sum(entry.summary.rows for entry in self.container.entries)
        self.complete, self.lost = self.container.complete, self.container.lost

    def __enter__(self) -> Archive:
        """Return the archive."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Return an iterator over all blocks."""
        return self.blocks()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def time(self) -> Column | None:
        """The column that `start` and `end` are about, None when there is none."""
        return self.columns[self.meta.time] if self.meta.time >= 0 else None

    @property
    def ordered(self) -> bool:
        """Whether the time column has no gaps and never steps back; between blocks, by less than two units."""
        entries = [entry.summary for entry in self.container.entries]
        if any(not s.flags & TIMED or s.flags & UNORDERED for s in entries):
            return False
        return all(a.high <= b.low + 1 for a, b in pairwise(entries))

    def read(
        self, start: Moment = None, end: Moment = None, columns: Sequence[str] | None = None, rows: slice | None = None
    ) -> dict[str, Array]:
        """Return columns by name, cut to the rows whose time is at least `start` and before `end`.

        `start` and `end` are numbers in the time column's unit, or datetime64 or ISO 8601 text when it holds dates;
        without a time column they are refused. `rows` cuts by row number first (no step). Only blocks that can hold
        such rows are decoded. Raises ValueError for an unknown column or time, CodecError for damage.
        """
        parts = list(self.blocks(start, end, columns, rows))
        if not parts:
            return {self.columns[i].name: np.zeros(0, self.columns[i].kind or "f8") for i in self.pick(columns)}
        return {name: _join([part[name] for part in parts]) for name in parts[0]}

    def blocks(
        self, start: Moment = None, end: Moment = None, columns: Sequence[str] | None = None, rows: slice | None = None
    ) -> Iterator[dict[str, Array]]:
        """Yield what `read` returns block by block, in bounded memory. Blocks without such rows are left out."""
        picked = self.pick(columns)
        for _, chunks in self.chunks(start, end, rows):
            quotes = self.meta.origin == CSV
            yield {self.columns[i].name: arrays.values(chunks[i], self.columns[i].kind, quotes) for i in picked}

    def pick(self, columns: Sequence[str] | None) -> list[int]:
        """Return the indices of columns by name, of all for None; ValueError for an unknown one."""
        if isinstance(columns, str):
            raise ValueError(f"columns are a list of names: [{columns!r}]")
        names = [column.name for column in self.columns]
        unknown = [name for name in columns or () if name not in names]
        if unknown:
            raise ValueError(f"no column {unknown[0]!r}, there are {', '.join(names[:20])}")
        return list(range(len(names))) if columns is None else [names.index(name) for name in columns]

    def chunks(
        self, start: Moment = None, end: Moment = None, rows: slice | None = None
    ) -> Iterator[tuple[Entry, list[Chunk]]]:
        """Yield blocks with the rows that `read` would return, as they are stored."""
        if self.meta.origin == BYTES:
            raise ValueError("the archive holds bytes, not a table")
        if self.meta.time < 0 and (start is not None or end is not None):
            raise ValueError("the archive has no time column, none is named like one")
        first, stop, _ = (rows or slice(None)).indices(self.rows)
        at = 0
        for entry in self.container.entries:
            count = entry.summary.rows
            a, b, at = max(first - at, 0), min(stop - at, count), at + count
            if a >= b or not self._may_hold(entry, start, end):
                continue
            summary, chunks = block.decode(self.container.payload(entry), len(self.columns))
            if summary.rows != count:
                raise CodecError("a block with other rows than the index says")
            chunks = [chunk.part(a, b) for chunk in chunks]
            if start is not None or end is not None:
                chunks = self._within(chunks, start, end)
            if chunks and chunks[0].rows:
                yield entry, chunks

    def _within(self, chunks: list[Chunk], start: Moment, end: Moment) -> list[Chunk]:
        time = chunks[self.meta.time]
        if time.form == TEXT:
            raise ValueError("the time column has cells that are no times")
        offset = Clock(time.template).offset() if time.form == CLOCK else None
        when = moments(time, self.meta.origin == CSV)
        keep = np.isfinite(when)
        if start is not None:
            keep &= when >= self._number(start, offset)
        if end is not None:
            keep &= when < self._number(end, offset)
        if keep.all():
            return chunks
        wanted = np.flatnonzero(keep)
        return [chunk.pick(wanted) for chunk in chunks]

    def _may_hold(self, entry: Entry, start: Moment, end: Moment) -> bool:
        """Return whether a block may have rows between two moments; zones shift the bounds by less than a day."""
        if (start is None and end is None) or not entry.summary.flags & TIMED:
            return True
        day = 86400 * self._seconds_unit()
        low = self._number(start, None) - (0 if isinstance(start, (int, float)) else day)
        high = self._number(end, None) + (0 if isinstance(end, (int, float)) else day)
        return not (entry.summary.high < low or entry.summary.low >= high)

    def _seconds_unit(self) -> float:
        """Return how many units of the time column's numbers a second has: those of datetime64 have their own."""
        kind = np.dtype(self.columns[self.meta.time].kind or "f8")
        if kind.kind != "M":
            return 1.0
        unit, count = np.datetime_data(kind)[:2]
        if unit not in _A_SECOND:
            raise ValueError(f"the time column counts in {unit}: ask in its own numbers")
        return _A_SECOND[unit] / count

    def _number(self, moment: Moment, offset: int | None) -> float:
        """Return a moment as the time column counts it, NaN for none; `offset` is the zone of its clock in seconds."""
        if moment is None:
            return math.nan
        if isinstance(moment, np.datetime64):
            moment = str(np.datetime_as_string(moment, "ns"))
        if not isinstance(moment, str):
            return float(moment)
        try:
            return float(moment)
        except ValueError:
            return parse_moment(moment, offset) * self._seconds_unit()

    def raw(self) -> Iterator[bytes]:
        """Yield the bytes of an archive that holds bytes; CodecError for damage, ValueError for a table."""
        if self.meta.origin != BYTES:
            raise ValueError("the archive holds a table, not bytes")
        for entry in self.container.entries:
            if entry.summary.flags & STORED:
                yield from self.container.raw_pieces(entry)
                continue
            fields = Fields(self.container.payload(entry))
            block.read_summary(fields)
            data = general.unpack(fields)
            fields.end()
            if len(data) != entry.summary.rows:
                raise CodecError("a block with other bytes than the index says")
            yield data

    def verify(self) -> Iterator[int]:
        """Decode everything; yield the rows (or bytes) of each block. Raises CodecError at the first damage."""
        if self.meta.origin == BYTES:
            yield from map(len, self.raw())
            return
        for entry, chunks in self.chunks():
            for chunk, column in zip(chunks, self.columns):
                arrays.values(chunk, column.kind)
            yield entry.summary.rows


def _join(parts: list[Array]) -> Array:
    """Return arrays one behind the other, masked when one of them is."""
    if len({part.dtype.kind for part in parts} & {"O", "M"}) and len({part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(object) for part in parts]
    masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
    if len(parts) == 1:
        return parts[0]
    return np.ma.concatenate(parts) if masked else np.concatenate(parts)  # type: ignore[no-untyped-call]
