"""What `qres compress` is given: a file or a pipe, and which importer reads it."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from qres_host.archive import arrays, csvtext, parquet, sound
from qres_host.archive.meta import NotThisFormat
from qres_host.archive.source import Source
from qres_host.errors import USAGE, QresError

FORMATS = ("csv", "npy", "npz", "parquet", "wav", "bytes")
_IMPORTERS: dict[str, Callable[[Callable[[], BinaryIO], int, str], Source]] = {
    "csv": csvtext.source,
    "npy": arrays.source_npy,
    "npz": arrays.source_npz,
    "parquet": parquet.source,
    "wav": sound.source,
}
_SUFFIXES = {".tsv": "csv", ".tab": "csv", **{f".{name}": name for name in _IMPORTERS}}
_MAGICS = {b"\x93NUMPY": "npy", b"RIFF": "wav", b"PAR1": "parquet"}

Watch = Callable[[int], None]


class Input(NamedTuple):
    """A file that can be read several times: what people call it, its path and its size in bytes."""

    name: str
    path: Path
    size: int

    def opener(self, watch: Watch | None = None) -> Callable[[], BinaryIO]:
        """Return a function that opens the file anew; `watch` is told how far reading has come, in bytes."""

        def opened() -> BinaryIO:
            return _Watched(self.path, watch) if watch else open(self.path, "rb")

        return opened


class _Watched(io.FileIO):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path)
        self._watch = watch

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self._watch(self.tell())
        return data or b""


@contextlib.contextmanager
def taken(path: str) -> Iterator[Input]:
    """Give the input at `path`, `-` for standard input; a pipe is kept in a temporary file. Raises QresError."""
    found = Path(path)
    if found.is_dir():
        raise QresError(f"{path} is a folder", "name a file", USAGE)
    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if path == "-" else stack.enter_context(open(found, "rb"))
            if path == "-" or not found.is_file():
                kept = stack.enter_context(tempfile.NamedTemporaryFile(prefix="qres-"))
                shutil.copyfileobj(file, kept)
                kept.flush()
                given = Input("standard input" if path == "-" else path, Path(kept.name), kept.tell())
            else:
                given = Input(path, found, file.seek(0, io.SEEK_END))
        except OSError as error:
            raise QresError(f"cannot read {path}", error.strerror or str(error)) from error
        yield given


def promised(given: Input, wanted: str | None) -> tuple[str, bool]:
    """Return which format to read an input as, and whether somebody promised it: an option or the file's name."""
    if wanted:
        return wanted, True
    by_name = _SUFFIXES.get(Path(given.name).suffix.lower())
    if by_name:
        return by_name, given.size > 0
    with open(given.path, "rb") as file:
        head = file.read(8)
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return name, False
    return "csv", False


def table(given: Input, wanted: str | None, level: str, watch: Watch | None = None) -> Source | None:
    """Return the table in an input, None when it holds bytes. Raises QresError when it breaks a promise."""
    name, sure = promised(given, wanted)
    if name == "bytes":
        return None
    try:
        source = _IMPORTERS[name](given.opener(watch), given.size, level)
    except NotThisFormat as error:
        if sure and (wanted or name == "csv"):
            raise broken(given, name, error) from error
        if sure:
            # A sound file of a coding that is not ours is still a good file.
            print(f"qres: {given.name} is kept as bytes: {error}", file=sys.stderr)
        return None
    except QresError:
        if sure:
            raise
        return None
    return source if sure or name != "csv" or _looks_like_numbers(given, source) else None


def broken(given: Input, name: str, error: NotThisFormat) -> QresError:
    """Return the error that tells why an input is not the format that was promised."""
    return QresError(f"{given.name} is no {name} table: {error}", "correct it, or store it as it is with `--as bytes`")


def _looks_like_numbers(given: Input, source: Source) -> bool:
    """Return whether text that nobody called a table is one: every row fits, and a row has a number or a time."""
    with open(given.path, "rb") as file:
        lines = file.read(1 << 16).split(b"\n")[:3]
    cells = [cell for line in lines[-2:] for cell in line.split(csvtext.layout_of(source.meta.details).pack()[:1])]
    if not any(csvtext.is_value(cell.strip()) for cell in cells):
        return False
    try:
        for _ in source.read():
            pass
    except NotThisFormat:
        return False
    return True
