"""The results of `qres bench detect` as tables and goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qres_host.bench.nab import normalised
from qres_host.bench.sheet import NONE, Goal, Sheet, goal_sheet, number, skipped_sheet

Results = dict[str, Any]
OURS = "qres default"
NOTES = {
    "nab": (
        "NAB's standard score: 0 is silence, 100 perfect. Held out: parameters and threshold of every file "
        "were chosen on the other folds; mean and deviation of ten random foldings. Found: share of the "
        "labelled windows; false: alarms a day outside of them, both held out with five folds. Limited: the "
        "choice is what finds most windows, less 1/50 for each false alarm, with at most 0.11 false alarms a "
        "day on the files it sees; choosing by points instead finds fewer. In sample: chosen on all files, "
        "for comparison only. The candidates of qres are random tunings from ranges that were laid out after "
        "a search over all files, so its held-out figures are not wholly blind. Peers have a peak hold among "
        "their candidates. The shipped parameters were chosen on all these files: their score is in sample."
    ),
    "published": (
        "As their authors published them, on NAB's whole corpus (58 files) with thresholds optimised on it: "
        "not comparable to the held-out figures above. Last column: the published points of the 34 files at "
        "hand, normalised over their 50 windows."
    ),
    "scorer": (
        "Published scores of single files, of runs that hit one window and nothing outside: the difference of "
        "the nearest value that a detection in that window gets from this scorer. No other detector's rows "
        "are at hand to be scored anew."
    ),
    "skab": (
        "Threshold from the first 400 rows of each file, in which nothing happens, as all of qres; the rest "
        "is scored row by row. Of qres the joint T² has its parameters from a search over these files; their "
        "threshold is not."
    ),
    "quiet": (
        "Every rise to PreStorm or Storm in signals in which nothing happens, a thousand samples; 10,000 "
        "samples a seed."
    ),
    "storms": (
        "Storms of 26 samples: a ramp of six to ten standard deviations of the quiet signal, then shaking "
        "there. PreStorm: seen before the Storm. Delay in samples. The seed's own figures: 87 % Calm, storms "
        "of 12 minutes."
    ),
    "shapes": (
        "A spike of one sample must leave the board Calm, a burst of five must be a Storm within it, a ramp "
        "must be seen."
    ),
    "chip": (
        "RISC-V instructions a sample of one channel, counted while the machine code that goes onto the chip "
        "runs in an emulator; calls of runtime functions (conversions, division) are not in them. The regime "
        "machine is bytecode."
    ),
}


def sheets(results: Results) -> list[Sheet]:
    """Every table that has rows."""
    made = (nab_sheet, published_sheet, scorer_sheet, skab_sheet, quiet_sheet, storms_sheet, shapes_sheet, chip_sheet)
    found = [goal_sheet(goals(results)), *(make(results) for make in made), skipped_sheet(results["skipped"], "part")]
    return [sheet for sheet in found if sheet.rows]


def _only(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    return next((row for row in rows if all(row.get(k) == v for k, v in wanted.items())), {})


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def goals(results: Results) -> Iterator[Goal]:
    """What detection must reach, and what was measured."""
    own = _only(results["nab"], detector=OURS)
    yield Goal("NAB, held out, five folds", 60, own.get("held_5"), "")
    yield Goal("NAB, held out, two folds", 60, own.get("held_2"), "")
    yield Goal(
        "NAB, held out, choice limited to 0.11 false alarms a day: false alarms",
        0.11,
        own.get("limited_false"),
        "a day",
        False,
    )
    yield Goal("NAB, held out, limited: windows found", 78, _percent(own.get("limited_found")), "%")
    joint = _only(results["skab"], method="qres default, joint T²")
    yield Goal("SKAB, F1", 0.72, joint.get("f1"), "")
    yield Goal("SKAB, false-alarm rate", 20, _percent(joint.get("false_rate")), "%", False)
    quiet = [row for row in results["quiet"] if row["profile"] == "default"]
    bare, own_rate = sum(row["without"] for row in quiet), sum(row["with"] for row in quiet)
    yield Goal("fewer false transitions by hysteresis", 95, 100 * (1 - own_rate / bare) if bare else None, "%")
    for kind, words in (("normal", "normal noise"), ("", "the worst kind of noise")):
        seen = [row for row in results["storms"] if row["profile"] == "default" and kind in row["noise"]]
        yield Goal(f"PreStorm recall, {words}", 80, _percent(min((row["prestorm"] for row in seen), default=None)), "%")
        yield Goal(f"Storm recall, {words}", 95, _percent(min((row["storm"] for row in seen), default=None)), "%")
    shapes = [row["as_wanted"] for row in results["shapes"]]
    yield Goal("spikes, bursts and ramps as they must be", 100, _percent(min(shapes, default=None)), "%")
    chip = sum(row["instructions"] for row in results["rv32"] if not row["coder"].startswith("joint"))
    yield Goal("instructions a sample: score, spike and regime", 3000, chip or None, "", False)


def nab_sheet(results: Results) -> Sheet:
    """NAB beside the peers."""
    rows = []
    for row in results["nab"]:
        if "error" in row:
            rows.append((row["detector"], *[NONE] * 7))
            continue
        held = [f"{row[f'held_{n}']:.1f} ± {row[f'deviation_{n}']:.1f}" for n in (2, 5)]
        more = (
            f"{row['found_5']:.0%}",
            number(row["false_5"]),
            f"{row['limited_found']:.0%} / {row['limited_false']:.2f}",
        )
        rows.append((row["detector"], str(row["candidates"]), *held, *more, number(row["in_sample"], 1)))
    for row in results["shipped"]:
        rows.append(
            (
                row["detector"],
                "1",
                NONE,
                NONE,
                f"{row['found']:.0%}",
                number(row["false_a_day"]),
                NONE,
                number(row["score"], 1),
            )
        )
    head = (
        "detector",
        "candidates",
        "held out, 2 folds",
        "held out, 5 folds",
        "found",
        "false a day",
        "limited: found / false",
        "in sample",
    )
    return Sheet("nab", "Anomalies of single signals: NAB", NOTES["nab"], head, rows)


def published_sheet(results: Results) -> Sheet:
    """NAB's scoreboard."""
    windows = results["corpus"][0]["windows"] if results["corpus"] else 0
    rows = []
    for row in results["published"]:
        here = NONE if row["points"] is None or not windows else number(normalised(row["points"], windows), 1)
        rows.append((row["detector"], number(row["score"], 1), row["source"], here))
    return Sheet(
        "published",
        "NAB's published scores",
        NOTES["published"],
        ("detector", "whole corpus", "source", "files at hand"),
        rows,
    )


def scorer_sheet(results: Results) -> Sheet:
    """The scorer against published results."""
    rows = [(row["file"], f"{row['published']:.12f}", f"{row['error']:.0e}") for row in results["scorer"]]
    return Sheet("scorer", "The scorer", NOTES["scorer"], ("file", "published", "difference"), rows)


def skab_sheet(results: Results) -> Sheet:
    """SKAB."""
    rows = [
        (row["method"], number(row["f1"], 3), f"{row['false_rate']:.1%}", f"{row['missed_rate']:.1%}")
        for row in results["skab"]
    ]
    return Sheet(
        "skab", "Anomalies of eight signals: SKAB", NOTES["skab"], ("method", "F1", "false alarms", "missed"), rows
    )


def quiet_sheet(results: Results) -> Sheet:
    """False transitions."""
    rows = []
    for row in results["quiet"]:
        fewer = NONE if row["fewer"] is None else f"{row['fewer']:.1%}"
        rates = (number(row["with"], 3), number(row["without"], 3), fewer, f"{row['calm']:.1%}")
        rows.append((f"{row['noise']}, {row['profile']}", str(row["seeds"]), *rates))
    head = ("noise, profile", "seeds", "with hysteresis", "without", "fewer", "Calm")
    return Sheet("quiet", "False transitions", NOTES["quiet"], head, rows)


def storms_sheet(results: Results) -> Sheet:
    """Recall of the regimes."""
    rows = []
    for row in results["storms"]:
        recall = (f"{row['prestorm']:.1%}", f"{row['storm']:.1%}", number(row["delay"], 1))
        rows.append(
            (
                f"{row['noise']}, {row['profile']}",
                str(row["seeds"]),
                *recall,
                f"{row['calm']:.1%}",
                number(row["length"], 1),
            )
        )
    head = ("noise, profile", "seeds", "PreStorm", "Storm", "delay", "Calm", "Storm, samples")
    return Sheet("storms", "Storms", NOTES["storms"], head, rows)


def shapes_sheet(results: Results) -> Sheet:
    """Spikes, bursts, ramps."""
    rows = [(row["shape"], str(row["seeds"]), f"{row['as_wanted']:.0%}") for row in results["shapes"]]
    return Sheet("shapes", "Shapes", NOTES["shapes"], ("shape", "seeds", "as it must be"), rows)


def chip_sheet(results: Results) -> Sheet:
    """Instructions of the chip's machine code."""
    rows = [(row["coder"], number(row["instructions"], 0), number(row.get("helpers"), 0)) for row in results["rv32"]]
    return Sheet("rv32", "On the chip", NOTES["chip"], ("work", "instructions", "calls of the runtime"), rows)
