"""The predictors of the boards over whole recordings: `run` for programs, `qres predict` for people.

The numbers are those of a board, bit for bit; the inner loops run as machine code where Numba is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
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


class Score(NamedTuple):
    """Root mean square errors of one channel, in steps; `values` is how many count."""

    rmse: float
    persistence: float
    values: int

    @property
    def ratio(self) -> float | None:
        """RMSE over that of persistence; None where the channel never moved."""
        return self.rmse / self.persistence if self.persistence else None


def score(
    x: NDArray[np.int32], ahead: NDArray[Any], missing: NDArray[np.bool_] | None = None, begin: int = 0
) -> list[Score]:
    """How far predictions were off in each channel from row `begin` on, beside the last value that was there."""
    gone = np.zeros(x.shape, bool) if missing is None else missing
    rows = np.arange(len(x))
    scores = []
    for c in range(x.shape[1]):
        last = np.maximum.accumulate(np.where(gone[:, c], -1, rows))
        before = np.concatenate((np.full(1, -1), last[:-1]))
        counted = ~gone[:, c] & (before >= 0) & (rows >= begin)
        truth = x[counted, c].astype(np.float64)
        off = ahead[counted, c] - truth
        held = x[before[counted], c] - truth
        count = int(counted.sum())
        rmse, held_rmse = (float(np.sqrt((e**2).sum() / max(count, 1))) for e in (off, held))
        scores.append(Score(rmse, held_rmse, count))
    return scores


def mean_ratio(scores: Sequence[Score]) -> float | None:
    """Mean over the channels that moved of RMSE over persistence's; None when none did."""
    ratios = [one.ratio for one in scores if one.ratio is not None]
    return sum(ratios) / len(ratios) if ratios else None


def train(
    x: NDArray[np.int32], missing: NDArray[np.bool_], trials: int, watch: Watch | None = None
) -> tuple[bytes, float, float]:
    """Find a cell of the predictor lstm for recordings like `x`: (its bytes, error before, error after).

    A (1+1) evolution strategy (Rechenberg 1973) on whole-number weights: a change of a few of them stays when the mean
    ratio to persistence over the second half falls. The same input gives the same cell.
    """
    source = np.random.default_rng(1)
    channels = x.shape[1]

    def error(cell: bytes) -> float:
        predictor = predict.make("lstm", channels, ORDER, RATE)
        predictor.set_cell(cell)
        ahead = run(x, missing=missing, predictor=predictor).ahead
        return mean_ratio(score(x, ahead, missing, len(x) // 2)) or 1.0

    best = bytes(predict.make("lstm", channels, ORDER, RATE).cell)
    first = least = error(best)
    spread = 12.0
    for trial in range(trials):
        changed = np.frombuffer(best, np.uint8).astype(np.int64)
        places = source.random(len(changed)) < 0.2
        changed[places] += np.rint(source.normal(0, spread, int(places.sum()))).astype(np.int64)
        cell = changed.clip(0, 255).astype(np.uint8).tobytes()
        now = error(cell)
        spread *= 1.2 if now < least else 0.95  # the rule of success of one in five
        spread = min(max(spread, 1.0), 40.0)
        if now < least:
            best, least = cell, now
        if watch:
            watch(trial + 1)
    return best, first, least
