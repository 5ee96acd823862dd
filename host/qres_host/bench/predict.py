"""`qres bench predict`: one step ahead, online, beside float and offline models on the same recordings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from qres import predict as predictors
from qres.attention import INNOVATION_MAX
from qres.predict.taaf import Taaf
from qres.snapshot import Writer

from qres_host import predicting
from qres_host.bench import predict_peers, predict_sets, record
from qres_host.bench.chip import chip_rows
from qres_host.bench.predict_sets import Set
from qres_host.bench.predict_sheets import sheets
from qres_host.bench.present import deliver, measuring, options

FILE = "predict.json"
PACKAGES = ("numpy", "numba", "river", "torch")
QUICK_ROWS = 1_500
SIZES = (1, 4, 6, 9)  # channels whose state is measured
EXAMPLE = """\b
Examples:
  qres bench predict                         the weather that the project carries
  qres bench predict --data recordings/      every .npz, .npy and .csv of a folder as well
  qres bench predict --quick --json          a few seconds, for programs
"""
Say = Callable[[str], None]
Row = dict[str, Any]


class Always(Taaf):
    """TAAF without its gate: every innovation is attended to."""

    def learn(self) -> None:
        """As Taaf, then all innovations count as spikes."""
        super().learn()
        for c, error in enumerate(self.errors):
            deviation = max(int((self.variances[c] >> 7) ** 0.5), 1)
            size = max(min(error * 256 // deviation, INNOVATION_MAX), -INNOVATION_MAX)
            self.z[c] = size if self.standard.y[c] > -INNOVATION_MAX * 16 else 0


class Never(Taaf):
    """TAAF without its cross-modal branch."""

    def learn(self) -> None:
        """As Taaf, then no innovation counts."""
        super().learn()
        for c in range(len(self.z)):
            self.z[c] = 0


class Counting(Taaf):
    """TAAF that counts the modalities whose cross-modal products were computed."""

    attended = 0

    def forecast(self) -> None:
        """As Taaf."""
        super().forecast()
        self.attended += self.spiking


VARIANTS = {"taaf always": Always, "taaf never": Never}


def ours(one: Set, name: str) -> tuple[Row, Any]:
    """One of the boards' predictors on a recording: its row, and the predictor afterwards."""
    channels = one.x.shape[1]
    kind = VARIANTS.get(name)
    predictor = kind(channels, predicting.ORDER, predicting.RATE) if kind else None
    if name == "taaf":
        predictor = Counting(channels, predicting.ORDER, predicting.RATE)
    start = time.perf_counter()
    result = predicting.run(one.x, name, missing=one.missing, predictor=predictor)
    spent = time.perf_counter() - start
    row = _row(one, "qres " + name, result.ahead, spent)
    if name == "taaf" and channels > 1:
        row["crossed_percent"] = 100 * result.predictor.attended / (len(one.x) * channels)
    return row, result.predictor


def _row(one: Set, model: str, ahead: Any, spent_s: float) -> Row:
    scores = predicting.score(one.x, ahead, one.missing, len(one.x) // 2)
    ratios = [score.ratio for score in scores if score.ratio is not None]
    return {
        "set": one.name,
        "model": model,
        "ratio": predicting.mean_ratio(scores),
        "worst_channel": max(ratios, default=None),
        "us_per_row": spent_s / len(one.x) * 1e6,
    }


def state_rows() -> list[Row]:
    """Bytes of the weights and of the snapshot of each predictor after 3,000 rows, by channels."""
    source = np.random.default_rng(2)
    steps = source.normal(0, 30, (3000, max(SIZES))) + source.normal(0, 30, (3000, 1))
    x = np.rint(steps.cumsum(0)).astype(np.int32)
    rows = []
    for name in predictors.NAMES:
        for channels in SIZES:
            predictor = predicting.run(x[:, :channels], name).predictor
            out = Writer()
            empty = len(out.data)
            out.fields(predictor)
            cell = len(getattr(predictor, "cell", b""))
            weights = 4 * len(predictor.weights()) + cell
            rows.append(
                {"model": name, "channels": channels, "weight_bytes": weights, "state_bytes": len(out.data) - empty}
            )
    return rows


def run(results: Row, found: list[Set], say: Say) -> None:
    """Measure everything; rows go into `results` as they are found."""
    others, skipped = predict_peers.peers()
    results["skipped"] += skipped
    for one in found:
        about = {"set": one.name, "rows": len(one.x), "channels": one.x.shape[1], "seen": one.seen}
        results["sets"].append(about | {"missing": int(one.missing.sum())})
        for name in (*predictors.NAMES, *VARIANTS):
            say(f"{one.name}: {name}")
            results["models"].append(ours(one, name)[0])
        filled = one.filled().astype(np.float64)
        for name, predict in others.items():
            say(f"{one.name}: {name}")
            start = time.perf_counter()
            with np.errstate(all="ignore"):
                ahead = predict(filled)
            results["models"].append(_row(one, name, ahead, time.perf_counter() - start))
    say("state")
    results["state"] = state_rows()
    record.finish(results)


@click.command(epilog=EXAMPLE)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with recordings, beside the carried weather.")
@click.option("--sets", "names", multiple=True, metavar="NAME", help="Only these recordings; may be repeated.")
@click.option("--chip", type=click.Path(path_type=Path), help="JSON rows of RV32 instructions a sample, shown too.")
@options("The first rows of each: a few seconds.", FILE)
def command(
    data: Path | None, names: tuple[str, ...], quick: bool, out: Path | None, chip: Path | None, as_json: bool
) -> int:
    """Root mean square error of one step ahead over that of the last value, on the second half of each recording.

    Online models learn from the first row on, offline ones from the first half. Ctrl-C ends the run and shows what was
    measured so far.
    """
    results = record.start(PACKAGES)
    results |= {"sets": [], "models": [], "state": [], "rv32": chip_rows(chip) if chip else []}
    found, skipped = predict_sets.load(data, names)
    results["skipped"] += skipped
    if quick:
        found = [one._replace(x=one.x[:QUICK_ROWS], missing=one.missing[:QUICK_ROWS]) for one in found]
    with measuring() as say:
        run(results, found, say)
    return deliver(results, sheets(results), [], out, FILE, as_json)
