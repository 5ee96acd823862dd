"""Archives back into files: text, NumPy arrays, sound, parquet and plain bytes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from qres_host.archive import arrays, csvtext, fit, parquet, sound
from qres_host.archive.archive import Archive
from qres_host.archive.block import OPEN_END
from qres_host.archive.chunk import CLOCK, NUMBER, TEXT, Chunk
from qres_host.archive.meta import BYTES, CSV, NPY, NPZ, PARQUET, TABLE, WAV
from qres_host.errors import USAGE, QresError

Array = npt.NDArray[Any]
Told = Callable[[int], None]
FORMATS = ("csv", "npz", "npy", "parquet", "wav", "raw")
_NATIVE = {BYTES: "raw", CSV: "csv", NPY: "npy", NPZ: "npz", PARQUET: "parquet", WAV: "wav", TABLE: "npz"}


def native(found: Archive) -> str:
    """Return the format that an archive came from."""
    return _NATIVE[found.meta.origin]


def write(found: Archive, name: str, file: BinaryIO, tell: Told) -> None:
    """Write an archive to `file` as format `name`; `tell` is told the rows (or bytes) of each block.

    Raises QresError when the archive has no such form, CodecError for damage.
    """
    if (found.meta.origin == BYTES) != (name == "raw"):
        remedy = f"it was {native(found)}: leave --format away, or choose another"
        raise QresError(f"an archive of {found.origin} cannot become {name}", remedy, USAGE)
    if name == "raw":
        for piece in found.raw():
            file.write(piece)
            tell(len(piece))
    elif name == "csv":
        for text in csv_pieces(found, tell):
            file.write(text)
    elif name == "wav":
        _write_wav(found, file, tell)
    elif name == "parquet":
        with tempfile.TemporaryDirectory(prefix="qres-") as folder:
            path = Path(folder) / "table.parquet"
            parquet.write(path, found.columns, found.blocks())
            file.write(path.read_bytes())
    else:
        _write_arrays(found, name, file)


def csv_pieces(found: Archive, tell: Told, picked: list[int] | None = None, **cut: Any) -> Iterator[bytes]:
    """Yield an archive, or the cut of it that `Archive.chunks` takes, as text: the header and rows."""
    own = found.meta.origin == CSV
    layout = csvtext.layout_of(found.meta.details if own else b"")
    yield csvtext.header(found.meta, found.rows == 0, picked)
    held = b""  # the last line end waits: it is not written when the file that came in had none
    flags = 0
    last = found.container.entries[-1].offset if found.container.entries else -1
    for entry, chunks in found.chunks(**cut):
        tell(entry.summary.rows)
        wanted = range(len(chunks)) if picked is None else picked
        for text in csvtext.rows_text([as_text(chunks[i], found.columns[i].kind, own) for i in wanted], layout):
            yield held + text.removesuffix(csvtext.line_end(layout))
            held = csvtext.line_end(layout)
        flags = entry.summary.flags if entry.offset == last else 0
    if held and not flags & OPEN_END:
        yield held


def as_text(chunk: Chunk, kind: str, own: bool = True) -> Chunk:
    """Return a chunk whose text can be written: cells of an array become the shortest text that means the same.

    `own`: words are cells of a text table already, with the quotes that they need.
    """
    if chunk.form == TEXT and not own:
        texts = ["" if word is None else csvtext.quoted(word) for word in arrays.values(chunk, kind).tolist()]
        return fit.from_strings(texts)
    if not kind or (chunk.codes is None and (kind[1] == "i" or (kind[1] == "f" and chunk.form == NUMBER))):
        return chunk
    values = arrays.values(chunk, kind)
    texts = [str(value) for value in np.ma.getdata(values)]
    missing = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    return fit.from_strings(texts, missing)


def json_rows(found: Archive, picked: list[int], tell: Told, **cut: Any) -> Iterator[str]:
    """Yield each row as a JSON object; gaps are null, times text as it was written."""
    names = [json.dumps(found.columns[i].name, ensure_ascii=False) for i in picked]
    for entry, chunks in found.chunks(**cut):
        tell(entry.summary.rows)
        own = found.meta.origin == CSV
        columns = [_json_cells(chunks[i], found.columns[i].kind, own) for i in picked]
        for cells in zip(*columns):
            yield "{" + ", ".join(f"{name}: {cell}" for name, cell in zip(names, cells)) + "}"


def _json_cells(chunk: Chunk, kind: str, own: bool) -> Iterable[str]:
    if chunk.form == TEXT:
        words = arrays.values(chunk, kind, own).tolist()
        return ["null" if word is None else json.dumps(word, ensure_ascii=False) for word in words]
    if chunk.form == CLOCK:
        gone = chunk.codes > 0 if chunk.codes is not None else np.zeros(chunk.rows, bool)
        texts = chunk.glyphs().texts()
        return [
            "null" if away else json.dumps(text.decode(errors="replace"), ensure_ascii=False)
            for text, away in zip(texts, gone)
        ]
    values = arrays.values(chunk, kind)
    if values.dtype.kind in "mM":
        values = values.astype(str)
        return [json.dumps(str(value)) if value != "NaT" else "null" for value in values.tolist()]
    return [
        "null" if value is None or (isinstance(value, float) and not np.isfinite(value)) else json.dumps(value)
        for value in values.tolist()
    ]


def _write_wav(found: Archive, file: BinaryIO, tell: Told) -> None:
    if found.meta.origin != WAV:
        raise QresError(f"an archive of {found.origin} holds no sound", f"write {native(found)} instead", USAGE)
    before, width, after = sound.frame(found.meta, found.rows)
    file.write(before)
    for entry, chunks in found.chunks():
        tell(entry.summary.rows)
        file.write(sound.rows_bytes(chunks, width))
    file.write(after)


def _write_arrays(found: Archive, name: str, file: BinaryIO) -> None:
    table = found.read()
    columns = [table[column.name] for column in found.columns]
    gaps = [c.name for c, v in zip(found.columns, columns) if isinstance(v, np.ma.MaskedArray)]
    columns = [np.ma.filled(v.astype(float), np.nan) if isinstance(v, np.ma.MaskedArray) else v for v in columns]
    if gaps and found.meta.origin == NPY:
        raise QresError(f"column {gaps[0]} has gaps", "write csv instead", USAGE)
    if name == "npy":
        _save(np.save, file, _one_array(found, columns))
    elif found.meta.origin == NPZ:
        _save(np.savez_compressed, file, **arrays.join_npz(found.meta, columns))
    elif found.meta.origin == NPY:
        _save(np.savez_compressed, file, arrays.join_npy(found.meta, columns))
    else:
        named = {c.name: v.astype(str) if v.dtype == object else v for c, v in zip(found.columns, columns)}
        _save(np.savez_compressed, file, **named)


def _save(save: Any, file: BinaryIO, *values: Array, **named: Array) -> None:
    save(file, *values, **named)


def _one_array(found: Archive, columns: list[Array]) -> Array:
    if found.meta.origin == NPY:
        return arrays.join_npy(found.meta, columns)
    if not columns or any(column.dtype.kind not in "biuf" for column in columns):
        raise QresError("only columns of numbers make one array", "write npz, which keeps each column's type", USAGE)
    return np.stack(columns, axis=1)
