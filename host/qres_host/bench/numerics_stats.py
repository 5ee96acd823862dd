"""The statistics of `qres bench numerics`: moments beside floats, bias of forgetting means, tests for outliers."""

from __future__ import annotations

import statistics
import time
from array import array
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qres import moments, outliers
from qres.ew import GUARD, Ew, ew_step
from qres.stats import Welford

from qres_host import native
from qres_host.bench.coder import absent

Floats = NDArray[np.float64]
Row = dict[str, Any]
Say = Callable[[str], None]
ONE = 65536  # Q16.16
TIMED = 100_000  # samples
SHIFTS = (4, 6, 8, 10)
LEVEL = 100_000
BOARDS, SIGMAS, COLLUDERS, MOST = 100, 5, (1, 2, 3, 5, 8, 10, 20), 30
SEEDS = 200
MAD_LIMIT = 3.5  # Iglewicz and Hoaglin 1993


def signals(count: int) -> dict[str, list[int]]:
    """Q16.16 signals of which floats or narrow sums lose something."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(count)
    made: dict[str, Floats] = {
        "25, deviation 0.5": (25 + 0.5 * noise) * ONE,
        "8,000, deviation 0.01": (8000 + 0.01 * noise) * ONE,
        "1,013, deviation 0.001": (1013 + 0.001 * noise) * ONE,
        "1,000, deviation 3 ulp": 1000 * ONE + 3 * noise,
        "ramp 0 to 100": np.linspace(0, 100, count) * ONE,
        "square wave, 8,191": np.where(noise > 0, 8191.0, -8191.0) * ONE,
    }
    return {name: [int(value) for value in np.round(values)] for name, values in made.items()}


def _textbook(values: list[int]) -> tuple[Fraction, Fraction]:
    """Welford's update with every number in Q16.16, rounded down: (mean, variance) in ulp."""
    n = mean = m2 = 0
    for x in values:
        n += 1
        d = x - mean
        mean += d // n
        m2 += (d * (x - mean)) >> 16
    return Fraction(mean), Fraction(m2 << 16, n)


def _exact(values: list[int]) -> tuple[Fraction, Fraction]:
    w = Welford()
    for x in values:
        w.push(x)
    return w.x0 + Fraction(w.s, w.n), Fraction(w.spread(), w.n * w.n)


def _words(values: list[int]) -> tuple[Fraction, Fraction]:
    m = moments.Moments()
    add = native.load("moments").add_sample
    sums = np.array(m.sums, np.int32)
    add(0, 0, 0, sums.copy())  # compiles
    for x in values:
        add(x, 0, 0, sums)
    m.sums = array("i", sums.tolist())
    return Fraction(m.mean_q32(), ONE), Fraction(m.m2_q32(), len(values))


def _river(values: list[int]) -> tuple[Fraction, Fraction]:
    from river import stats

    variance = stats.Var(ddof=0)
    for x in values:
        variance.update(x / ONE)
    return Fraction(variance.mean.get()) * ONE, Fraction(variance.get()) * ONE * ONE


def moment_rows(count: int) -> list[Row]:
    """Error of mean (ulp) and variance (relative) after `count` samples, for each signal and form."""
    forms: dict[str, Callable[[list[int]], tuple[Fraction, Fraction]]] = {
        "qres exact": _exact,
        "qres in words": _words,
        "Q16.16 textbook": _textbook,
    }
    if not absent("river", "river"):
        forms["river, float64"] = _river
    rows = []
    for signal, values in signals(count).items():
        n, total = len(values), sum(values)
        mean, variance = Fraction(total, n), Fraction(n * sum(x * x for x in values) - total * total, n * n)
        for form, make in forms.items():
            start = time.perf_counter()
            found = make(values)
            ns = (time.perf_counter() - start) / n * 1e9
            errors = abs(float(found[0] - mean)), abs(float(found[1] / variance - 1))
            row = {"signal": signal, "form": form, "samples": n, "deviation_ulp": float(variance) ** 0.5}
            rows.append(row | {"mean_error_ulp": errors[0], "variance_error": errors[1], "ns": ns})
    return rows


def _settled(shift: int, bits: int) -> float:
    """How far below a constant a mean that comes from below stays, in ulp."""
    state = array("i", [0, 0])
    for _ in range(60 << shift):
        ew_step(LEVEL, 0, 0, shift, bits, state)
    return LEVEL - (state[0] + state[1] / (1 << bits))


def _whole(shift: int) -> float:
    """The same of a mean without fractional bits."""
    mean = 0
    for _ in range(60 << shift):
        mean += (LEVEL - mean) >> shift
    return float(LEVEL - mean)


def _update_ns(push: Callable[[Any], object], values: Iterable[Any], count: int) -> float:
    times = []
    kept = list(values)
    for _ in range(3):
        start = time.perf_counter()
        for x in kept:
            push(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / count * 1e9


def bias_rows() -> list[Row]:
    """Where forgetting means of a constant settle, by guard bits, and the time of an update beside river's."""
    values = [int(x) for x in np.random.default_rng(1).integers(-1000, 1000, TIMED)]
    rows = []
    for k in SHIFTS:
        row: Row = {"k": k, "none_ulp": _whole(k), "k_ulp": _settled(k, k), "k8_ulp": _settled(k, k + GUARD)}
        row["ns"] = _update_ns(Ew(k).push, values, TIMED)
        row["river_ns"] = None
        if not absent("river", "river"):
            from river import stats

            peer = stats.EWVar(fading_factor=2.0**-k)
            row["river_ns"] = _update_ns(peer.update, map(float, values), TIMED)
        rows.append(row)
    return rows


def grubbs_rows(trials: int) -> list[Row]:
    """Decisions of Grubbs' test beside those with SciPy's quantiles, by size; needs SciPy."""
    from scipy.stats import t as student

    rng = np.random.default_rng(2)
    rows = []
    for low, high in ((3, 9), (10, 39), (40, 130)):
        differ = found = 0
        for _ in range(trials // 3):
            n = int(rng.integers(low, high + 1))
            x = np.round(rng.normal(0, 6000, n) + (rng.random(n) < 0.03) * rng.normal(0, 40_000, n))
            quantile = float(student.isf(0.01 / (2 * n), n - 2))
            limit = (n - 1) / n**0.5 * (quantile**2 / (n - 2 + quantile**2)) ** 0.5
            theirs = bool(np.abs(x - x.mean()).max() > limit * x.std(ddof=1))
            found += theirs
            differ += (outliers.grubbs([int(value) for value in x]) >= 0) != theirs
        rows.append({"from": low, "to": high, "samples": trials // 3, "outliers": found, "differ": differ})
    return rows


def _mad(values: list[int]) -> list[int]:
    x = np.array(values)
    middle = np.median(x)
    far = np.abs(x - middle) > MAD_LIMIT * 1.4826 * np.median(np.abs(x - middle))
    return [int(i) for i in np.flatnonzero(far)]


def masking_rows(seeds: int) -> list[Row]:
    """Who finds boards that agree on a value 5 deviations off: share found, honest boards flagged in a test."""
    tests: dict[str, Callable[[list[int]], list[int]]] = {
        "Grubbs": lambda values: [i for i in (outliers.grubbs(values),) if i >= 0],
        "generalised ESD": lambda values: outliers.generalized_esd(values, MOST),
        "median and MAD, 3.5": _mad,
    }
    rows = []
    for colluders in (0, *COLLUDERS):
        sums = {name: [0.0, 0.0] for name in tests}
        for seed in range(seeds):
            x = np.random.default_rng([seed, colluders]).standard_normal(BOARDS)
            x[:colluders] = SIGMAS
            values = [int(value) for value in np.round(x * ONE)]
            for name, test in tests.items():
                flagged = test(values)
                sums[name][0] += sum(i < colluders for i in flagged) / max(colluders, 1) / seeds
                sums[name][1] += sum(i >= colluders for i in flagged) / seeds
        for name, (found, honest) in sums.items():
            row = {"colluders": colluders, "test": name, "seeds": seeds, "honest": honest}
            rows.append(row | {"found": found if colluders else None})
    return rows


def run(results: dict[str, Any], points: int, say: Say) -> None:
    """Measure all of it into `results`; what lacks a package is skipped with the reason."""
    for name, package in (("river", "river"), ("SciPy", "scipy")):
        if reason := absent(package, package):
            results["skipped"].append({"peer": name, "reason": reason})
    say("Welford")
    results["moments"] += moment_rows(points)
    say("forgetting means")
    results["bias"] += bias_rows()
    say("outliers")
    if not absent("scipy", "scipy"):
        results["grubbs"] += grubbs_rows(points // 20)
    results["masking"] += masking_rows(max(SEEDS * points // 1_000_000, 20))
