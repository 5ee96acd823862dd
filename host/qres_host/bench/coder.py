"""What a bench measures: a coder has forms, each a pair of functions over one column (or the whole matrix)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]  # a column (rows,) or a matrix (rows, channels)
Shape = tuple[int, ...]


class Form(NamedTuple):
    """One way to apply a coder: `decode(encode(x), x.shape)` equals x. Shape and type are known to the reader."""

    name: str
    encode: Callable[[Ints], bytes]
    decode: Callable[[bytes, Shape], Ints]


class Coder(NamedTuple):
    """A coder and its forms; the smallest form is taken, column by column, or for the matrix as a `whole`."""

    name: str
    forms: tuple[Form, ...]
    whole: bool = False
    plain: bool = False  # run without Numba


class Skipped(NamedTuple):
    """A coder that cannot run here, and why."""

    name: str
    reason: str


def absent(package: str, module: str, extra: str = "bench") -> str:
    """Why `package` cannot be used: it is not installed; empty when it is."""
    if importlib.util.find_spec(module) is not None:
        return ""
    return f"{package} is not installed (pip install 'qres-swarm[{extra}]')"


def version(package: str) -> str:
    """The installed version of a package, or "" for none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def to_bytes(array: NDArray[Any]) -> bytes:
    """The bytes of an array, row after row."""
    return np.ascontiguousarray(array).tobytes()
