"""Text tables: csv, tsv and their cousins, read in blocks of bounded memory and written back byte for byte.

Cells are kept as they stand, quotes included. A table whose rows have different numbers of cells is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive import fit
from qres_host.archive.block import OPEN_END
from qres_host.archive.chunk import SEPARATOR, Chunk
from qres_host.archive.clock import templates
from qres_host.archive.glyphs import Cells, lines
from qres_host.archive.meta import CSV, Column, Meta, NotThisFormat, unique_names
from qres_host.archive.source import Batch, Source, block_rows, is_time_name

Array = npt.NDArray[Any]

CRLF, BOM, HEADLESS, OPEN_HEADER = 1, 2, 4, 8
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = b",;\t|"
_PIECE = 1 << 20
_BLOCK_BYTES = 1 << 24  # of text in one block: more would not be bounded memory
_SLICE_BYTES = 1 << 23  # of the matrix that rows are written from
_QUOTE, _NEWLINE = 34, 10


class Layout(NamedTuple):
    """What a text table looks like: the delimiter (a byte), and CRLF, BOM, HEADLESS, OPEN_HEADER as flags."""

    delimiter: int
    flags: int

    def pack(self) -> bytes:
        """Return the layout as the details of the metadata."""
        return bytes((self.delimiter, self.flags))


def layout_of(details: bytes) -> Layout:
    """Return the layout in `details`; a plain one with commas for a table that never was text."""
    if not details:
        return Layout(44, 0)
    if len(details) != 2 or details[1] & ~(CRLF | BOM | HEADLESS | OPEN_HEADER):
        raise CodecError("unknown layout of a text table: a newer QRES wrote this")
    return Layout(*details)


def source(opener: Callable[[], BinaryIO], size: int, level: str) -> Source:
    """Return the table in the file that `opener` opens. Raises NotThisFormat when it is no text table."""
    with opener() as file:
        head = file.read(_PIECE)
        while b"\n" not in head and len(head) < _BLOCK_BYTES and (more := file.read(_PIECE)):
            head += more
    layout, names, first = _sniff(head)
    if layout.flags & CRLF and not _all_crlf(opener):
        # Some lines end otherwise: then each carriage return is part of its last cell.
        names[-1] += "" if layout.flags & HEADLESS else "\r"
        layout = Layout(layout.delimiter, layout.flags & ~CRLF)
    columns = [Column(name) for name in names]
    named = [i for i, name in enumerate(names) if is_time_name(name)]
    time = 0 if first and templates(first[0]) else min(named, default=-1)
    meta = Meta(CSV, columns, time, details=layout.pack())
    rows = block_rows(len(columns), level)

    def read() -> Iterator[Batch]:
        with opener() as file:
            yield from _batches(file, layout, len(columns), rows)

    return Source(meta, read, size)


def _all_crlf(opener: Callable[[], BinaryIO]) -> bool:
    with opener() as file:
        last = b""
        while piece := file.read(_PIECE):
            piece = last + piece
            last = piece[-1:] if piece.endswith(b"\r") else b""
            if piece.count(b"\n") != piece.count(b"\r\n"):
                return False
    return True


def _sniff(head: bytes) -> tuple[Layout, list[str], list[bytes]]:
    """Return the layout, the names of the columns (empty without a header), and the cells of the first row of data."""
    flags = BOM if head.startswith(_BOM) else 0
    text = head[3:] if flags else head
    if not text:
        raise NotThisFormat("it is empty")
    sample = text.split(b"\n")[:20]
    if len(sample) > 1:
        flags |= CRLF * sample[0].endswith(b"\r")
        sample = sample[: max(len(sample) - (len(sample) < 20 or not sample[-1]), 1)]
    elif len(text) >= _BLOCK_BYTES:
        raise NotThisFormat("line 1 is longer than 16 MB")
    else:
        flags |= OPEN_HEADER
    delimiter = max(_DELIMITERS, key=lambda mark: _score(sample, mark))
    rows = [_split(line.removesuffix(b"\r") if flags & CRLF else line, delimiter) for line in sample[:2]]
    try:
        names = [cell.decode() for cell in rows[0]]
    except UnicodeDecodeError:
        raise NotThisFormat("line 1 is not UTF-8") from None
    pairs = zip(rows[0], rows[1] if len(rows) > 1 else rows[0])
    names_values = any(a and not is_value(a) and is_value(b) for a, b in pairs)
    if not any(names) or (any(map(is_value, rows[0])) and not names_values):
        # The first line is data already.
        layout = Layout(delimiter, flags & ~OPEN_HEADER | HEADLESS)
        return layout, [""] * len(names), rows[0]
    return Layout(delimiter, flags), names, rows[1] if len(rows) > 1 else []


def _score(sample: list[bytes], mark: int) -> tuple[bool, int]:
    """Return how well a delimiter explains some lines: the same number in each first, then how many."""
    counts = [len(_split(line, mark)) - 1 for line in sample]
    return min(counts) > 0 and len(set(counts)) == 1, min(counts)


def _split(line: bytes, delimiter: int) -> list[bytes]:
    parts = line.split(bytes((delimiter,)))
    if b'"' not in line:
        return parts
    joined: list[bytes] = []
    for part in parts:
        if joined and joined[-1].count(b'"') & 1:
            joined[-1] += bytes((delimiter,)) + part
        else:
            joined.append(part)
    return joined


def is_value(cell: bytes) -> bool:
    """Return whether a cell is a number or a time."""
    try:
        float(cell.replace(b",", b"."))
        return True
    except ValueError:
        return bool(templates(cell))


def _batches(file: BinaryIO, layout: Layout, columns: int, rows_max: int) -> Iterator[Batch]:
    """Yield the blocks of an open file."""
    crlf = bool(layout.flags & CRLF)
    text, line = _after_header(file, layout)
    ended = False
    while not ended:
        text, ended = _fill(file, text, rows_max)
        flags = OPEN_END if ended and text and not text.endswith(b"\n") else 0
        if flags:
            text += b"\r\n" if crlf else b"\n"
        at = 0
        while at < len(text):
            table, used = _cut(text, at, layout.delimiter, columns, rows_max, line, crlf)
            if not table or not (ended or len(table[0].start) == rows_max or len(text) >= _BLOCK_BYTES):
                break
            at += used
            yield [fit.from_cells(cells) for cells in table], flags if at == len(text) else 0
            line += len(table[0].start)
        text = text[at:]
        if text and (ended or len(text) >= _BLOCK_BYTES):
            raise NotThisFormat(f"line {line} has a quote without an end, or is longer than 16 MB")


def _after_header(file: BinaryIO, layout: Layout) -> tuple[bytes, int]:
    """Return what was read of the rows, and the number of their first line."""
    if layout.flags & BOM:
        file.read(len(_BOM))
    if layout.flags & HEADLESS:
        return b"", 1
    text = b""
    while b"\n" not in text and (more := file.read(_PIECE)):
        text += more
    return text.partition(b"\n")[2], 2


def _fill(file: BinaryIO, text: bytes, rows_max: int) -> tuple[bytes, bool]:
    """Return `text` with more behind it, enough for a block, and whether the file has ended."""
    parts, size, newlines = [text], len(text), text.count(b"\n")
    while newlines < rows_max and size < _BLOCK_BYTES:
        piece = file.read(_PIECE)
        if not piece:
            return b"".join(parts), True
        parts.append(piece)
        size += len(piece)
        newlines += piece.count(b"\n")
    return b"".join(parts), False


def _cut(
    text: bytes, at: int, delimiter: int, columns: int, rows_max: int, line: int, crlf: bool
) -> tuple[list[Cells] | None, int]:
    """Return the cells of up to `rows_max` whole rows of text[at:], a list a column, and how many bytes they take."""
    buffer = np.frombuffer(text, np.uint8)[at:]
    marks = (buffer == delimiter) | (buffer == _NEWLINE)
    if b'"' in text:
        marks &= (np.cumsum(buffer == _QUOTE) & 1) == 0
    ends = np.flatnonzero(marks)
    rows = min(len(ends) // columns, rows_max)
    newline = buffer[ends] == _NEWLINE
    shape = newline[: rows * columns].reshape(rows, columns)
    ragged = np.flatnonzero(~shape[:, -1] | shape[:, :-1].any(axis=1))
    if not len(ragged) and rows < rows_max and newline[rows * columns :].any():
        ragged = np.array([rows])
    if len(ragged):
        first = int(ragged[0])
        found = int(newline[first * columns :].argmax()) + 1
        raise NotThisFormat(f"line {line + first} has {found} cells, the first line {columns}")
    if not rows:
        return None, 0
    ends = ends[: rows * columns]
    used = int(ends[-1]) + 1
    if (buffer[:used] == SEPARATOR).any():
        raise NotThisFormat(f"lines {line} to {line + rows - 1} are not UTF-8")
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)).reshape(rows, columns)
    lengths = ends.reshape(rows, columns) - starts
    if crlf:
        lengths[:, -1] -= 1
    return [Cells(buffer[:used], starts[:, i].copy(), lengths[:, i].copy()) for i in range(columns)], used


def header(meta: Meta, empty: bool, picked: list[int] | None = None) -> bytes:
    """Return what stands before the first row, for all columns or some; `empty`: there is no row."""
    layout = layout_of(meta.details if meta.origin == CSV else b"")
    out = _BOM if layout.flags & BOM else b""
    if layout.flags & HEADLESS or not meta.columns:
        return out
    own = meta.origin == CSV
    names = [column.name for column in meta.columns] if own else list(map(quoted, unique_names(meta.columns)))
    end = b"" if empty and layout.flags & OPEN_HEADER else line_end(layout)
    chosen = names if picked is None else [names[i] for i in picked]
    return out + bytes((layout.delimiter,)).join(name.encode() for name in chosen) + end


def quoted(text: str) -> str:
    """Return a text as a cell between commas."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def line_end(layout: Layout) -> bytes:
    """Return what closes a line."""
    return b"\r\n" if layout.flags & CRLF else b"\n"


def rows_text(chunks: list[Chunk], layout: Layout) -> Iterator[bytes]:
    """Yield the rows of a block as text, each with its line end, some at a time so that the matrix stays small."""
    width = sum(chunk.text_width() + 2 for chunk in chunks)
    step = max(_SLICE_BYTES // max(width, 1), 1)
    for first in range(0, chunks[0].rows, step):
        part = [chunk.part(first, first + step).glyphs() for chunk in chunks]
        yield lines(part, bytes((layout.delimiter,)), line_end(layout))
