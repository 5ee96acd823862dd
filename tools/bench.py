"""Size and speed of the codec on the weather that the project carries, beside a peer measured in the same run.

    python tools/bench.py [--json]
    python tools/bench.py --chip chip.json [--data FOLDER]     instructions a sample, for `qres bench codec --chip`

The peer is zlib (level 9) on the same steps as little-endian int32, packet by packet: each must decode on its own, and
both get the steps that fit into one radio frame of QRES. Speeds are those of this machine; compare ratios.

Then, for every kernel, the RV32 instructions of the chip's machine code on the cases of its test (mean and most), and
how often it calls the runtime's helpers, which are not counted.

With --chip, packets of recordings (the carried weather, or those of a folder) are coded by the machine code in the
emulator: the mean instructions a value of predicting, coding and learning, order 8. What runs as bytecode (the bits of
rice, the loops around the kernels) is not in them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qres import cm, mixed, rice
from qres.codec import decode
from qres.encoder import CODERS, Encoder
from qres.packet import PAYLOAD_MAX
from qres_host import packets
from qres_host.bench.streams import Stream, carried, load
from qres_host.virtual.playback import make_weather

BOARDS = 15
ORDER = 8
STEPS = 25  # of each recording that the emulator codes, if they fit one packet
CALLED = (
    *((mixed, "predict"), (mixed, "learn"), (cm, "scale"), (cm, "symbol"), (mixed, "code"), (mixed, "code_bits")),
    *((rice, "settle"), (rice, "advance"), (rice, "put"), (rice, "put_residual")),
)
"""Kernels that bytecode calls, and the modules in whose names it does."""
Step = tuple[int | None, ...]


def streams() -> list[tuple[int, list[Step]]]:
    """Every board's recording: period in ms, and its steps."""
    found = []
    for recording in make_weather(BOARDS):
        rows = [
            tuple(None if gone else int(value) for value, gone in zip(values, missing, strict=True))
            for values, missing in zip(recording.values, recording.missing, strict=True)
        ]
        found.append((recording.period_ms, rows))
    return found


def pack(period_ms: int, rows: list[Step], coder: int) -> list[bytes]:
    """All packets of one stream, each filled as far as it goes, none starting from a model."""
    packets = []
    encoder = Encoder(len(rows[0]), coder, PAYLOAD_MAX, None)
    for index, row in enumerate(rows):
        if not encoder.add(index, row):
            packets.append(encoder.finish(period_ms, 0))
            encoder = Encoder(len(row), coder, PAYLOAD_MAX, None)
            encoder.add(index, row)
    return [*packets, encoder.finish(period_ms, 0)]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and how long it took in seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def measure(coder: int) -> dict[str, float | str | int]:
    """Pack, check and unpack everything with one coder and with the peer."""
    data = streams()
    packets, packing_s = timed(lambda: [pack(period, rows, coder) for period, rows in data])
    blocks, unpacking_s = timed(lambda: [[decode(packet, {}) for packet in stream] for stream in packets])
    for stream, (_, rows) in zip(blocks, data, strict=True):
        if [step for block in stream for step in block.steps] != rows:
            raise SystemExit("the decoded steps differ from the input")
    raw = [
        struct.pack(f"<{len(block.steps) * block.channels}i", *(v or 0 for step in block.steps for v in step))
        for stream in blocks
        for block in stream
    ]
    peer, peer_s = timed(lambda: [zlib.compress(part, 9) for part in raw])
    size = sum(len(packet) for stream in packets for packet in stream)
    return {
        "coder": CODERS[coder],
        "values": sum(len(part) for part in raw) // 4,
        "packets": len(raw),
        "bytes": size,
        "zlib_bytes": sum(map(len, peer)),
        "raw_bytes": sum(map(len, raw)),
        "size_over_zlib": round(size / sum(map(len, peer)), 3),
        "size_over_raw": round(size / sum(map(len, raw)), 3),
        "pack_time_over_zlib": round(packing_s / peer_s, 1),
        "unpack_time_over_zlib": round(unpacking_s / peer_s, 1),
    }


@contextmanager
def emulated() -> Iterator[dict[str, list[int]]]:
    """Let the chip's machine code do the kernels' work; for each, (instructions, calls of helpers, calls)."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    rv32 = importlib.import_module("rv32")
    machine = {
        name: kernel
        for module in ("forecast", "rangecoder", "cm", "golomb")
        for name, kernel in rv32.load(module).items()
    }
    counts: dict[str, list[int]] = {name: [0, 0, 0] for _, name in CALLED}

    def counting(name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            result: int = machine[name](*arguments)
            for i, value in enumerate((machine[name].instructions, machine[name].helpers, 1)):
                counts[name][i] += value
            return result

        return call

    plain = [(module, name, getattr(module, name)) for module, name in CALLED]
    for module, name, _ in plain:
        setattr(module, name, counting(name))
    try:
        yield counts
    finally:
        for module, name, kernel in plain:
            setattr(module, name, kernel)


def chip_row(coder: int, stream: Stream) -> dict[str, float | str | int]:
    """What a value of a recording costs on the chip, in a packet that starts from a model of what came before."""
    begin = len(stream.x) // 2
    encoder = Encoder(
        stream.x.shape[1], coder, PAYLOAD_MAX, packets.learn(stream.x[max(begin - 2000, 0) : begin], ORDER)
    )
    rows = [tuple(row) for row in stream.x[begin : begin + STEPS].tolist()]
    steps = 0
    with emulated() as counts:
        while steps < len(rows) and encoder.add(steps, rows[steps]):
            steps += 1
    learned = counts["learn"][2] + counts["advance"][2]
    instructions, helpers = (sum(count[i] for count in counts.values()) / learned for i in (0, 1))
    return {"coder": CODERS[coder], "stream": stream.name, "instructions": instructions, "helpers": helpers}


def chip_rows(streams: list[Stream]) -> list[dict[str, float | str | int]]:
    """For rice and cm the mean over recordings, then each of them."""
    rows: list[dict[str, float | str | int]] = []
    for coder in (CODERS.index("rice"), CODERS.index("cm")):
        each = [chip_row(coder, stream) for stream in streams]
        mean = {name: sum(float(row[name]) for row in each) / len(each) for name in ("instructions", "helpers")}
        rows += [{"coder": CODERS[coder], "stream": "all", **mean}, *each]
    return rows


def rv32_instructions() -> list[dict[str, float | str | int]]:
    """What each kernel costs on the chip; empty, with a note, without the emulator."""
    if importlib.util.find_spec("unicorn") is None:
        print("no RV32 instructions: the emulator unicorn is not installed", file=sys.stderr)
        return []
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    runs = importlib.import_module("kernel_runs")
    names = ("rv32_kernel", "mean", "most", "helper_calls")
    return [
        dict(zip(names, (f"{module}.{kernel}", *counts), strict=True))
        for module in runs.modules()
        for kernel, *counts in runs.instructions(module)
    ]


def main() -> None:
    """Print one line a coder, then one a kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--chip", type=Path, help="write instructions a sample to this file, and do nothing else")
    parser.add_argument("--data", type=Path, help="with --chip: a folder of recordings")
    given = parser.parse_args()
    if given.chip:
        rows = chip_rows(load(given.data) if given.data else carried())
        given.chip.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        for row in rows:
            counts = f"{row['instructions']:8,.0f} instructions {row['helpers']:5,.0f} helpers"
            print(f"{row['coder']:5} {row['stream']:20} {counts}")
        return
    for found in [*map(measure, range(len(CODERS))), *rv32_instructions()]:
        if given.json:
            print(json.dumps(found))
            continue
        print("  ".join(f"{name} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
