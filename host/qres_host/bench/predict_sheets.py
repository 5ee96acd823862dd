"""The results of `qres bench predict` as tables and goals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from qres_host.bench.predict_sets import SHARED
from qres_host.bench.sheet import NONE, Goal, Sheet, goal_sheet, number, skipped_sheet

Results = dict[str, Any]
OURS = tuple(f"qres {name}" for name in ("persistence", "linear", "rls", "taaf", "lstm", "mix"))
NOTES = {
    "error": (
        "Root mean square error of one step ahead over that of the last value, mean over the channels that moved; "
        "second half of each recording. Qres, river and RLS learn online from the first row on and never see the "
        "future; AR, VAR and the float LSTM are fitted on the first half. All get the last four changes; recordings "
        "are cut at 12,000 rows and 15 channels, and peers get missing values held. Star: not looked at while "
        "parameters were chosen."
    ),
    "means": (
        "Means of the table below over groups of recordings: the reference's are those of its six that are at hand; "
        "not seen: not looked at while parameters were chosen. Worst: the greatest ratio of a recording. "
        "Microseconds a row on this machine."
    ),
    "gate": (
        "Mean over the recordings with several channels: cross-modal multiplications that the spike gate skipped, at "
        "all times, calm or not; error with the gate, with every innovation attended to, and with none."
    ),
    "state": "Bytes of weights (32 bits each, a cell's 8) / of state in a snapshot, after 3,000 rows of a walk.",
    "chip": (
        "RISC-V instructions a sample of four channels (or as many as are named) of the machine code that goes onto "
        "the chip, predicting and learning, the linear layer included; counted in an emulator. The bytecode around the "
        "kernels and the runtime's functions are not in them."
    ),
}
_WILD = 10  # times the error of the last value: it diverged


def sheets(results: Results) -> list[Sheet]:
    """Every table."""
    return [
        goal_sheet(goals(results)),
        *_errors(results),
        _gate(results),
        _state(results),
        _chip(results),
        skipped_sheet(results["skipped"], "model"),
    ]


def shown(ratio: float | None, digits: int) -> str:
    """A ratio, or that the model diverged."""
    return "diverges" if ratio is not None and ratio > _WILD else number(ratio, digits)


def ratios(results: Results, model: str, sets: Iterable[str] | None = None) -> dict[str, float]:
    """Ratio by recording, of all or of those that were run among `sets`."""
    wanted = None if sets is None else set(sets)
    return {
        row["set"]: row["ratio"]
        for row in results["models"]
        if row["model"] == model and row["ratio"] is not None and (wanted is None or row["set"] in wanted)
    }


def mean(results: Results, model: str, sets: Iterable[str] | None = None) -> float | None:
    """Mean ratio; None when nothing was measured."""
    found = ratios(results, model, sets).values()
    return sum(found) / len(found) if found else None


def _better(results: Results, model: str, other: str, sets: Iterable[str] | None) -> float | None:
    a, b = mean(results, model, sets), mean(results, other, sets)
    return None if a is None or b is None else 100 * (1 - a / b)


def _several(results: Results) -> list[str]:
    return [one["set"] for one in results["sets"] if one["channels"] > 1]


def _skipped_percent(results: Results) -> float | None:
    found = [100 - row["crossed_percent"] for row in results["models"] if "crossed_percent" in row]
    return sum(found) / len(found) if found else None


def goals(results: Results) -> Iterator[Goal]:
    """What was wanted; the means are over those of the reference's six sets that are at hand."""
    shared = [one["set"] for one in results["sets"] if one["set"] in SHARED]
    note = ", ".join(shared)
    yield Goal("mix: error over the last value's, mean", 0.90, mean(results, "qres mix", shared), "", False, note)
    every = ratios(results, "qres mix")
    worst = max(every, key=lambda name: every[name], default=None)
    yield Goal("mix: on every recording", 1.0, every[worst] if worst else None, "", False, worst or "")
    pairs = (("taaf", "linear", 3.6), ("taaf", "rls", 1.0), ("lstm", "linear", 0.0))
    for name, other, wanted in pairs:
        value = _better(results, f"qres {name}", f"qres {other}", shared)
        yield Goal(f"{name}: less error than {other}", wanted, value, "%", True, note)
    yield Goal("spike gate: cross-modal multiplications skipped", 60, _skipped_percent(results), "%")
    several = _several(results)
    cost = _better(results, "qres taaf always", "qres taaf", several)
    yield Goal("spike gate: error added", 0.1, cost, "%", False)
    chip = {row["coder"]: row["instructions"] for row in results["rv32"]}
    for name, of, limit in (("linear of 1", "one channel", 4000), ("taaf", "four channels", 15000)):
        said = f"{name.partition(' ')[0]}: instructions a sample of {of}"
        yield Goal(said, limit, chip.get(name), "", False)
    for name, limit in (("linear", 256), ("lstm", 8192)):
        sizes = [row["weight_bytes"] for row in results["state"] if row["model"] == name]
        yield Goal(f"{name}: weights", limit, max(sizes, default=None), "bytes", False, "of up to 9 channels")


def _errors(results: Results) -> list[Sheet]:
    models = list(dict.fromkeys(row["model"] for row in results["models"]))
    plain = [name for name in OURS if name in models]
    others = [name for name in models if not name.startswith("qres")]
    rows = []
    for one in results["sets"]:
        name = one["set"] + ("" if one["seen"] else " *")
        cells = [shown(ratios(results, model).get(one["set"]), 3) for model in (*plain[1:], *others)]
        rows.append((name, str(one["channels"]), *cells))
    head = ("recording", "channels", *(name.removeprefix("qres ") for name in plain[1:]), *others)
    groups = {
        "the reference's": [one["set"] for one in results["sets"] if one["set"] in SHARED],
        "seen": [one["set"] for one in results["sets"] if one["seen"]],
        "not seen": [one["set"] for one in results["sets"] if not one["seen"]],
    }
    summary = []
    for model in (*plain, *others):
        found = ratios(results, model)
        times = [row["us_per_row"] for row in results["models"] if row["model"] == model]
        worst = max(found.values(), default=None)
        means = [shown(mean(results, model, names), 4) for names in groups.values()]
        summary.append((model, *means, shown(worst, 3), number(sum(times) / len(times), 0)))
    short = ("model", *groups, "worst", "µs a row")
    return [
        Sheet("means", "Error over that of the last value", NOTES["means"], short, summary),
        Sheet("error", "By recording", NOTES["error"], head, rows),
    ]


def _gate(results: Results) -> Sheet:
    several = _several(results)
    rows = []
    if _skipped_percent(results) is not None:
        cells = [mean(results, f"qres {name}", several) for name in ("taaf", "taaf always", "taaf never")]
        rows = [(number(_skipped_percent(results), 1) + " %", *(number(cell, 4) for cell in cells))]
    head = ("multiplications skipped", "spike gate", "always attended", "never attended")
    return Sheet("gate", "The spike gate of taaf", NOTES["gate"], head, rows)


def _state(results: Results) -> Sheet:
    sizes = sorted({row["channels"] for row in results["state"]})
    cells = {(r["model"], r["channels"]): f"{r['weight_bytes']:,} / {r['state_bytes']:,}" for r in results["state"]}
    models = dict.fromkeys(row["model"] for row in results["state"])
    rows = [(model, *(cells.get((model, size), NONE) for size in sizes)) for model in models]
    head = ("predictor", *(f"{size} channels" if size > 1 else "1 channel" for size in sizes))
    return Sheet("state", "Weights and state", NOTES["state"], head, rows)


def _chip(results: Results) -> Sheet:
    rows = [
        (str(row["coder"]), f"{row['instructions']:,.0f}", f"{row.get('helpers', 0):,.0f}") for row in results["rv32"]
    ]
    return Sheet("rv32", "On the chip", NOTES["chip"], ("predictor", "instructions", "calls of the runtime"), rows)
