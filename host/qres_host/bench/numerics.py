"""`qres bench numerics`: how exact the firmware's whole-number functions and statistics are, and what they cost."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from qres import fixed
from qres.elementary import EXP, EXPS, SHARES_MAX, SIGMOID, TANH

from qres_host import native
from qres_host.bench import exact, numerics_stats, record
from qres_host.bench.chip import chip_rows
from qres_host.bench.numerics_sheets import sheets
from qres_host.bench.present import deliver, measuring, options

FILE = "numerics.json"
PACKAGES = ("numpy", "numba", "scipy", "river")
POINTS = 1_000_000
QUICK = 50  # times fewer points
EXAMPLE = """\b
Examples:
  qres bench numerics                       about a minute
  qres bench numerics --quick --json        a few seconds, for programs
"""
Say = Callable[[str], None]
Row = dict[str, Any]
Ints = NDArray[np.int32]


def applied(kind: int, x: Ints) -> Ints:
    """The elementary function `kind` of every Q16.16 number, as the chip computes it."""
    values = np.ascontiguousarray(x, np.int32).copy()
    native.load("elementary").activate(0, 0, 0, kind, len(values), values, np.array(EXPS, np.int32))
    return values


def median_ns(work: Callable[[], object], count: int) -> float:
    """Nanoseconds for each of `count` values that `work` takes: the median of three runs after a first one."""
    work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / count * 1e9


def elementary_rows(points: int) -> list[Row]:
    """exp, sigmoid and tanh on every input that matters (or on `points` of them), beside NumPy's floats."""
    powers = exact.exponentials()
    step = max(1, len(powers) // points)
    t = np.arange(0, len(powers), step, dtype=np.int32)
    half = t[t <= exact.END // 2]
    e, squares = powers[::step], [powers[2 * int(i)] for i in half]
    sigmoids, tanhs = exact.sigmoids(e), exact.tanhs(squares)
    plans: tuple[tuple[str, int, Ints, list[int], Callable[[NDArray[Any]], object]], ...] = (
        ("exp", EXP, -t, e, np.exp),
        ("sigmoid", SIGMOID, t, sigmoids, lambda x: 1 / (1 + np.exp(-x))),
        ("sigmoid", SIGMOID, -t, [exact.ONE - s for s in sigmoids], lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", TANH, half, tanhs, np.tanh),
        ("tanh", TANH, -half, [-s for s in tanhs], np.tanh),
    )
    found: dict[str, Row] = {}
    for name, kind, x, truth, peer in plans:
        worst = exact.worst_ulp(applied(kind, x).tolist(), truth)
        floats = x / 65536
        row = found.setdefault(name, {"function": name, "points": 0, "all": step == 1, "worst_ulp": 0.0, "wrong": None})
        row["points"] += len(x)
        row["worst_ulp"] = max(row["worst_ulp"], worst)
        row["ns"] = median_ns(lambda kind=kind, x=x: applied(kind, x), len(x))  # type: ignore[misc]
        row["peer_ns"] = median_ns(lambda peer=peer, floats=floats: peer(floats), len(x))  # type: ignore[misc]
        row["peer"] = "NumPy float64"
    return list(found.values())


def softmax_row(points: int) -> Row:
    """softmax of random vectors of 1 to 16 values; `wrong` counts those whose results do not sum to 65536."""
    powers, rng, table = exact.exponentials(), np.random.default_rng(4), np.array(EXPS, np.int32)
    shares = native.load("elementary").shares
    worst, wrong, count = 0.0, 0, 0
    while count < points:
        scale = 1 << int(rng.integers(4, 21))
        values = rng.integers(-scale, scale + 1, int(rng.integers(1, SHARES_MAX + 1)))
        made = values.astype(np.int32)
        shares(0, 0, 0, len(made), made, table)
        weights = [powers[d] if d <= exact.END else 0 for d in (int(values.max()) - values).tolist()]
        total = sum(weights)
        for share, weight in zip(made.tolist(), weights, strict=True):
            worst = max(worst, abs(share * total - (weight << 16)) / total)
        wrong += int(made.sum()) != 65536
        count += len(values)
    vector = rng.integers(-200_000, 200_000, SHARES_MAX).astype(np.int32)

    def ours() -> None:
        for _ in range(1000):
            shares(0, 0, 0, SHARES_MAX, vector.copy(), table)

    def floats() -> None:
        for _ in range(1000):
            weights = np.exp((vector - vector.max()) / 65536)
            weights /= weights.sum()

    row: Row = {"function": "softmax", "points": count, "all": False, "worst_ulp": worst, "wrong": wrong}
    row |= {"ns": median_ns(ours, 1000 * SHARES_MAX), "peer_ns": median_ns(floats, 1000 * SHARES_MAX)}
    return row | {"peer": "NumPy float64"}


def fixed_rows(points: int) -> list[Row]:
    """mul, div and isqrt at random and hard places; `wrong` counts results that are not those of their definition."""
    source = random.Random(5)
    pairs = []
    for _ in range(points):
        bits = source.randrange(1, 32)
        pairs.append((source.getrandbits(bits) - (1 << bits >> 1), source.getrandbits(31) - (1 << 30) or 1))
    squares = []
    for _ in range(points // 4):
        root = source.getrandbits(source.randrange(1, 33))
        squares += [root * root, root * root + 2 * root, max(root * root - 1, 0), source.getrandbits(64)]
    plans: tuple[tuple[str, tuple[int, float], Callable[[], object], Callable[[], object], str], ...] = (
        ("mul", _mul(pairs), lambda: [fixed.mul(a, b) for a, b in pairs], lambda: [a * b for a, b in pairs], "int *"),
        ("div", _div(pairs), lambda: [fixed.div(a, b) for a, b in pairs], lambda: [a // b for a, b in pairs], "int //"),
        (
            "isqrt",
            _isqrt(squares),
            lambda: [fixed.isqrt(v) for v in squares],
            lambda: [math.isqrt(v) for v in squares],
            "math.isqrt",
        ),
    )
    rows: list[Row] = []
    for name, (wrong, worst), ours, peer, said in plans:
        count = len(squares) if name == "isqrt" else len(pairs)
        row: Row = {"function": name, "points": count, "all": False, "worst_ulp": worst, "wrong": wrong}
        rows.append(row | {"ns": median_ns(ours, count), "peer_ns": median_ns(peer, count), "peer": said})
    return rows


def _clipped(value: int) -> bool:
    return value in (fixed.MAX32, fixed.MIN32)


def _mul(pairs: list[tuple[int, int]]) -> tuple[int, float]:
    """(products that are not rounded down, greatest rest in ulp); what saturates does not count."""
    rests = [a * b - (fixed.mul(a, b) << 16) for a, b in pairs if not _clipped(fixed.mul(a, b))]
    return sum(not 0 <= rest < 65536 for rest in rests), max(rests) / 65536


def _div(pairs: list[tuple[int, int]]) -> tuple[int, float]:
    """(quotients that are not rounded toward zero, greatest rest in ulp); what saturates does not count."""
    wrong, worst = 0, 0.0
    for a, b in pairs:
        quotient = fixed.div(a, b)
        if not _clipped(quotient):
            rest = abs(a << 16) - abs(quotient * b)
            wrong += not 0 <= rest < abs(b) or quotient * a * b < 0
            worst = max(worst, rest / abs(b))
    return wrong, worst


def _isqrt(values: list[int]) -> tuple[int, float]:
    """(roots that are not rounded down, greatest rest)."""
    roots = [(value, fixed.isqrt(value)) for value in values]
    wrong = sum(not root * root <= value < (root + 1) ** 2 for value, root in roots)
    return wrong, max((value - root * root) / (math.sqrt(value) + root) for value, root in roots if value)


def run(results: dict[str, Any], points: int, say: Say) -> None:
    """Measure all parts into `results`; `say` tells what runs now."""
    say("exp, sigmoid, tanh")
    results["functions"] += elementary_rows(points)
    say("softmax")
    results["functions"].append(softmax_row(points))
    say("mul, div, isqrt")
    results["functions"] += fixed_rows(points)
    numerics_stats.run(results, points, say)
    record.finish(results)


def start() -> dict[str, Any]:
    """Nothing measured yet."""
    parts = ("functions", "moments", "bias", "grubbs", "masking", "rv32")
    return record.start(PACKAGES) | {part: [] for part in parts}


@click.command(name="numerics", epilog=EXAMPLE)
@click.option("--chip", type=click.Path(path_type=Path), help="JSON rows of RV32 instructions a call, shown too.")
@options("Fewer points: a few seconds.", FILE)
def command(quick: bool, out: Path | None, chip: Path | None, as_json: bool) -> int:
    """Error, time and instructions of the whole-number functions and statistics beside float peers.

    Ctrl-C ends the run and shows what was measured so far.
    """
    results = start()
    results["rv32"] = chip_rows(chip) if chip else []
    with measuring() as say:
        run(results, POINTS // QUICK if quick else POINTS, say)
    return deliver(results, sheets(results), [], out, FILE, as_json)
