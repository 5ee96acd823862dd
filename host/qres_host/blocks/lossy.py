"""What to send in place of samples when some error is allowed: values near the samples that take fewer bits.

The decoder needs to know nothing of it.  Every choice is made per channel, by what the coder takes for it.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import best, fast, near_loops
from qres_host.blocks.loops import ready

EPS_MAX: Final = 0x7FFFFFFF
CELLS: Final = 3
"""Points of the path's grid within the bounds of a sample, about."""
PATH_MAX: Final = 6
"""And at most."""
PASSES: Final = 4
NEAR: Final = 1.1
"""The best level judges what takes at `fast` up to so many times the bytes of the shortest,"""
JUDGED: Final = 4096
"""by so many rows."""
STEPS: Final = 256
"""Steps between points that have a cost of their own."""
BIT: Final = 256
"""Costs are in fractions of a bit, so that they are integers."""

SPREAD: Final = np.array([1, 2, 2, 6, 2, 2, 1]) / 16

Ints = NDArray[np.int64]
Matrix = NDArray[np.int32]


def bounded(x: Matrix, eps: Any) -> Matrix:
    """Values with |x - result| <= eps[channel]; `x` int32 (rows, channels), `eps` in steps of the samples, 0 or more.

    ValueError for an eps below 0 or not one a channel.
    """
    return _by_channel(x, eps, _near, "fast")


def silent(x: Matrix, threshold: Any, level: str = "best") -> Matrix:
    """Samples, replaced by what a simple predictor says while that is off by less than threshold[channel].

    The predictor is the last value or the last slope, and sees what was sent, as the receiver does.  Thresholds of 0
    and 1 change nothing.  `level` is the one that will code the result.  ValueError as in `bounded`.
    """
    return _by_channel(x, threshold, _predicted, level)


def _by_channel(x: Matrix, limits: Any, candidates: Callable[[Ints, int], list[Ints]], level: str) -> Matrix:
    """For each channel the candidate that takes the fewest bytes, the samples themselves among them."""
    limits = np.asarray(limits)
    if limits.shape != (x.shape[1],) or limits.dtype.kind not in "iu" or np.any(limits < 0):
        raise ValueError("one limit for each channel, whole and not negative")
    out = x.copy()
    for c in range(x.shape[1]):
        v = x[:, c].astype(np.int64)
        limit = min(int(limits[c]), EPS_MAX)
        if not limit or v.size < 2:
            continue
        columns = [y.astype(np.int32)[:, None] for y in [v, *candidates(v, limit)]]
        sizes = [len(fast.encode(y)) for y in columns]
        if level == "best":
            near = [y for y, size in zip(columns, sizes) if size <= NEAR * min(sizes)]
            columns, sizes = near, [_length(y) for y in near] if len(near) > 1 else [0]
        out[:, c] = columns[sizes.index(min(sizes))][:, 0]
    return out


def _length(y: Matrix) -> int:
    """Bytes that the best level takes for the rows in the middle of a column."""
    start = max(0, len(y) - JUDGED) // 2
    some = y[start : start + JUDGED]
    return min(len(best.encode(some)), len(fast.encode(some)))


def _within(y: Ints, v: Ints, eps: int) -> Ints:
    """Values moved into the bounds and into 32 bits."""
    return np.clip(np.clip(y, v - eps, v + eps), -0x80000000, 0x7FFFFFFF)


def _near(v: Ints, eps: int) -> list[Ints]:
    """Candidates for `bounded`: a grid, the cheapest path over a finer one, and few constant runs."""
    step = 2 * eps + 1
    middle = int(np.sort(v[:: max(1, v.size // 1024)])[min(v.size, 1024) // 2])
    index = (v - middle + eps) // step
    runs: Any = np.empty(v.size, np.int64) if native.COMPILED else [0] * v.size
    near_loops.hold(ready(v), eps, runs)
    near = [index * step + middle, _path(v, eps, middle, index), np.asarray(runs, np.int64)]
    return [_within(y, v, eps) for y in near]


def _path(v: Ints, eps: int, middle: int, index: Ints) -> Ints:
    """The path over a grid finer than the bounds whose steps cost least, by their own frequencies."""
    grid = max(1, (2 * eps + 1) // CELLS)
    moves = np.abs(np.diff(index)) * ((2 * eps + 1) // grid)
    path = index
    for _ in range(PASSES):
        counts = np.bincount(np.minimum(moves, STEPS - 1), minlength=STEPS).astype(np.float64)
        if path is index:  # the coarse grid makes no small moves: spread what it counts
            counts = np.convolve(np.concatenate([counts[3:0:-1], counts, counts[-2:-5:-1]]), SPREAD, "valid")
        counts[1:] /= 2  # one sign each
        costs = np.rint(-BIT * np.log2((counts + 0.05) / v.size)).astype(np.int64)
        path = _cheapest(v - middle, eps, grid, costs)
        moves = np.abs(np.diff(path))
    return path * grid + middle


def _cheapest(v: Ints, eps: int, grid: int, costs: Ints) -> Ints:
    """Multiples of `grid`, by their indices, within `eps` of v, so that the steps between them cost least."""
    room = v.size * PATH_MAX
    back: Any = np.empty(room, np.uint8) if native.COMPILED else bytearray(room)
    path: Any = np.empty(v.size, np.int64) if native.COMPILED else [0] * v.size
    near_loops.cheapest(ready(v), eps, grid, ready(costs), BIT, back, path)
    return np.asarray(path, np.int64)


def _predicted(v: Ints, threshold: int) -> list[Ints]:
    """Candidates for `silent`: the last value and the last slope go on."""
    out = []
    for slopes in (False, True):
        y: Any = np.empty(v.size, np.int64) if native.COMPILED else [0] * v.size
        near_loops.go_on(ready(v), threshold, slopes, y)
        out.append(np.asarray(y, np.int64))
    return out
