"""The Numenta Anomaly Benchmark: its files and an own scorer (Lavin and Ahmad 2015; numenta/NAB, nab/sweeper.py).

Each window of an anomaly that has a detection counts by its earliest one, 1 at the window's left edge down to 0 at the
right; each detection outside costs 0.11 (less shortly behind a window); a missed window costs 1. The first 15 % of a
file, at most 750 rows, are not scored. 0 is the detector that never speaks, 100 the perfect one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.errors import USAGE, QresError

FALSE_COST = 0.11  # of the standard profile
THRESHOLDS: NDArray[np.float64] = 2.0 ** (np.arange(160) / 8 - 4)
"""The thresholds tried, eight an octave, from 1/16 on."""
PUBLISHED = (
    # detector, standard score on the whole corpus, source; points on the 34 files of this bench's corpus, of 50 windows
    ("ARTime", 74.9, "numenta/NAB README and results/ARTime", 21.0519),
    ("Numenta HTM", 70.5, "numenta/NAB README", None),
    ("CAD OSE", 69.9, "numenta/NAB README", None),
    ("KNN CAD", 58.0, "numenta/NAB README", None),
    ("Relative Entropy", 54.6, "numenta/NAB README", None),
    ("Random Cut Forest", 51.7, "numenta/NAB README", None),
    ("Twitter ADVec", 47.1, "numenta/NAB README", None),
    ("Windowed Gaussian", 39.6, "numenta/NAB README", None),
    ("Etsy Skyline", 35.7, "numenta/NAB README", None),
    ("Bayesian Changepoint", 17.7, "numenta/NAB README", None),
    ("Random", 11.0, "numenta/NAB README", None),
    ("Null", 0.0, "numenta/NAB README", -50.0),
)
SINGLE_HITS = (
    # file, published score of a run that hit one window and nothing outside; from results/*/*_standard_scores.csv
    ("realAdExchange/exchange-3_cpm_results.csv", 0.862098587352162),  # windowedGaussian
    ("realAWSCloudwatch/ec2_network_in_257a54.csv", 0.8606718242697022),  # windowedGaussian
    ("realAWSCloudwatch/ec2_cpu_utilization_ac20cd.csv", 0.874124955999),  # numentaTM
    ("artificialWithAnomaly/art_daily_jumpsup.csv", 0.8589086704377245),  # ARTime
    ("artificialWithAnomaly/art_daily_jumpsdown.csv", 0.9934530536103384),  # ARTime
    ("artificialWithAnomaly/art_increase_spike_density.csv", 0.846035950698122),  # ARTime
    ("realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv", -0.13844919792440225),  # windowedGaussian, one of two windows
    ("realAdExchange/exchange-2_cpm_results.csv", -0.14465135576188293),  # ARTime, one of two windows
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class File(NamedTuple):
    """One file: `points` is what a detection at each row is worth, `window` which window it is in (-1: none)."""

    name: str
    x: Floats
    probation: int
    points: Floats
    window: Ints
    windows: int
    days: float  # scored, outside of windows


class Table(NamedTuple):
    """Of some detector, (file, threshold): NAB's points, false alarms (runs of rows), windows found."""

    points: Floats
    false: Floats
    found: Floats


def sigmoid(position: Floats) -> Floats:
    """NAB's scaled sigmoid: -1 is a window's left edge, 0 its right, 3 far behind it."""
    with np.errstate(over="ignore"):
        return np.where(position >= 3, -1.0, 2 / (1 + np.exp(5 * position)) - 1)


def load(folder: Path) -> list[File]:
    """The files of a folder laid out as NAB's (data/ and labels/), sorted by name; QresError when it is none."""
    try:
        labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
        paths = sorted((folder / "data").glob("*/*.csv"))
        found = [_file(path, labels[f"{path.parent.name}/{path.name}"]) for path in paths]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise QresError(
            f"{folder} holds no NAB corpus ({error})", "name the folder that holds data/ and labels/", USAGE
        ) from error
    if not found:
        raise QresError(f"{folder}/data holds no files", "name the folder that holds data/ and labels/", USAGE)
    return found


def _file(path: Path, limits: Sequence[Sequence[str]]) -> File:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    times = [datetime.fromisoformat(row[0]) for row in rows]
    count = len(rows)
    windows = [tuple(times.index(datetime.fromisoformat(limit)) for limit in pair) for pair in limits]
    points, window = np.full(count, -1.0), np.full(count, -1)
    top = float(sigmoid(np.array([-1.0]))[0])
    for k, (first, last) in enumerate(windows):
        inside = np.arange(first, last + 1)
        points[inside] = sigmoid(-(last - inside + 1) / (last - first + 1)) / top
        window[inside] = k
        behind = np.arange(last + 1, windows[k + 1][0] if k + 1 < len(windows) else count)
        points[behind] = sigmoid((behind - last) / (last - first))
    probation = int(min(count * 15 // 100, 750))
    days = (times[-1] - times[0]).total_seconds() / 86400 * float((window[probation:] < 0).sum()) / count
    x = np.array([float(row[1]) for row in rows])
    return File(f"{path.parent.name}/{path.name}", x, probation, points, window, len(windows), days)


@native.jit
def _walk(level: Ints, file_points: Floats, window: Ints, probation: int, best: Floats, out: Floats) -> None:
    """Score one file at every threshold: `level` is how many thresholds a row passes; rows of `out`: see Table."""
    before = 0
    for t in range(probation, len(level)):
        passed, w = level[t], window[t]
        if w < 0:
            for k in range(passed):
                out[0, k] += 0.11 * file_points[t]
            for k in range(before, passed):
                out[1, k] += 1
            before = passed
        else:
            before = 0
            for k in range(passed):
                if file_points[t] > best[w, k]:
                    best[w, k] = file_points[t]
    for w in range(len(best)):
        for k in range(best.shape[1]):
            out[0, k] += best[w, k]
            if best[w, k] > -1:
                out[2, k] += 1


def table(files: Sequence[File], scores: Sequence[Floats]) -> Table:
    """What each file is worth at each of THRESHOLDS (a score at a threshold passes it)."""
    out = np.zeros((len(files), 3, len(THRESHOLDS)))
    for i, (file, score) in enumerate(zip(files, scores, strict=True)):
        level = np.searchsorted(THRESHOLDS, score, side="right").astype(np.int64)
        best = np.full((file.windows, len(THRESHOLDS)), -1.0)
        _walk(level, file.points, file.window, file.probation, best, out[i])
    return Table(out[:, 0], out[:, 1], out[:, 2])


def normalised(points: float, windows: int) -> float:
    """NAB's score: 0 for a detector that never speaks, 100 for the perfect one."""
    return 100 * (points + windows) / (2 * windows)


def reproduced(files: Sequence[File]) -> list[dict[str, object]]:
    """For each of SINGLE_HITS the error of the nearest value that one detection can score here."""
    known = {file.name: file for file in files}
    rows: list[dict[str, object]] = []
    for name, published in SINGLE_HITS:
        if name in known:
            file = known[name]
            values = file.points[(file.window >= 0)] - (file.windows - 1)
            rows.append({"file": name, "published": published, "error": float(np.abs(values - published).min())})
    return rows
