"""The recordings that a bench runs on: the weather that the project carries, or a folder of files."""

from __future__ import annotations

import csv
import decimal
import importlib.resources
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host.errors import USAGE, QresError

Matrix = NDArray[np.int32]  # (rows, channels)
SUFFIXES = (".csv", ".npy", ".npz")
DIGITS_MAX = 9
INT32 = np.iinfo(np.int32)


class Stream(NamedTuple):
    """A recording: int32 (rows, channels), equally spaced in time, missing values held."""

    name: str
    x: Matrix


def carried() -> list[Stream]:
    """The hourly weather of three airports; a missing value repeats the one before it."""
    file = importlib.resources.files("qres_host") / "data" / "weather.npz"
    with file.open("rb") as source, np.load(source) as data:
        values = data["x"]
        missing = np.unpackbits(data["missing"])[: values.size].reshape(values.shape).astype(bool)
        names = [f"weather_{name.lower()}" for name in data["stations"].tolist()]
    return [Stream(name, held(x, gone)) for name, x, gone in zip(names, values, missing, strict=True)]


def held(x: Matrix, missing: NDArray[np.bool_]) -> Matrix:
    """`x` with each missing value replaced by the last one before it, or by the first one that is there."""
    rows = np.arange(len(x))[:, None]
    last = np.maximum.accumulate(np.where(missing, -1, rows), axis=0)
    first = np.argmax(~missing, axis=0)
    filled: Matrix = np.take_along_axis(x, np.where(last < 0, first, last), axis=0)
    return np.ascontiguousarray(filled)


def load(folder: Path) -> list[Stream]:
    """Every .npz (array x), .npy and .csv of `folder`, by name; QresError when there is none or one is unusable."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise QresError(f"no recordings in {folder}", "name a folder with .npz (array x), .npy or .csv files", USAGE)
    return [Stream(path.stem, _load(path)) for path in files]


def _load(path: Path) -> Matrix:
    try:
        if path.suffix.lower() == ".csv":
            return _from_csv(path)
        with path.open("rb") as source:
            found = np.load(source, allow_pickle=False)
            return as_matrix(found["x"] if isinstance(found, np.lib.npyio.NpzFile) else found)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, csv.Error, decimal.DecimalException) as error:
        remedy = "give integers of 32 bits, or decimals that fit them: (rows, channels)"
        raise QresError(f"{path.name} is not usable ({error})", remedy, USAGE) from error


def as_matrix(array: NDArray[np.generic]) -> Matrix:
    """`array` as int32 (rows, channels); ValueError when it is of another shape or does not fit."""
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise ValueError("it holds no rows and channels")
    if array.dtype.kind not in "iu":
        return _scaled([[format(value, "") for value in row] for row in array.tolist()])
    wide = array.astype(np.int64)
    if wide.min() < INT32.min or wide.max() > INT32.max:
        raise ValueError("its values exceed 32 bits")
    return np.ascontiguousarray(wide.astype(np.int32))


def _from_csv(path: Path) -> Matrix:
    """The columns of decimals, after a heading line; a column that does not begin with a number is left out."""
    with path.open(newline="", encoding="utf-8-sig") as source:
        lines = [line for line in csv.reader(source) if line]
    rows = lines[1:]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ValueError("it needs a heading line and rows of equal length")
    columns = [c for c in range(len(rows[0])) if _is_number(rows[0][c])]
    if not columns:
        raise ValueError("it has no column of numbers")
    return _scaled([[row[c] for c in columns] for row in rows])


def _is_number(text: str) -> bool:
    try:
        return decimal.Decimal(text).is_finite()
    except decimal.InvalidOperation:
        return False


def _scaled(rows: list[list[str]]) -> Matrix:
    """Decimals as integers: each column times the power of ten under which all its values are whole.

    Values that were stored as 32-bit floats (2.009000062942505) mean the short decimal (2.009).
    """
    columns = []
    for column in zip(*rows, strict=True):
        cells = [decimal.Decimal(_short(text)) for text in column]
        digits = max(0, *(-int(cell.normalize().as_tuple().exponent) for cell in cells))
        if digits > DIGITS_MAX:
            raise ValueError(f"a column has {digits} decimal digits")
        columns.append([int(cell.scaleb(digits)) for cell in cells])
    return as_matrix(np.array(columns, np.int64).T)


def _short(text: str) -> str:
    """The shortest decimal of a 32-bit float, where `text` is the long form of one; else `text`."""
    if len(text.partition(".")[2]) <= DIGITS_MAX:
        return text
    return np.format_float_positional(np.float32(text), trim="-")
