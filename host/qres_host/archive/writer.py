"""Writing archives: a table or bytes into a new file, or behind what a file holds. Never half a file."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from qres_host.archive import block, general
from qres_host.archive.block import Summary, moments, summarise
from qres_host.archive.container import Appender, Container, begin
from qres_host.archive.loss import Limits
from qres_host.archive.loss import of as limits_of
from qres_host.archive.meta import BYTES, CSV, Meta, unique_names, unpack
from qres_host.archive.source import Source

EXPANSION_MAX = 64
"""Bytes that an archive of a file is at most longer than the file."""
_PIECE = {"fast": 1 << 22, "best": 1 << 24}  # bytes of a block of an input that is no table
_COPY = 1 << 20

Opener = Callable[[], BinaryIO]
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def write_table(file: BinaryIO, source: Source, level: str, limits: Limits | None = None) -> None:
    """Write a new archive of a table."""
    if limits is not None:
        limits.record(source.meta)
    head = begin(source.meta.pack())
    file.write(head)
    _add_table(Appender(file, len(head)), source, source.meta, level, limits)


def _add_table(out: Appender, source: Source, meta: Meta, level: str, limits: Limits | None) -> None:
    text = source.meta.origin == CSV
    for chunks, flags in source.read():
        rows = chunks[0].rows if chunks else 0
        if not rows:
            continue
        loss = None
        if limits is not None:
            chunks, loss = limits.apply(chunks, meta, text)
        time = moments(chunks[meta.time], text) if meta.time >= 0 else None
        summary = summarise(rows, time, flags)
        out.add(summary, block.encode(summary, chunks, level, meta.time, loss))
    out.finish()


def write_bytes(file: BinaryIO, opener: Opener, size: int, level: str) -> None:
    """Write a new archive of bytes that are no table, at most EXPANSION_MAX longer than they. `file` is seekable."""
    head = begin(Meta().pack())
    file.write(head)
    out = Appender(file, len(head))
    _add_bytes(out, opener, level)
    if out.offset > size + EXPANSION_MAX or (out.offset > size and size < _PIECE["fast"]):
        file.seek(len(head))
        file.truncate()
        out = Appender(file, len(head))
        with opener() as data:
            out.add_raw(_pieces(data, _COPY), size)
        out.finish()


def _add_bytes(out: Appender, opener: Opener, level: str) -> None:
    with opener() as data:
        for piece in _pieces(data, _PIECE[level]):
            summary = Summary(len(piece))
            out.add(summary, summary.pack() + general.pack(piece, level))
    out.finish()


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while piece := file.read(size):
        yield piece


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a temporary file beside `path` that takes its place when all went well, and vanishes otherwise."""
    # The name is known before the file is there: no moment at which an interrupt leaves it behind.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with _created(part, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _created(part: Path, path: Path) -> BinaryIO:
    """Return the new file `part`; an error names `path`, which is what the user knows."""
    try:
        return open(part, "x+b")
    except OSError as error:
        error.filename = str(path)
        raise


def append_table(path: Path, source: Source, level: str) -> int:
    """Add a table's rows to the archive at `path`; return how many bytes of a torn end were dropped.

    Raises CodecError for a damaged archive, ValueError when the columns are not the same, BlockingIOError when
    another process is appending.
    """

    def add(meta: Meta, out: Appender) -> None:
        check_same(meta, source.meta)
        _add_table(out, source, meta, level, limits_of(meta))

    return _append(path, add)


def append_bytes(path: Path, opener: Opener, level: str) -> int:
    """Add bytes to the archive at `path`, which must hold bytes; as `append_table`."""

    def add(meta: Meta, out: Appender) -> None:
        if meta.origin != BYTES:
            raise ValueError("the archive holds a table, the input is none")
        _add_bytes(out, opener, level)

    return _append(path, add)


class _Unbuffered(io.FileIO):
    """A file whose writes are whole. What a full disk refused waits in no buffer to be written after all."""

    def write(self, data: Buffer) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        return len(memoryview(data))


def _append(path: Path, add: Callable[[Meta, Appender], None]) -> int:
    with _Unbuffered(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = Container(file)
        end, torn = found.end, found.size - found.end
        file.seek(end)
        try:
            # What is torn was never visible; it goes, so that nothing is ever written behind damage.
            file.truncate()
            add(unpack(found.meta), Appender(file, end, found))
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.ftruncate(file.fileno(), end)
            raise
    return torn


def check_same(meta: Meta, other: Meta) -> None:
    """Raise ValueError unless a table described by `other` may continue one described by `meta`."""
    if meta.origin == BYTES:
        raise ValueError("the archive holds bytes, the input is a table")
    if len(meta.columns) != len(other.columns):
        raise ValueError(f"the archive has {len(meta.columns)} columns, the input {len(other.columns)}")
    headless = other.origin == CSV and not any(column.name for column in other.columns)
    for name, mine, theirs in zip(unique_names(meta.columns), meta.columns, other.columns):
        if mine.name.rstrip("\r") != theirs.name.rstrip("\r") and not headless:
            raise ValueError(f"the archive has a column {name!r} where the input has {theirs.name!r}")
        if mine.kind != theirs.kind:
            raise ValueError(
                f"column {name!r} is {mine.kind or 'text'} in the archive, {theirs.kind or 'text'} in the input"
            )


__all__ = ["append_bytes", "append_table", "check_same", "replacing", "write_bytes", "write_table"]
