"""The Skoltech Anomaly Benchmark (Katser and Kozitsin 2020): eight channels of a water circuit, faults of valves.

The first 400 rows of each file, in which nothing happens, set the threshold; the rest is scored, row by row.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.joint import TRAINING

from qres_host import detecting
from qres_host.errors import USAGE, QresError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LABELS = 2  # last columns: anomaly, changepoint


class Run(NamedTuple):
    """One file: values (row, channel) and which rows are anomalies."""

    x: Floats
    anomaly: Mask


def load(folder: Path) -> list[Run]:
    """The files of valve1 to valve2 and other that are there; QresError when there are none."""
    found = []
    try:
        for path in sorted(folder.glob("valve*/*.csv")) + sorted(folder.glob("other/*.csv")):
            with path.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.reader(lines, delimiter=";"))[1:]
            values = np.array([[float(cell) for cell in row[1:]] for row in rows])
            found.append(Run(values[:, :-LABELS], values[:, -LABELS] > 0))
    except (OSError, ValueError, IndexError) as error:
        raise QresError(f"{folder} holds no SKAB files ({error})", "name its data folder", USAGE) from error
    return found


def steps(x: Floats) -> NDArray[np.int32]:
    """Values as whole steps of a millionth of the channel's power of ten."""
    size = 10.0 ** np.ceil(np.log10(np.maximum(np.abs(x).max(axis=0), 1e-9)))
    return np.asarray(np.round(x / size * 1e7), np.int32)


def ours(x: Floats) -> Mask:
    """The boards' joint T-squared beyond the largest of the training rows."""
    rows = steps(x)
    return detecting.joint_rows(rows, np.ones(rows.shape, bool))[1] > 1


def ours_any(x: Floats) -> Mask:
    """Any alarm of the default profile: single channels too."""
    return detecting.run(steps(x)).alarm


def storm(profile: str) -> Callable[[Floats], Mask]:
    """Storms of a profile."""
    return lambda x: detecting.run(steps(x), profile=profile).regime == 2


def sigma(x: Floats, k: float) -> Mask:
    """A channel beyond k standard deviations of the training rows."""
    head = x[:TRAINING]
    return np.asarray((np.abs(x - head.mean(0)) > k * (head.std(0) + 1e-9)).any(axis=1))


def hotelling(x: Floats, smooth: int) -> Mask:
    """T-squared with the full covariance of the training rows, of means that forget with 2^-smooth (MEWMA)."""
    head = x[:TRAINING]
    centred = x - head.mean(0)
    inverse = np.linalg.pinv(np.cov(centred[:TRAINING].T))
    mean, t2 = np.zeros(x.shape[1]), np.zeros(len(x))
    for t, row in enumerate(centred):
        mean += (row - mean) / 2**smooth
        t2[t] = mean @ inverse @ mean
    return np.asarray(t2 > t2[64:TRAINING].max())


def trees(x: Floats) -> Mask:
    """river's half-space trees, threshold from the training rows."""
    make: Any = importlib.import_module("river.anomaly").HalfSpaceTrees
    low, span = x[:TRAINING].min(0), np.ptp(x[:TRAINING], axis=0) + 1e-9
    scaled = np.clip((x - low) / span * 0.5 + 0.25, 0, 1)
    names = [str(c) for c in range(x.shape[1])]
    model = make(n_trees=10, height=8, window_size=200, limits=dict.fromkeys(names, (0.0, 1.0)), seed=1)
    score = np.zeros(len(x))
    for t, row in enumerate(scaled.tolist()):
        point = dict(zip(names, row, strict=True))
        score[t] = model.score_one(point)
        model.learn_one(point)
    return np.asarray(score > score[200:TRAINING].max())


METHODS: tuple[tuple[str, Callable[[Floats], Mask]], ...] = (
    ("qres default, joint T²", ours),
    ("qres default, any alarm", ours_any),
    ("qres default, Storm", storm("default")),
    ("qres seed, Storm", storm("seed")),
    ("Welford 3 sigma, any channel", lambda x: sigma(x, 3)),
    ("Welford 5 sigma, any channel", lambda x: sigma(x, 5)),
    ("Hotelling T²", lambda x: hotelling(x, 0)),
    ("multivariate EWMA", lambda x: hotelling(x, 4)),
    ("half-space trees (river)", trees),
)


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """F1, false-alarm rate and missed-alarm rate of every method over the scored rows of all files."""
    found = []
    for name, method in METHODS:
        hits = np.zeros((2, 2))
        for run in runs:
            said, truth = method(run.x)[TRAINING:], run.anomaly[TRAINING:]
            for said_it in (0, 1):
                for true in (0, 1):
                    hits[said_it, true] += ((said == said_it) & (truth == true)).sum()
        f1 = 2 * hits[1, 1] / max(2 * hits[1, 1] + hits[1, 0] + hits[0, 1], 1)
        far, missed = hits[1, 0] / max(hits[:, 0].sum(), 1), hits[0, 1] / max(hits[:, 1].sum(), 1)
        found.append(
            {
                "method": name,
                "files": len(runs),
                "f1": float(f1),
                "false_rate": float(far),
                "missed_rate": float(missed),
            }
        )
    return found
