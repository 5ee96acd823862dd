"""The predictors of the boards over whole recordings: `run` for programs, `qres predict` for people.

The numbers are those of a board, bit for bit; the inner loops run as machine code where Numba is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres import predict

from qres_host import native

KERNELS = ("kernels", "regression", "attention", "recurrent", "elementary")
"""Modules of the firmware whose kernels predictors call."""
ORDER = 4
RATE = 41  # of learning, Q10: the boards' default
_CHUNK = 1024  # rows between two calls of `watch`

Watch = Callable[[int], None]


class Result(NamedTuple):
    """What `run` found: the prediction of each row before it came, int32 (row, channel), and the predictor."""

    ahead: NDArray[np.int32]
    predictor: Any


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """Let predictors call kernels as machine code, where Numba is installed; the results are the same."""
    users = [m for name, m in sorted(sys.modules.items()) if name.startswith(("qres.predict.", "qres.standard"))]
    places = []
    for owner in KERNELS if native.COMPILED else ():
        plain, fast = vars(importlib.import_module("qres." + owner)), vars(native.load(owner))
        for module in users:
            for name, value in vars(module).items():
                if callable(value) and plain.get(name) is value and hasattr(fast[name], "py_func"):
                    places.append((module, name, value, fast[name]))
    try:
        for module, name, _, fast in places:
            setattr(module, name, fast)
        yield
    finally:
        for module, name, value, _ in places:
            setattr(module, name, value)


def run(
    x: NDArray[np.int32],
    name: str = "linear",
    *,
    missing: NDArray[np.bool_] | None = None,
    order: int = ORDER,
    rate: int = RATE,
    predictor: Any = None,
    watch: Watch | None = None,
) -> Result:
    """Predict each row of `x`, int32 (row, channel), from those before it, as a board does, and learn from it.

    `missing` marks values that are not there. `predictor`, one that was made before, goes on; else a fresh one is made
    from `name`, `order` lags and the learning `rate` (Q10). `watch` is told how many rows are done.
    """
    rows = np.asarray(x, np.int32)
    it = predictor if predictor is not None else predict.make(name, rows.shape[1], order, rate)
    ahead = np.empty(rows.shape, np.int32)
    with compiled():
        for begin in range(0, len(rows), _CHUNK):
            part = rows[begin : begin + _CHUNK].tolist()
            if missing is not None:
                for i, j in np.argwhere(missing[begin : begin + _CHUNK]).tolist():
                    part[i][j] = None
            for i, row in enumerate(part, begin):
                ahead[i] = it.predict()
                it.update(row)
            if watch:
                watch(begin + len(part))
    return Result(ahead, it)
