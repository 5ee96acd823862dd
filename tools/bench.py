"""Size and speed of the codec on the weather that the project carries, beside a peer measured in the same run.

    python tools/bench.py [--json]

The peer is zlib (level 9) on the same steps as little-endian int32, packet by packet: each must decode on its own, and
both get the steps that fit into one radio frame of QRES. Speeds are those of this machine; compare ratios.

Then, for every kernel, the RV32 instructions of the chip's machine code on the cases of its test (mean and most), and
how often it calls the runtime's helpers, which are not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qres.codec import decode
from qres.encoder import CODERS, Encoder
from qres.packet import PAYLOAD_MAX
from qres_host.virtual.playback import make_weather

BOARDS = 15
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
    given = parser.parse_args()
    for found in [*map(measure, range(len(CODERS))), *rv32_instructions()]:
        if given.json:
            print(json.dumps(found))
            continue
        print("  ".join(f"{name} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
