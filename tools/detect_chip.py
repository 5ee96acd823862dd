"""RV32 instructions a sample of detection, for `qres bench detect --chip`: `python tools/detect_chip.py OUT.json`.

The machine code that goes onto the chip judges a signal in the emulator of tests/rv32.py (needs unicorn). Calls of
runtime functions (conversions, division) are counted apart.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from array import array
from pathlib import Path
from typing import Any

from qres.detect import TUNING, WORDS, WORK
from qres.regime import Machine

SAMPLES = 3000
SETTLED = 1000  # samples before those that count


def counted(calls: dict[str, list[int]], name: str, kernel: Any, arguments: tuple[Any, ...], keep: bool) -> int:
    """Run a kernel; what it took is added to `calls`[name] when `keep`."""
    result: int = kernel(*arguments)
    if keep:
        for i, value in enumerate((kernel.instructions, kernel.helpers, 1)):
            calls.setdefault(name, [0, 0, 0])[i] += value
    return result


def main() -> None:
    """Count, print and write."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    rv32 = importlib.import_module("rv32")
    detect, joint, regime = rv32.load("detect"), rv32.load("joint"), rv32.load("regime")
    machine = Machine("default")
    source = random.Random(4)
    calls: dict[str, list[int]] = {}
    state, work, spikes = array("i", [0] * WORDS), array("i", [0] * WORK), array("i", [0] * 3)
    channel, x = array("i", [0] * 7), 0
    for t in range(SAMPLES):
        change = int(source.gauss(0, 20))
        x = int(0.95 * x) + change
        keep = t >= SETTLED
        counted(calls, "detect: score of a value", detect["observe"], (x, 0, state, TUNING, work), keep)
        rules = (0, 0, 0, 1000 + t % 3, machine.literal, machine.rows, machine.words, machine.table)
        counted(calls, "regime: step of a node", regime["step"], rules, keep)
        counted(calls, "spike of a residual", detect["surprise"], (change, 0, 0, 100, 0, spikes), keep)
        distance = counted(calls, "joint T², distance", joint["distance"], (x, 0, 0, 10, 0, 0, channel), keep)
        counted(calls, "joint T², square", joint["square"], (distance, 0, 0, 10, 0, 0, channel), keep)
    rows = [{"coder": name, "instructions": n / c, "helpers": h / c} for name, (n, h, c) in calls.items()]
    for row in rows:
        print(f"{row['coder']:32} {row['instructions']:8,.0f} instructions {row['helpers']:5,.0f} helpers")
    Path(sys.argv[1]).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
