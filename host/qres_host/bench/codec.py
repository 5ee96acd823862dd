"""A run of `qres bench codec`: every part in turn, rows as they come, so that an early end keeps what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from qres_host.bench import bounded, measure, ours, packets, packets_ours, packets_peers, seed, speed
from qres_host.bench.coder import Coder, Ints, Skipped
from qres_host.bench.peers import peers
from qres_host.bench.record import environment, source_hash
from qres_host.bench.results import Results, empty
from qres_host.bench.streams import Stream

PARTS = ("batch", "packets", "bounded", "seed")
PACKAGES = ("numpy", "numba", "pcodec", "brotli", "zstandard", "blosc2", "pysz")
SEED_PEERS = ("pcodec-12", "zstd-19", "brotli-11", "zlib-9", "delta+Rice")
PLAIN_ROWS = 4096  # of each stream, where plain Python runs
QUICK_ROWS = 1024
QUICK_STREAMS = 2
QUICK_SLOW = ("xz-9e", "brotli-11")  # left out of a quick run
Say = Callable[[str], None]


class Plan(NamedTuple):
    """What to run: parts of PARTS, streams, and seconds a coder may repeat on one stream."""

    streams: list[Stream]
    parts: tuple[str, ...] = PARTS
    cap_s: float = 6.0
    quick: bool = False


def quick(streams: list[Stream]) -> Plan:
    """A plan of a few seconds: the first streams, cut, and the coders that are not slow."""
    return Plan([_cut(stream, QUICK_ROWS) for stream in streams[:QUICK_STREAMS]], cap_s=0.2, quick=True)


def _cut(stream: Stream, rows: int) -> Stream:
    return Stream(stream.name, np.ascontiguousarray(stream.x[:rows]))


def delta_entropy(x: Ints) -> float:
    """Order-0 entropy of each column's differences, bits a sample, mean over the columns."""
    found = []
    for c in range(x.shape[1]):
        _, counts = np.unique(np.diff(x[:, c].astype(np.int64)), return_counts=True)
        share = counts / max(counts.sum(), 1)
        found.append(float(-(share * np.log2(share)).sum()))
    return sum(found) / len(found)


def run(plan: Plan, results: Results, say: Say) -> None:
    """Measure into `results`, part by part; `say` tells what runs now. `complete` is set at the end."""
    for stream in plan.streams:
        rows, channels = stream.x.shape
        entropy = delta_entropy(stream.x)
        results["streams"].append(
            {"stream": stream.name, "rows": rows, "channels": channels, "delta_entropy_bits": entropy}
        )
    for part in plan.parts:
        PART[part](plan, results, say)
        # each coder imports in a process of its own, so an edit in the meantime mixes versions
        results["source_changed"] |= source_hash() != results["environment"]["source"]
    results["complete"] = True


def start() -> Results:
    """Results of nothing yet, on this machine."""
    return empty(environment(PACKAGES))


def _skip(results: Results, skipped: list[Skipped]) -> None:
    known = {row["coder"] for row in results["skipped"]}
    results["skipped"] += [{"coder": s.name, "reason": s.reason} for s in skipped if s.name not in known]


def _coders(plan: Plan, results: Results) -> list[Coder]:
    found, skipped = peers()
    own = list(ours.coders())
    _skip(results, [s for s in own if isinstance(s, Skipped)] + skipped)
    coders = [c for c in own if isinstance(c, Coder)] + found
    return [c for c in coders if not (plan.quick and c.name in QUICK_SLOW)]


def _batch(plan: Plan, results: Results, say: Say) -> None:
    for coder in _coders(plan, results):
        streams = [_cut(stream, PLAIN_ROWS) for stream in plan.streams] if coder.plain else plan.streams
        for row in _named(measure.run(coder, streams, plan.cap_s), f"files: {coder.name}", say):
            results["batch"].append(row)
    for numba in (True, False):
        for level in ours.LEVELS:
            say(f"calls: {level}{'' if numba else ', no Numba'}")
            results["calls"].append(speed.calls(plan.streams, level, numba))


def _named(rows: Iterator[measure.Row], what: str, say: Say) -> Iterator[measure.Row]:
    say(what)
    for row in rows:
        say(f"{what}, {row['stream']}")
        yield row


def _packets(plan: Plan, results: Results, say: Say) -> None:
    boards = packets.boards(plan.streams)
    found, skipped = packets_peers.alone()
    _skip(results, skipped)
    for packer in [*packets_ours.packers(), *(packets.stateless(name, coder) for name, coder in found)]:
        if plan.quick and packer.name.partition(",")[0] in QUICK_SLOW:
            continue
        say(f"packets: {packer.name}, {packer.state}")
        results["packets"] += packets.run(packer, boards)


def _bounded(plan: Plan, results: Results, say: Say) -> None:
    coders, skipped = bounded.lossy_coders()
    _skip(results, skipped)
    for mode, name, coder in coders:
        say(f"{mode}: {name}")
        results["bounded"] += bounded.run(mode, name, coder, plan.streams)


def _seed(plan: Plan, results: Results, say: Say) -> None:
    own = [f"qres {level}" for level in ours.LEVELS]
    coders = [c for c in _coders(plan, results) if c.name in SEED_PEERS or c.name in own]
    for coder in [*coders, seed.packing()]:
        say(f"published figure: {coder.name}")
        results["seed"] += measure.run(coder, seed.streams(), min(plan.cap_s, 1.0))


PART: dict[str, Callable[[Plan, Results, Say], None]] = {
    "batch": _batch,
    "packets": _packets,
    "bounded": _bounded,
    "seed": _seed,
}
