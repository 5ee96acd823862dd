"""Parameters chosen on some files, reported on the others: cross-validation of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.nab import THRESHOLDS, File, Table, normalised

SEEDS = 10
FALSE_A_DAY = 0.11
_NEAR = np.array([0.25, 0.5, 1.0, 0.5, 0.25]) / 2.5  # a threshold is as good as its neighbourhood

Floats = NDArray[np.float64]


class Held(NamedTuple):
    """Held-out results over all files, of the mean of the seeds; `deviation` is that of the score between seeds."""

    score: float
    deviation: float
    found: float
    false_a_day: float


def chosen(tables: Sequence[Table], train: NDArray[np.int64], days: Floats | None = None) -> tuple[int, int]:
    """(candidate, threshold) with the most points on the files `train`, smoothed over neighbouring thresholds.

    With `days` that which finds most windows, less 1/50 for each false alarm, with at most FALSE_A_DAY of them.
    """

    def smooth(values: Floats) -> Floats:
        return np.convolve(np.pad(values[train].sum(axis=0), 2, mode="edge"), _NEAR, mode="valid")

    best, at = -np.inf, (0, len(THRESHOLDS) - 1)
    for i, table in enumerate(tables):
        points = smooth(table.points)
        if days is not None:
            false = smooth(table.false)
            allowed = false <= FALSE_A_DAY * float(days[train].sum())
            points = np.where(allowed, smooth(table.found) - false / 50, -np.inf)
        k = int(points.argmax())
        if points[k] > best:
            best, at = float(points[k]), (i, k)
    return at


def held_out(files: Sequence[File], tables: Sequence[Table], folds: int, limited: bool = False) -> Held:
    """Score every file with what was chosen on the other folds; SEEDS random foldings."""
    windows = sum(file.windows for file in files)
    days = np.array([file.days for file in files])
    runs: list[tuple[float, float, float]] = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(files))
        points = found = false = 0.0
        for fold in range(folds):
            test = np.sort(order[fold::folds])
            train = np.setdiff1d(order, test)
            i, k = chosen(tables, train, days if limited else None)
            points += float(tables[i].points[test, k].sum())
            found += float(tables[i].found[test, k].sum())
            false += float(tables[i].false[test, k].sum())
        runs.append((normalised(points, windows), found / windows, false / float(days.sum())))
    mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0)
    return Held(float(mean[0]), float(spread[0]), float(mean[1]), float(mean[2]))


def at_threshold(files: Sequence[File], table: Table, threshold: float) -> dict[str, Any]:
    """What a detector is worth on all files at one threshold, or the next one that was tried."""
    k = int(np.searchsorted(THRESHOLDS, threshold))
    windows = sum(file.windows for file in files)
    return {
        "score": normalised(float(table.points[:, k].sum()), windows),
        "found": float(table.found[:, k].sum()) / windows,
        "false_a_day": float(table.false[:, k].sum()) / sum(file.days for file in files),
    }
