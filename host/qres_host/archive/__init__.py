"""Archives: `.qres` files of tables and bytes, and bytes in memory. The format: docs/format.md.

from qres_host import archive

archive.write("room.qres", {"time": t, "temp": x}, units={"temp": "degC"})
archive.append("room.qres", {"time": more_t, "temp": more_x})
with archive.open("room.qres") as a:
    a.columns, a.rows
    part = a.read(start="2024-05-01T00:00", end="2024-05-02T00:00", columns=["temp"])
    for block in a:
        block["temp"]

packed = archive.compress(samples.tobytes(), "int16:3")
assert archive.decompress(packed) == samples.tobytes()
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from qres.codec import CodecError

from qres_host.archive import arrays, writer
from qres_host.archive.archive import Archive
from qres_host.archive.compact import compress, decompress
from qres_host.archive.loss import Limits, share_of_range
from qres_host.archive.meta import MODES, Column
from qres_host.archive.source import LEVELS, Source

Path_ = str | os.PathLike[str]
Table = Mapping[str, Any]

__all__ = ["Archive", "CodecError", "Column", "append", "compress", "decompress", "open", "write"]


def open(path: Path_) -> Archive:
    """Return the archive at `path`. Raises CodecError for what is no archive, OSError as the built-in does."""
    file = builtins.open(path, "rb")  # noqa: SIM115 - the archive closes it
    try:
        return Archive(file)
    except BaseException:
        file.close()
        raise


def write(
    path: Path_,
    table: Table,
    level: str = "best",
    mode: str = "exact",
    limit: float | str = 0,
    units: Mapping[str, str] | None = None,
    time: str | None = None,
) -> None:
    """Write a table, named one-dimensional arrays of one length, as a new archive that takes the place of `path`.

    `level` is `fast` or `best`; `mode` is `exact`, or `bounded` or `silent` with a `limit` in the columns' units or
    as text like `"1%"` of each column's range. `time` names the time column; by default it is the first whose name
    says so. Masked arrays keep their gaps. Raises ValueError for what is no such table or limit.
    """
    if mode not in MODES or (mode == "exact") != (str(limit) == "0"):
        raise ValueError(f"mode {mode!r} with limit {limit}: exact takes none, bounded and silent need one")
    unknown = [name for name in units or () if name not in table]
    if unknown:
        raise ValueError(f"a unit for {unknown[0]!r}, which is no column")
    source = _source(table, units or {}, time, level)
    limits = limits_for(source, mode, str(limit))
    with writer.replacing(Path(path)) as file:
        writer.write_table(file, source, level, limits)


def append(path: Path_, table: Table, level: str = "best") -> None:
    """Add the rows of `table`, which has the same columns, to the archive at `path`, in the mode it was begun with.

    What is added is there only when it is complete: a power cut or an error leaves the archive as it was, or with
    some whole blocks more. Raises ValueError for other columns, CodecError for damage, BlockingIOError when another
    process appends.
    """
    with open(path) as found:
        time = found.time.name if found.time else None
    source = _source(table, {}, time, level)
    writer.append_table(Path(path), source, level)


def limits_for(source: Source, mode: str, limit: str) -> Limits | None:
    """Return the limits of a mode for a table; `limit` is a number, or a percentage of each column's range."""
    if mode == "exact":
        return None
    if limit.endswith("%"):
        columns = len(source.meta.columns)
        return Limits(mode, share_of_range(source.read(), columns, Fraction(limit[:-1])))
    return Limits(mode, [Fraction(limit)])


def _source(table: Table, units: Mapping[str, str], time: str | None, level: str) -> Source:
    if level not in LEVELS:
        raise ValueError(f"no level {level!r}: {' or '.join(LEVELS)}")
    if not all(isinstance(name, str) for name in table):
        raise ValueError("a column's name is no text")
    return arrays.table({name: np.asanyarray(values) for name, values in table.items()}, units, time, level)
