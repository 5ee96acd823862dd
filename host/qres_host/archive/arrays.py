"""Tables of NumPy arrays: one-dimensional columns from .npy and .npz files or from a program, and back, bit for bit."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive import fit, general
from qres_host.archive.block import moments
from qres_host.archive.chunk import BITS, CLOCK, NUMBER, TEXT, Chunk, number_of
from qres_host.archive.clock import Clock
from qres_host.archive.fields import Fields, string, varint
from qres_host.archive.meta import COLUMNS_MAX, NPY, NPZ, TABLE, Column, Meta, NotThisFormat, unquoted
from qres_host.archive.source import Batch, Source, block_rows, is_time_name

Array = npt.NDArray[Any]

COLUMNS_WIDE = 4096  # an array with more columns than that is one long column
_BESIDE_MAX = 1 << 23  # bytes of the arrays that are no columns
_FORTRAN = 1
_DIMENSIONS_MAX = 64  # what NumPy has
# What NumPy, zip and its compressors raise for damaged files; MemoryError is for a shape that cannot be.
_NO_ARRAYS = (ValueError, OSError, EOFError, SyntaxError, RuntimeError, KeyError, MemoryError, BadZipFile, zlib.error)


def is_storable(values: Array) -> bool:
    """Return whether an array's type can be a column: bool, integer, float16 to float64, datetime64, timedelta64."""
    return values.dtype.kind in "biumMf" and values.dtype.itemsize <= 8


def chunks_of(columns: Sequence[Array], first: int, stop: int) -> list[Chunk]:
    """Return rows `first` to `stop` of some columns; a masked array's masked rows have no value."""
    out = []
    for column in columns:
        part = column[first:stop]
        if part.dtype.kind in "UO":
            out.append(fit.from_strings([str(text) for text in part]))
        else:
            out.append(fit.from_array(np.ma.getdata(part), np.ma.getmaskarray(part) if _masked(part) else None))
    return out


def _masked(values: Array) -> bool:
    return isinstance(values, np.ma.MaskedArray)


def table(columns: Mapping[str, Array], units: Mapping[str, str], time: str | None, level: str) -> Source:
    """Return the table of named one-dimensional columns. Raises ValueError for what cannot be one."""
    arrays = [np.asanyarray(values) for values in columns.values()]
    for name, values in zip(columns, arrays):
        if values.ndim != 1 or len(values) != len(arrays[0]):
            raise ValueError(f"column {name!r} is not one-dimensional, or not as long as the first")
        if not is_storable(values) and not _is_text(values):
            raise ValueError(f"column {name!r} has type {values.dtype}, which no column can have")
    heads = [
        Column(name, units.get(name, ""), "" if _is_text(values) else values.dtype.str)
        for name, values in zip(columns, arrays)
    ]
    named = [i for i, head in enumerate(heads) if (is_time_name(head.name) if time is None else head.name == time)]
    dates = [i for i, head in enumerate(heads) if head.kind[1:2] == "M" and time is None]
    at = [*named, *dates, -1][0]
    if time is not None and at < 0:
        raise ValueError(f"no column {time!r}")
    meta = Meta(TABLE, heads, at)
    return Source(meta, _reader(arrays, level), sum(values.nbytes for values in arrays))


def _is_text(values: Array) -> bool:
    return values.dtype.kind == "U" or (values.dtype.kind == "O" and all(isinstance(text, str) for text in values))


def _reader(columns: Sequence[Array], level: str) -> Callable[[], Iterator[Batch]]:
    step = block_rows(len(columns), level)
    rows = len(columns[0]) if columns else 0

    def read() -> Iterator[Batch]:
        for first in range(0, rows, step):
            yield chunks_of(columns, first, first + step), 0

    return read


def source_npy(opener: Callable[[], BinaryIO], size: int, level: str) -> Source:
    """Return the array of a .npy file as a table."""
    with opener() as file:
        values = _load(file)
    if not isinstance(values, np.ndarray) or not is_storable(values):
        raise NotThisFormat("it holds no plain numbers")
    columns = split(values)
    heads = [Column("", kind=values.dtype.str) for _ in columns]
    return Source(Meta(NPY, heads, details=_shape(values)), _reader(columns, level), size)


def source_npz(opener: Callable[[], BinaryIO], size: int, level: str) -> Source:
    """Return the arrays of a .npz file as a table: those as long as the longest are columns, others ride along."""
    with opener() as file:
        archive = _load(file)
        if isinstance(archive, np.ndarray):
            raise NotThisFormat("it is no .npz file")
        arrays = _load_members(archive)
    fit_in = {name: values for name, values in arrays.items() if is_storable(values) and values.ndim and values.size}
    length = max((len(values) for values in fit_in.values()), default=0)
    columns: list[Array] = []
    heads: list[Column] = []
    details = bytearray(varint(len(arrays)))
    for name, values in arrays.items():
        details += string(name.encode())
        if name in fit_in and len(values) == length and (values.ndim == 1 or values[0].size <= COLUMNS_WIDE):
            parts = split(values)
            columns += parts
            heads += [
                Column(name if len(parts) == 1 else f"{name}.{i}", kind=values.dtype.str) for i in range(len(parts))
            ]
            details += b"\1" + string(values.dtype.str.encode()) + _shape(values)
        else:
            if values.nbytes > _BESIDE_MAX or values.dtype.kind == "V":
                raise NotThisFormat(f"array {name!r} cannot stand beside the table")
            details += b"\0" + string(values.dtype.str.encode()) + _shape(values)
            details += general.pack(values.tobytes(), "best")
    if len(details) > _BESIDE_MAX or len(heads) > COLUMNS_MAX:
        raise NotThisFormat("its arrays have too many different lengths for one table")
    time = 0 if heads and is_time_name(heads[0].name) else -1
    return Source(Meta(NPZ, heads, time, details=bytes(details)), _reader(columns, level), size)


def _load(file: BinaryIO) -> Any:
    try:
        return np.load(file, allow_pickle=False)
    except _NO_ARRAYS as error:
        raise NotThisFormat(str(error).partition("\n")[0] or "it is damaged") from None


def _load_members(archive: Any) -> dict[str, Array]:
    try:
        members = {name: archive[name] for name in archive.files}
    except _NO_ARRAYS as error:
        raise NotThisFormat(str(error).partition("\n")[0] or "it is damaged") from None
    foreign = [name for name, values in members.items() if not isinstance(values, np.ndarray)]
    if foreign:
        raise NotThisFormat(f"its member {foreign[0]!r} is no array")
    return members


def split(values: Array) -> list[Array]:
    """Return the columns of an array: its rows are the first axis; scalars and very wide rows make one column."""
    if values.ndim < 2 or values.size == 0 or values[0].size > COLUMNS_WIDE:
        return [values.reshape(-1)]
    flat = values.reshape(len(values), -1)
    return [flat[:, i] for i in range(flat.shape[1])]


def _shape(values: Array) -> bytes:
    fortran = values.ndim > 1 and values.flags.f_contiguous and not values.flags.c_contiguous
    return bytes((fortran * _FORTRAN,)) + varint(values.ndim) + b"".join(map(varint, values.shape))


def join_npy(meta: Meta, columns: list[Array]) -> Array:
    """Return the array of a .npy file from its columns."""
    fields = Fields(meta.details)
    values = _joined(fields, columns, np.dtype(meta.columns[0].kind) if meta.columns else np.dtype("u1"))
    fields.end()
    return values


def _joined(fields: Fields, columns: list[Array], kind: Any) -> Array:
    """Return columns in the shape that `fields` tell; more rows than that (appended ones) lengthen the first axis."""
    fortran, shape = _read_shape(fields)
    if not columns or any(column.dtype != columns[0].dtype for column in columns):
        raise CodecError("an array without columns of its type")
    values = np.stack(columns, axis=1) if len(columns) > 1 else columns[0]
    values = values.astype(kind, copy=False)
    if values.size != math.prod(shape) and shape and (len(shape) == 1 or len(columns) > 1):
        shape[0] = len(values)
    return _shaped(values, fortran, shape)


def _read_shape(fields: Fields) -> tuple[bool, list[int]]:
    """Return whether an array has Fortran order, and its shape."""
    fortran = bool(fields.byte() & _FORTRAN)
    return fortran, [fields.varint(1 << 50) for _ in range(fields.varint(_DIMENSIONS_MAX))]


def _shaped(values: Array, fortran: bool, shape: list[int]) -> Array:
    """Return `values` in another shape; CodecError when they do not fill it."""
    if math.prod(shape) != values.size:
        raise CodecError("the rows do not fill the array")
    values = values.reshape(shape)
    return np.asfortranarray(values) if fortran else np.ascontiguousarray(values) if shape else values


def _beside(fields: Fields, kind: str) -> Array:
    """Return an array of type `kind` that is no column."""
    fortran, shape = _read_shape(fields)
    data = general.unpack(fields)
    try:
        plain = np.dtype(kind)
    except (TypeError, ValueError, SyntaxError):
        raise CodecError("unknown type of an array") from None
    if plain.hasobject or plain.names or plain.subdtype or len(data) != math.prod(shape) * plain.itemsize:
        raise CodecError("an array that is not of its type")
    if not plain.itemsize:
        return np.zeros(shape, plain) if math.prod(shape) <= _BESIDE_MAX else _shaped(np.zeros(0), fortran, shape)
    return _shaped(np.frombuffer(data, plain), fortran, shape)


def join_npz(meta: Meta, columns: list[Array]) -> dict[str, Array]:
    """Return the arrays of a .npz file from the table's columns and what rode along."""
    fields = Fields(meta.details)
    out: dict[str, Array] = {}
    at = 0
    for _ in range(fields.varint(len(meta.details))):
        name = fields.string(len(meta.details)).decode(errors="replace")
        is_column = fields.byte()
        kind = fields.string(64).decode(errors="replace")
        if not is_column:
            out[name] = _beside(fields, kind)
            continue
        start = fields.at
        count = _width(_read_shape(fields)[1])
        fields.at = start
        if count > len(columns) - at or meta.columns[at].kind != kind:
            raise CodecError("an array without its columns")
        out[name] = _joined(fields, columns[at : at + count], np.dtype(kind))
        at += count
    fields.end()
    return out


def _width(shape: list[int]) -> int:
    width = math.prod(shape[1:])
    return width if 0 < width <= COLUMNS_WIDE else 1


def values(chunk: Chunk, kind: str, quotes: bool = False) -> Array:
    """Return a chunk's cells as an array of type `kind` ("" for text: whatever suits the cells).

    `quotes`: words are cells of a text table, whose quotes are left out.

    Numbers with a fraction and NaN are float64, whole ones int64, times datetime64, words str. Rows without a value
    are NaN, NaT, or masked.
    """
    if kind:
        return _typed(chunk, np.dtype(kind))
    if chunk.form == TEXT:
        texts = [text.decode(errors="replace") for text in chunk.cells().texts()]
        words = np.array([unquoted(text) for text in texts] if quotes else texts, dtype=object)
        if chunk.codes is not None:
            words[chunk.codes > 0] = None
        return words
    if chunk.form == CLOCK:
        times = Clock(chunk.template).times(chunk.integers)
        if chunk.codes is not None:
            times[chunk.codes > 0] = np.datetime64("NaT")
        return times
    if chunk.form == NUMBER and chunk.places == 0 and not chunk.narrow:
        absent = chunk.missing()
        if not any(number_of(text) is not None for text in chunk.extras):
            return np.ma.MaskedArray(chunk.integers, absent) if absent.any() else chunk.integers
    return moments(chunk, text=True)


def _typed(chunk: Chunk, kind: Any) -> Array:
    if chunk.form in (TEXT, CLOCK) or (chunk.form == BITS and (kind.kind != "f" or kind.itemsize != chunk.width)):
        raise CodecError("cells that are not of their column's type")
    native = kind.newbyteorder("=")
    if kind.kind == "f":
        out = chunk.floats(native).astype(native)
    elif kind.itemsize == 8:
        out = chunk.integers.view(native)
    else:
        out = chunk.integers.astype(native)
    absent = np.zeros(chunk.rows, bool)
    if chunk.codes is not None:
        out = out.copy()
        for code, extra in enumerate(chunk.extras, 1):
            if not extra:
                absent |= chunk.codes == code
            elif len(extra) != kind.itemsize:
                raise CodecError("cells that are not of their column's type")
            else:
                out[chunk.codes == code] = np.frombuffer(extra, kind.newbyteorder("<"))[0]
    out = out.astype(kind, copy=False)
    return np.ma.MaskedArray(out, absent) if absent.any() else out
