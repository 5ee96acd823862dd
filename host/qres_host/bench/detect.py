"""`qres bench detect`: alarms and regimes beside other detectors, on NAB, on SKAB and on simulated storms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from qres.detect import TUNING

from qres_host import detecting
from qres_host.bench import alarm_peers, nab, record, skab, splits, storms
from qres_host.bench.chip import chip_rows
from qres_host.bench.detect_sheets import sheets
from qres_host.bench.present import deliver, measuring, options

FILE = "detect.json"
PACKAGES = ("numpy", "numba", "river")
CANDIDATES = 400  # tunings drawn at random for the choice on part of the files
FOLDS = (2, 5)
_STEPS = 1 << 26  # of a file's largest distance from its first value
CHOICES: tuple[tuple[int, ...], ...] = (
    # of each word of TUNING; laid out after a search over all files, so that it is not free of them either
    (7, 8, 9, 10),
    (3, 4, 5, 6),
    (5, 6, 7, 8),
    (6, 7, 8, 9),
    (2, 3, 4),
    (7, 8, 9, 10),
    (6, 7, 8, 9),
    (2048, 4096, 8192),
    (4,),
    (4, 6, 8),
    (1, 2, 3, 4),
    (0, 10, 20),
    (6, 8, 12),
    (2, 3, 4, 6),
)
EXAMPLE = """\b
Examples:
  qres bench detect                            storms on simulated noise alone
  qres bench detect --data data/               and data/nab, data/skab, where they are
  qres bench detect --data data/ --quick --json
"""
Say = Callable[[str], None]
Row = dict[str, Any]
Floats = NDArray[np.float64]


def whole(x: Floats) -> NDArray[np.int32]:
    """A file's values as whole steps, of a power of two of the unit, that fit the boards' range."""
    reach = float(np.abs(x - x[0]).max())
    shift = min(int(np.floor(np.log2(_STEPS / reach))) if reach else 0, 10)
    return np.asarray(np.round(x * 2.0**shift).clip(-(2**31), 2**31 - 1), np.int32)[:, None]


def own_scores(x: Floats, tuning: tuple[int, ...]) -> Floats:
    """The score of the default profile at every sample."""
    rows = whole(x)
    score = detecting.scores(rows, np.ones(rows.shape, bool), tuning)[0][:, 0]
    return score.astype(np.float64) / 256


def entered_storm(x: Floats, profile: str) -> Floats:
    """1 at the samples at which a profile's regime becomes Storm; the seed's full scale is that of the probation."""
    rows = whole(x)
    head = rows[: min(len(x) * 15 // 100, 750)].astype(np.int64)
    regime = detecting.run(rows, profile=profile, full_scale=[max(int(np.ptp(head)), 1)]).regime
    entered = np.flatnonzero((regime == 2) & (np.diff(regime, prepend=0) != 0))
    out = np.zeros(len(x))
    out[entered] = 1.0
    return out


def candidates(count: int) -> list[tuple[int, ...]]:
    """Random tunings out of CHOICES."""
    rng = np.random.default_rng(3)
    return [tuple(int(rng.choice(choice)) for choice in CHOICES) for _ in range(count)]


def detectors(count: int) -> Iterator[tuple[str, list[alarm_peers.Method]]]:
    """Name and candidates of everything that is compared on NAB."""
    yield "qres default", [partial(own_scores, tuning=tuning) for tuning in candidates(count)]
    yield "qres default, Storm", [lambda x: entered_storm(x, "default")]
    yield "qres seed, Storm", [lambda x: entered_storm(x, "seed")]
    yield from alarm_peers.methods()


def nab_rows(files: list[nab.File], count: int, say: Say) -> Iterator[Row]:
    """Every detector with parameters and threshold chosen on part of the files and scored on the others."""
    for name, methods in detectors(count):
        say(f"NAB: {name}")
        try:
            tables = [nab.table(files, [method(file.x) for file in files]) for method in methods]
        except ImportError as error:
            yield {"detector": name, "error": f"{error.name} is not installed"}
            continue
        row: Row = {"detector": name, "candidates": len(methods)}
        for folds in FOLDS:
            held = splits.held_out(files, tables, folds)
            row[f"held_{folds}"], row[f"deviation_{folds}"] = held.score, held.deviation
            row[f"found_{folds}"], row[f"false_{folds}"] = held.found, held.false_a_day
        limited = splits.held_out(files, tables, FOLDS[-1], limited=True)
        row["limited_found"], row["limited_false"], row["limited_score"] = (
            limited.found,
            limited.false_a_day,
            limited.score,
        )
        i, k = splits.chosen(tables, np.arange(len(files)))
        row["in_sample"] = splits.at_threshold(files, tables[i], float(nab.THRESHOLDS[k]))["score"]
        yield row


def shipped_row(files: list[nab.File]) -> Row:
    """The default profile as boards run it; its parameters were chosen on these very files."""
    table = nab.table(files, [own_scores(file.x, tuple(TUNING)) for file in files])
    return {"detector": "qres default, as shipped"} | splits.at_threshold(files, table, detecting.threshold(1))


def run(results: dict[str, Any], data: Path | None, quick: bool, say: Say) -> None:
    """Measure all parts into `results`; `say` tells what runs now."""
    seeds = 10 if quick else storms.SEEDS
    if data and (data / "nab").is_dir():
        files = nab.load(data / "nab")
        results["corpus"] = [
            {"files": len(files), "windows": sum(f.windows for f in files), "days": sum(f.days for f in files)}
        ]
        results["scorer"] += nab.reproduced(files)
        results["shipped"].append(shipped_row(files))
        for row in nab_rows(files, 20 if quick else CANDIDATES, say):
            results["nab"].append(row)
        keys = ("detector", "score", "source", "points")
        results["published"] += [dict(zip(keys, row, strict=True)) for row in nab.PUBLISHED]
    else:
        results["skipped"].append({"part": "NAB", "reason": "no folder nab in --data"})
    if data and (data / "skab").is_dir():
        say("SKAB")
        results["skab"] += skab.rows(skab.load(data / "skab"))
    else:
        results["skipped"].append({"part": "SKAB", "reason": "no folder skab in --data"})
    for part, rows in (("quiet", storms.quiet_rows), ("storms", storms.storm_rows), ("shapes", storms.shape_rows)):
        say(f"simulated noise: {part}")
        for row in rows(seeds):
            results[part].append(row)
    record.finish(results)


def start() -> dict[str, Any]:
    """Nothing measured yet."""
    parts = ("corpus", "scorer", "shipped", "nab", "published", "skab", "quiet", "storms", "shapes", "rv32")
    return record.start(PACKAGES) | {part: [] for part in parts}


@click.command(name="detect", epilog=EXAMPLE)
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds nab/ and skab/ in their own layout.")
@click.option("--chip", type=click.Path(path_type=Path), help="JSON rows of RV32 instructions a sample, shown too.")
@options("Fewer seeds and candidates: under a minute.", FILE)
def command(data: Path | None, quick: bool, out: Path | None, chip: Path | None, as_json: bool) -> int:
    """Alarms and regimes beside other detectors: NAB's score on held-out files, SKAB, simulated storms.

    Parameters and thresholds are chosen on part of the files and reported on the rest. Ctrl-C ends the run and shows
    what was measured so far.
    """
    results = start()
    results["rv32"] = chip_rows(chip) if chip else []
    with measuring() as say:
        run(results, data, quick, say)
    failures = [f"{row['detector']}: {row['error']}" for row in results["nab"] if "error" in row]
    return deliver(results, sheets(results), failures, out, FILE, as_json)
