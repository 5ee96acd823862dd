"""RV32 instructions of the numeric kernels, for `qres bench numerics --chip`: `python tools/chip_numerics.py OUT.json`.

The machine code that goes onto the chip runs in the emulator of tests/rv32.py (needs unicorn); each row is the mean
over random arguments. Calls of runtime functions (conversions, division) are counted apart.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qres.elementary import EXP, EXPS, SIGMOID, TANH
from qres.ew import GUARD
from qres.moments import WORDS

RUNS = 100
Call = tuple[str, str, str, tuple[Any, ...]]  # what a row is called, module, kernel, arguments


def calls(source: random.Random) -> Iterator[Call]:
    """One call of every row, with arguments made anew."""

    def numbers(count: int, high: int) -> array[int]:
        return array("i", [source.randrange(-400_000, high) for _ in range(count)])

    for name, kind, high in (("exp", EXP, 1), ("sigmoid", SIGMOID, 400_000), ("tanh", TANH, 400_000)):
        for count in (1, 16):
            yield f"{name} of {count}", "elementary", "activate", (0, 0, 0, kind, count, numbers(count, high), EXPS)
    for count in (4, 16):
        yield f"softmax of {count}", "elementary", "shares", (0, 0, 0, count, numbers(count, 400_000), EXPS)
    mean = array("i", [source.randrange(-1000, 1000), source.randrange(1 << 6 + GUARD)])
    yield "forgetting mean, a sample", "ew", "ew_step", (source.randrange(-1000, 1000), 0, 0, 6, 6 + GUARD, mean)
    for name, size in (("small", 1 << 14), ("large", 1 << 28)):
        sums = array("i", [1, 0] + [0] * (WORDS - 2))
        yield f"moments in words, a {name} sample", "moments", "add_sample", (source.randrange(-size, size), 0, 0, sums)


def main() -> None:
    """Count, print and write."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    rv32 = importlib.import_module("rv32")
    source = random.Random(6)
    counts: dict[str, list[int]] = {}
    for _ in range(RUNS):
        for name, module, kernel, arguments in calls(source):
            function = rv32.load(module)[kernel]
            function(*arguments)
            total = counts.setdefault(name, [0, 0])
            total[0] += function.instructions
            total[1] += function.helpers
    rows = [{"coder": name, "instructions": n / RUNS, "helpers": h / RUNS} for name, (n, h) in counts.items()]
    for row in rows:
        print(f"{row['coder']:32} {row['instructions']:8,.0f} instructions {row['helpers']:5,.0f} helpers")
    Path(sys.argv[1]).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
