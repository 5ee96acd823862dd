"""Parquet files, where pyarrow is installed: columns of numbers, times, truth values and text; gaps stay gaps."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qres_host.archive import fit
from qres_host.archive.chunk import Chunk
from qres_host.archive.meta import PARQUET, Column, Meta, NotThisFormat
from qres_host.archive.source import Batch, Source, block_rows, is_time_name
from qres_host.errors import USAGE, QresError


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise QresError("parquet needs pyarrow", "install it with `pip install pyarrow`") from None


def source(opener: Callable[[], BinaryIO], size: int, level: str) -> Source:
    """Return the table of a parquet file. Raises NotThisFormat for what is none, QresError without pyarrow."""
    arrow = _pyarrow()
    with opener() as file:
        try:
            schema = arrow.parquet.ParquetFile(file).schema_arrow
        except (arrow.ArrowException, OSError) as error:
            raise NotThisFormat(str(error).splitlines()[0]) from None
        columns = [Column(name, kind=_kind(arrow, name, kind)) for name, kind in zip(schema.names, schema.types)]
    if not columns:
        raise NotThisFormat("it has no columns")
    time = next((i for i, c in enumerate(columns) if is_time_name(c.name) or c.kind[:3] == "<M8"), -1)
    step = block_rows(len(columns), level)

    def read() -> Iterator[Batch]:
        with opener() as file:
            for batch in arrow.parquet.ParquetFile(file).iter_batches(batch_size=step):
                yield [_chunk(arrow, part, column.kind) for part, column in zip(batch.columns, columns)], 0

    return Source(Meta(PARQUET, columns, time), read, size)


def _kind(arrow: Any, name: str, kind: Any) -> str:
    types = arrow.types
    if types.is_boolean(kind):
        return "|b1"
    if types.is_timestamp(kind) and kind.tz is None:
        return f"<M8[{kind.unit}]"
    if types.is_integer(kind) or types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).str)
    if types.is_string(kind) or types.is_large_string(kind):
        return ""
    raise NotThisFormat(f"column {name!r} has type {kind}, which no column of an archive can have")


def _chunk(arrow: Any, part: Any, kind: str) -> Chunk:
    missing = part.is_null().to_numpy(zero_copy_only=False) if part.null_count else None
    if not kind:
        return fit.from_strings([text or "" for text in part.to_pylist()], missing)
    plain = np.dtype(kind)
    if missing is not None:
        part = part.fill_null(False) if kind == "|b1" else arrow.compute.fill_null(part.view(_raw(arrow, plain)), 0)
    values = part.to_numpy(zero_copy_only=False)
    return fit.from_array(values.view(plain) if values.dtype != plain else values, missing)


def _raw(arrow: Any, kind: Any) -> Any:
    return arrow.int64() if kind.kind == "M" else arrow.from_numpy_dtype(kind)


def write(path: Path, columns: list[Column], batches: Iterator[dict[str, Any]]) -> None:
    """Write a parquet file of an archive's blocks. Raises QresError without pyarrow, or for what parquet cannot say."""
    arrow = _pyarrow()
    try:
        _write(arrow, path, columns, batches)
    except arrow.ArrowException as error:
        remedy = "write csv or npz instead"
        raise QresError(f"no parquet: {str(error).partition(chr(10))[0]}", remedy, USAGE) from error


def _write(arrow: Any, path: Path, columns: list[Column], batches: Iterator[dict[str, Any]]) -> None:
    writer = None
    for batch in batches:
        table = arrow.table({c.name: _column(arrow, batch[c.name]) for c in columns})
        if writer is None:
            writer = arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))
    if writer is None:
        kinds = {c.name: np.zeros(0, c.kind or "U1") for c in columns}
        writer = arrow.parquet.ParquetWriter(path, arrow.table(kinds).schema)
    writer.close()


def _column(arrow: Any, values: Any) -> Any:
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    plain = np.ma.getdata(values)
    if plain.dtype.kind == "O":
        return arrow.array(plain, arrow.string(), from_pandas=True)
    return arrow.array(plain.astype(plain.dtype.newbyteorder("="), copy=False), mask=mask)
