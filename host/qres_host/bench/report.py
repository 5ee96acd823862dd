"""The results of `qres bench codec` as tables: plain strings, for the terminal and for the documentation."""

from __future__ import annotations

from qres_host.bench import seed
from qres_host.bench.goals import BATCH_PEERS, BEST, FAST, goals
from qres_host.bench.ours import PLAIN
from qres_host.bench.packets import STATELESS
from qres_host.bench.results import Results, best_peer, by_stream, geometric_mean, mean_ratio, total_speed
from qres_host.bench.sheet import NONE, Sheet, goal_sheet, number, skipped_sheet

NOTES = {
    "batch": (
        "Bits a sample; the peers get each column alone, the general compressors in the best of four forms (plain, "
        "delta, shuffle, delta and shuffle) of each. Best peer: of all that ran. Entropy: order 0, of differences, "
        "a bound of codes of single differences and no codec."
    ),
    "coder": (
        "Geometric mean of bits a sample; against qres best; MB/s of 32-bit samples, all streams together; most "
        "memory beyond what the process held before, in MB. qres as a file: a .qres file written and read back, with "
        "names, index and checksums. Without Numba only the first 4,096 rows of each stream are coded. FLAC runs as a "
        "program of its own: its start is in its times, its memory is not in the figure."
    ),
    "packet": (
        "Bits a sample of the coder that takes fewest: code alone (first values included) / whole radio frames "
        "with all headers. Every packet fits one frame of 250 bytes and is read back alone. Swarm: the model is "
        "the median of what other boards of the kind learned in the first 30 % of the recording, where there are "
        "others, else what the board learned itself in that time; packets are of what follows. Checkpoint: the state "
        "after the last packet, as on a link without losses: a board codes anew what it has begun when the "
        "acknowledgement comes; the first packet starts from the model. Stateless: the best peer of each stream "
        "among LEC, Rice codes, deflate, brotli, pcodec."
    ),
    "bounded": (
        "Bits a sample where each value may be off by that share of its column's range, in whole steps and at "
        "least one; the greatest error is checked after decoding. SZ3: its best algorithm for each column. "
        "Segments (send-on-delta, LTC, swing): lengths and steps between ends as two lists, each in a Rice code or "
        "xz, whichever is smaller."
    ),
    "silent": (
        "Bits a sample where a value that the receiver predicts within the bound costs nothing, beside sending on "
        "change."
    ),
    "seed": (
        "Bytes of the samples as 32-bit floats over compressed bytes; two synthetic signals of 20,000 samples in "
        "steps of 0.01. Every coder here gives the samples back exactly."
    ),
    "chip": (
        "RISC-V instructions a sample, counted while the machine code that goes onto the chip runs in an emulator."
    ),
}
"""What stands beside the tables: units and conditions."""


def sheets(results: Results) -> list[Sheet]:
    """Every table that has rows."""
    made = (batch_sheet, coder_sheet, packet_sheet, bounded_sheet, silent_sheet, seed_sheet, chip_sheet)
    found = [goal_sheet(goals(results)), *(make(results) for make in made), skipped_sheet(results["skipped"], "coder")]
    return [sheet for sheet in found if sheet.rows]


def _percent(ratio: float | None) -> str:
    return NONE if ratio is None else f"{100 * (ratio - 1):+.1f} %"


def batch_sheet(results: Results) -> Sheet:
    """Bits a sample, stream by stream."""
    shown = (BEST, FAST, *BATCH_PEERS)
    bits = {coder: by_stream(results["batch"], coder) for coder in shown}
    rows = []
    for stream in results["streams"]:
        name = stream["stream"]
        best = best_peer(results["batch"], name)
        ours = bits[BEST].get(name)
        against = _percent(ours / best[0]) if ours is not None and best else NONE
        peer = f"{best[1]} {best[0]:.2f}" if best else NONE
        entropy = number(stream["delta_entropy_bits"])
        rows.append((name, *(number(bits[coder].get(name)) for coder in shown), peer, against, entropy))
    if not results["batch"]:
        rows = []
    return Sheet(
        "batch", "Files, exact", NOTES["batch"], ("stream", *shown, "best peer", "best against it", "entropy"), rows
    )


def coder_sheet(results: Results) -> Sheet:
    """All coders over all streams: size, speed, memory."""
    rows = []
    batch = results["batch"]
    for coder in dict.fromkeys(row["coder"] for row in batch):
        done = [row for row in batch if row["coder"] == coder and "error" not in row]
        failed = sum(1 for row in batch if row["coder"] == coder and "error" in row)
        speeds = [total_speed(batch, coder, key) for key in ("encode_mb_s", "decode_mb_s")]
        peaks = []
        for values in ([row["encode_peak_mb"] for row in done], [row["decode_peak_mb"] for row in done]):
            known = [value for value in values if value is not None]
            peaks.append(number(max(known) if known else None, 1))
        mean = None if coder == PLAIN else geometric_mean([row["bits"] for row in done])
        size = number(mean) + (f" ({failed} failed)" if failed else "")
        ratio = mean_ratio(batch, coder, BEST) if coder not in (BEST, PLAIN) else None
        fast = [number(speed * 4 if speed is not None else None, 1) for speed in speeds]
        rows.append((coder, size, _percent(ratio), *fast, *peaks))
    head = ("coder", "bits", "against best", "encode MB/s", "decode MB/s", "encode MB", "decode MB")
    return Sheet("coders", "Files, exact: all coders", NOTES["coder"], head, rows)


def packet_sheet(results: Results) -> Sheet:
    """Packets: our coder of each state that takes fewest bits, and the best stateless peer."""
    states = [s for s in dict.fromkeys(row["state"] for row in results["packets"]) if s != STATELESS]
    rows = []
    for stream in dict.fromkeys(row["stream"] for row in results["packets"]):
        here = [row for row in results["packets"] if row["stream"] == stream and "error" not in row]
        cells = []
        for state in [*states, STATELESS]:
            found = [row for row in here if row["state"] == state]
            best = min(found, key=lambda row: row["code_bits"], default=None)
            name = best["coder"].removeprefix("qres ") if best else ""
            cells.append(f"{name} {best['code_bits']:.2f} / {best['frame_bits']:.2f}" if best else NONE)
        rows.append((stream, *cells))
    return Sheet("packets", "Packets", NOTES["packet"], ("stream", *states, "stateless peer"), rows)


def _bounded_rows(results: Results, mode: str) -> tuple[list[str], list[tuple[str, ...]]]:
    found = [row for row in results["bounded"] if row["mode"] == mode]
    coders = list(dict.fromkeys(row["coder"] for row in found))
    rows = []
    for stream in dict.fromkeys(row["stream"] for row in found):
        for share in dict.fromkeys(row["share"] for row in found):
            bits = {
                r["coder"]: r["bits"]
                for r in found
                if r["stream"] == stream and r["share"] == share and "error" not in r
            }
            rows.append((stream, f"{100 * share:g} %", *(number(bits.get(coder), 3) for coder in coders)))
    return coders, rows


def bounded_sheet(results: Results) -> Sheet:
    """Every value within a bound."""
    coders, rows = _bounded_rows(results, "bounded")
    return Sheet("bounded", "Bounded error", NOTES["bounded"], ("stream", "bound", *coders), rows)


def silent_sheet(results: Results) -> Sheet:
    """Silence where the receiver's prediction is good enough."""
    coders, rows = _bounded_rows(results, "silent")
    return Sheet("silent", "Silent", NOTES["silent"], ("stream", "bound", *coders), rows)


def seed_sheet(results: Results) -> Sheet:
    """The published figure of the architecture document."""
    coders = list(dict.fromkeys(row["coder"] for row in results["seed"]))
    rows = []
    for coder in coders:
        bits = by_stream(results["seed"], coder)
        rows.append((coder, *(f"{32 / bits[name]:,.2f}x" if bits.get(name) else NONE for name in seed.PUBLISHED)))
    if rows:
        rows.append(("published, not decodable", *(f"{ratio:.2f}x" for ratio in seed.PUBLISHED.values())))
    return Sheet("seed", "The published 4.98x to 31.8x", NOTES["seed"], ("coder", *seed.PUBLISHED), rows)


def chip_sheet(results: Results) -> Sheet:
    """Instructions of the chip's machine code."""
    rows = [(str(row["coder"]), f"{row['instructions']:,.0f}") for row in results["rv32"]]
    return Sheet("rv32", "On the chip", NOTES["chip"], ("coder", "instructions"), rows)
