"""RV32 instructions a sample of each predictor, for `qres bench predict --chip`.

    python tools/predict_chip.py chip.json

The machine code that goes onto the chip predicts and learns recorded weather in the emulator: temperature, dew point,
humidity and wind of one station, after 300 rows of learning elsewhere. What runs as bytecode around the kernels is not
counted. `linear of 1` is a single channel.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qres import predict
from qres_host.predicting import KERNELS, ORDER, RATE, run
from qres_host.virtual.playback import make_weather

CHANNELS = ("temp", "dewp", "humid", "wind_speed")
LEARNED = 300
ROWS = 24


@contextmanager
def emulated() -> Iterator[list[int]]:
    """Let the chip's machine code do the kernels' work; its instructions and calls of the runtime, summed."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    rv32 = importlib.import_module("rv32")
    counts = [0, 0]

    def counting(kernel: Any) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            result: int = kernel(*arguments)
            counts[0] += kernel.instructions
            counts[1] += kernel.helpers
            return result

        return call

    places = []
    for owner in KERNELS:
        plain, machine = vars(importlib.import_module("qres." + owner)), rv32.load(owner)
        for name, module in sorted(sys.modules.items()):
            if name.startswith(("qres.predict.", "qres.standard")):
                found = [(module, key, value) for key, value in vars(module).items() if key in machine]
                places += [(*place, machine[place[1]]) for place in found if place[2] is plain[place[1]]]
    for module, key, _, kernel in places:
        setattr(module, key, counting(kernel))
    try:
        yield counts
    finally:
        for module, key, value, _ in places:
            setattr(module, key, value)


def row(name: str, channels: tuple[str, ...]) -> dict[str, Any]:
    """What a sample of all channels costs."""
    weather = make_weather(1, channels)[0]
    x, missing = weather.values[: LEARNED + ROWS], weather.missing[: LEARNED + ROWS]
    predictor = run(x[:LEARNED], name, missing=missing[:LEARNED], order=ORDER, rate=RATE).predictor
    with emulated() as counts:
        for values, gone in zip(x[LEARNED:].tolist(), missing[LEARNED:].tolist(), strict=True):
            predictor.predict()
            predictor.update([None if lost else value for value, lost in zip(values, gone, strict=True)])
    return {
        "coder": name if len(channels) == len(CHANNELS) else f"{name} of {len(channels)}",
        "instructions": counts[0] / ROWS,
        "helpers": counts[1] / ROWS,
    }


def main() -> None:
    """Write the rows to a file and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="FILE")
    given = parser.parse_args()
    rows = [row("linear", CHANNELS[:1]), *(row(name, CHANNELS) for name in predict.NAMES)]
    given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for one in rows:
        print(f"{one['coder']:12} {one['instructions']:8,.0f} instructions {one['helpers']:5,.0f} calls of the runtime")


if __name__ == "__main__":
    main()
