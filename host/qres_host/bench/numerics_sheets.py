"""The results of `qres bench numerics` as tables and goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qres_host.bench.sheet import NONE, Goal, Sheet, goal_sheet, number, skipped_sheet

Results = dict[str, Any]
ULP_MAX = {"exp": 0.51, "sigmoid": 0.51, "tanh": 0.51, "softmax": 1.0}
EXACT = ("mul", "div", "isqrt")
FINE_ULP = 64  # deviation from which the variance must be right
NOTES = {
    "functions": (
        "Greatest error in units of the last place (1/65536; of isqrt 1), against whole numbers with 192 fractional "
        "bits. All inputs: every magnitude up to 20, both signs; beyond nothing changes. Wrong: results that do not "
        "sum to 65536 (softmax) or are not rounded down (mul, isqrt) or toward zero (div), at random sizes and around "
        "squares. Nanoseconds a value on this machine; exp to softmax as Numba compiles the kernels, the others plain "
        "Python."
    ),
    "moments": (
        "Error after so many samples against fractions of whole numbers: of the mean in 1/65536, of the variance "
        "relative. In words: sums in 32-bit words, as kernels keep them. Textbook: Welford's update with each number "
        "in Q16.16. Nanoseconds a sample, plain Python and, in words, a call of a compiled kernel."
    ),
    "bias": (
        "A mean that moves 2^-k of the way to each sample and comes from below: how far below a constant it stays, in "
        "units of the sample. Whole: the difference is shifted and added. Nanoseconds of an update of mean and "
        "variance, beside river's EWVar."
    ),
    "grubbs": (
        "Random samples, some with outliers: decisions that differ from those with SciPy's quantiles of Student's t."
    ),
    "masking": (
        "100 values of a normal distribution, of which some say the same, 5 deviations off: share of them that is "
        "found / honest ones flagged a test, mean over the seeds. At most 30 are looked for."
    ),
    "chip": (
        "RISC-V instructions a call of the machine code that goes onto the chip, counted in an emulator; the calls of "
        "runtime functions (conversions, division) are not in them."
    ),
}


def sheets(results: Results) -> list[Sheet]:
    """Every table that has rows."""
    made = (functions_sheet, moments_sheet, bias_sheet, grubbs_sheet, masking_sheet, chip_sheet)
    found = [goal_sheet(goals(results)), *(make(results) for make in made), skipped_sheet(results["skipped"], "peer")]
    return [sheet for sheet in found if sheet.rows]


def goals(results: Results) -> Iterator[Goal]:
    """What the numbers must keep to, and what was measured."""
    functions = {row["function"]: row for row in results["functions"]}
    for name, limit in ULP_MAX.items():
        value = functions[name]["worst_ulp"] if name in functions else None
        yield Goal(f"{name}: greatest error", limit, value, "ulp", False)
    wrong = [functions[name]["wrong"] for name in (*EXACT, "softmax") if name in functions]
    yield Goal("mul, div, isqrt, sums of softmax: wrong results", 0, sum(wrong) if wrong else None, "", False)
    for form in ("qres exact", "qres in words"):
        rows = [row for row in results["moments"] if row["form"] == form and row["deviation_ulp"] >= FINE_ULP]
        worst = max((row["variance_error"] for row in rows), default=None)
        yield Goal(f"variance, {form}: relative error", 1e-6, worst, "", False)
    bias = max((row["k8_ulp"] for row in results["bias"]), default=None)
    yield Goal("forgetting mean with k + 8 bits: bias", 1 / 256, bias, "ulp", False)
    differ = [row["differ"] for row in results["grubbs"]]
    yield Goal("Grubbs: decisions other than SciPy's", 0, sum(differ) if differ else None, "", False)
    found = [row["found"] for row in results["masking"] if row["colluders"] == 5 and row["test"] == "generalised ESD"]
    yield Goal("generalised ESD: of 5 colluders of 100 found", 99, 100 * found[0] if found else None, "%")


def functions_sheet(results: Results) -> Sheet:
    """Error and speed of each function."""
    rows = []
    for row in results["functions"]:
        points = f"all {row['points']:,}" if row["all"] else f"{row['points']:,}"
        wrong = NONE if row["wrong"] is None else str(row["wrong"])
        times = (number(row["ns"], 1), f"{row['peer']} {row['peer_ns']:.1f}")
        rows.append((row["function"], points, number(row["worst_ulp"], 4), wrong, *times))
    head = ("function", "inputs", "greatest error, ulp", "wrong", "ns", "peer, ns")
    return Sheet("functions", "Functions", NOTES["functions"], head, rows)


def moments_sheet(results: Results) -> Sheet:
    """Mean and variance of long streams."""
    rows = []
    for row in results["moments"]:
        errors = (f"{row['mean_error_ulp']:.2g}", f"{row['variance_error']:.2g}")
        rows.append((row["signal"], row["form"], f"{row['samples']:,}", *errors, number(row["ns"], 0)))
    head = ("signal", "form", "samples", "mean, ulp", "variance, relative", "ns")
    return Sheet("moments", "Mean and variance", NOTES["moments"], head, rows)


def bias_sheet(results: Results) -> Sheet:
    """What guard bits are for."""
    rows = []
    for row in results["bias"]:
        biases = (number(row["none_ulp"], 0), number(row["k_ulp"], 3), number(row["k8_ulp"], 4))
        rows.append((str(row["k"]), *biases, number(row["ns"], 0), number(row["river_ns"], 0)))
    head = ("k", "whole", "k bits", "k + 8 bits", "ns", "river, ns")
    return Sheet("bias", "Forgetting means", NOTES["bias"], head, rows)


def grubbs_sheet(results: Results) -> Sheet:
    """Agreement with SciPy."""
    rows = [
        (f"{row['from']} to {row['to']}", f"{row['samples']:,}", f"{row['outliers']:,}", str(row["differ"]))
        for row in results["grubbs"]
    ]
    head = ("values", "samples", "with an outlier", "decided differently")
    return Sheet("grubbs", "Grubbs' test", NOTES["grubbs"], head, rows)


def masking_sheet(results: Results) -> Sheet:
    """Colluders that hide each other."""
    tests = list(dict.fromkeys(row["test"] for row in results["masking"]))
    cells = {(row["colluders"], row["test"]): row for row in results["masking"]}
    rows = []
    for colluders in dict.fromkeys(row["colluders"] for row in results["masking"]):
        shown = []
        for test in tests:
            row = cells[colluders, test]
            share = NONE if row["found"] is None else f"{100 * row['found']:.0f} %"
            shown.append(f"{share} / {row['honest']:.2f}")
        rows.append((str(colluders), str(cells[colluders, tests[0]]["seeds"]), *shown))
    return Sheet("masking", "Outliers alike", NOTES["masking"], ("colluders", "seeds", *tests), rows)


def chip_sheet(results: Results) -> Sheet:
    """Instructions of the chip's machine code."""
    rows = [(row["coder"], number(row["instructions"], 0), number(row.get("helpers"), 0)) for row in results["rv32"]]
    return Sheet("rv32", "On the chip", NOTES["chip"], ("call", "instructions", "calls of the runtime"), rows)
