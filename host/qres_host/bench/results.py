"""What a run of `qres bench codec` found: rows of every part, kept as one JSON file, and means over them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypedDict

from qres_host.bench import record
from qres_host.bench.bounded import BoundedRow
from qres_host.bench.chip import ChipRow
from qres_host.bench.measure import Row
from qres_host.bench.packets import PacketRow
from qres_host.bench.speed import CallRow


class StreamRow(TypedDict):
    """A stream: its shape, and the order-0 entropy of its differences, which bounds codes of single differences."""

    stream: str
    rows: int
    channels: int
    delta_entropy_bits: float


class Results(TypedDict):
    """All parts of a run. `complete`: it was not ended early. `source_changed`: its rows are of different sources."""

    version: int
    complete: bool
    source_changed: bool
    environment: dict[str, str]
    streams: list[StreamRow]
    batch: list[Row]
    calls: list[CallRow]
    packets: list[PacketRow]
    bounded: list[BoundedRow]
    seed: list[Row]
    rv32: list[ChipRow]
    skipped: list[dict[str, str]]


def empty(environment: dict[str, str]) -> Results:
    """Nothing measured yet."""
    return {
        "version": record.VERSION,
        "complete": False,
        "source_changed": False,
        "environment": environment,
        "streams": [],
        "batch": [],
        "calls": [],
        "packets": [],
        "bounded": [],
        "seed": [],
        "rv32": [],
        "skipped": [],
    }


def load(path: Path) -> Results:
    """Read a results file of this bench; QresError when it is none."""
    found: Results = record.load(path)
    return found


def geometric_mean(values: list[float]) -> float | None:
    """The geometric mean of positive numbers; None of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def by_stream(rows: list[Row], coder: str) -> dict[str, float]:
    """Bits a sample of one coder on each stream where it succeeded."""
    return {row["stream"]: row["bits"] for row in rows if row["coder"] == coder and "error" not in row}


def mean_ratio(rows: list[Row], coder: str, other: str) -> float | None:
    """Geometric mean of bits of `coder` over bits of `other`, over the streams that both have."""
    ours, theirs = by_stream(rows, coder), by_stream(rows, other)
    return geometric_mean([ours[name] / theirs[name] for name in ours if theirs.get(name)])


def best_peer(rows: list[Row], stream: str) -> tuple[float, str] | None:
    """(bits, coder) of the peer that takes fewest bits on a stream."""
    found = [(row["bits"], row["coder"]) for row in rows if row["stream"] == stream and "error" not in row]
    return min((each for each in found if not each[1].startswith("qres")), default=None)


def total_speed(rows: list[Row], coder: str, key: str) -> float | None:
    """Million samples a second over all streams: all samples over all time; `key` encode_mb_s or decode_mb_s."""
    done = [row for row in rows if row["coder"] == coder and "error" not in row]
    samples = [8 * row["bytes"] / row["bits"] for row in done]
    speeds = [row["encode_mb_s"] if key == "encode_mb_s" else row["decode_mb_s"] for row in done]
    seconds = sum(n * 4e-6 / speed for n, speed in zip(samples, speeds, strict=True))
    return sum(samples) / seconds / 1e6 if seconds else None
