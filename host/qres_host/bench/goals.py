"""What this project wants to reach, computed from a run: each goal with what was measured, met or missed."""

from __future__ import annotations

from collections.abc import Iterator

from qres_host.bench.measure import Row
from qres_host.bench.ours import PLAIN
from qres_host.bench.packets import STATELESS, PacketRow
from qres_host.bench.results import (
    Results,
    best_peer,
    by_stream,
    geometric_mean,
    mean_ratio,
    total_speed,
)
from qres_host.bench.sheet import Goal

BEST, FAST = "qres best", "qres fast"
BATCH_PEERS = ("pcodec-12", "FLAC -8ep", "brotli-11", "zstd-19")


def goals(results: Results) -> list[Goal]:
    """Every goal, in the order of the parts of a run."""
    return [*_batch(results), *_speed(results), *_packets(results), *_bounded(results), *_chip(results)]


def _percent(ratio: float | None) -> float | None:
    """How much less, in percent."""
    return None if ratio is None else 100 * (1 - ratio)


def _batch(results: Results) -> Iterator[Goal]:
    rows = _distinct(results["batch"])
    for peer in BATCH_PEERS:
        value = _percent(mean_ratio(rows, BEST, peer))
        yield Goal(f"best: fewer bits than {peer}, geometric mean", 12, value, "%")
    over = []
    for stream, bits in by_stream(rows, BEST).items():
        if (peer_bits := best_peer(rows, stream)) is not None:
            over.append((100 * (bits / peer_bits[0] - 1), stream, peer_bits[1]))
    worst = max(over, default=None)
    note = f"{worst[1]}, {worst[2]}" if worst else ""
    yield Goal("best: above the best peer, worst stream", 1, worst[0] if worst else None, "%", False, note)
    yield Goal("fast: fewer bits than pcodec-12, geometric mean", 0, _percent(mean_ratio(rows, FAST, "pcodec-12")), "%")


def _distinct(rows: list[Row]) -> list[Row]:
    """`rows` without those of `best` where it gave the bits of `fast` on all streams: then it is no other level."""
    best = by_stream(rows, BEST)
    return [row for row in rows if row["coder"] != BEST] if best and best == by_stream(rows, FAST) else rows


def _speed(results: Results) -> Iterator[Goal]:
    rows = _distinct(results["batch"])
    for coder, target in ((FAST, 10.0), (BEST, 0.5), (PLAIN, 0.05)):
        for key, word in (("encode_mb_s", "encode"), ("decode_mb_s", "decode")):
            yield Goal(f"{coder.removeprefix('qres ')}: {word}", target, total_speed(rows, coder, key), "M samples/s")
    for numba, target_calls in ((True, 10_000), (False, 1_000)):
        found = [r for r in results["calls"] if r["numba"] == numba and r["level"] == "fast" and "error" not in r]
        value = found[0]["calls_s"] if found else None
        words = "with Numba" if numba else "without Numba"
        yield Goal(f"fast: calls on 64 samples, {words}", target_calls, value, "calls/s")


def packet_ratio(rows: list[PacketRow], states: tuple[str, ...]) -> float | None:
    """Geometric mean over streams: bits of our best coder in these states over those of the best stateless peer."""
    ratios = []
    for stream in dict.fromkeys(row["stream"] for row in rows):
        here = [row for row in rows if row["stream"] == stream and "error" not in row]
        ours = [row["code_bits"] for row in here if row["state"] in states]
        peers = [row["code_bits"] for row in here if row["state"] == STATELESS]
        if ours and peers:
            ratios.append(min(ours) / min(peers))
    return geometric_mean(ratios)


def _packets(results: Results) -> Iterator[Goal]:
    rows = results["packets"]
    for state, target in (("checkpoint", 14), ("swarm", 8), ("cold", 0)):
        value = _percent(packet_ratio(rows, (state,)))
        yield Goal(f"packets, {state}: fewer bits than the best stateless peer of each stream", target, value, "%")


def _bounded(results: Results) -> Iterator[Goal]:
    bits = {
        (row["coder"], row["stream"], row["share"]): row["bits"]
        for row in results["bounded"]
        if row["mode"] == "bounded" and "error" not in row
    }
    pairs = [(name, bits["qres", name, share], at) for (coder, name, share), at in bits.items() if coder == "SZ3"
             if ("qres", name, share) in bits]  # fmt: skip
    above = sorted({name for name, ours, theirs in pairs if ours >= theirs})
    yield Goal(
        "bounded: streams where SZ3 takes no more bits",
        2,
        float(len(above)) if pairs else None,
        "streams",
        False,
        ", ".join(above),
    )


def _chip(results: Results) -> Iterator[Goal]:
    for coder, target in (("rice", 1_500), ("cm", 20_000)):
        found = [row["instructions"] for row in results["rv32"] if row.get("coder") == coder]
        yield Goal(f"RV32 instructions a sample, {coder}", target, found[0] if found else None, "", False)
