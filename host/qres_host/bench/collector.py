"""`qres bench collector`: what it costs the host to listen: from ports to the database, and each kind of frame."""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click
import numpy as np
from qres import codec, packet
from qres.encoder import Encoder

from qres_host import coders
from qres_host.bench import record
from qres_host.bench.collector_ports import KEY, NODES, telemetry_frame
from qres_host.bench.present import deliver, measuring, options
from qres_host.bench.sheet import Goal, Sheet, goal_sheet, number
from qres_host.capture import Record
from qres_host.collector import Collector
from qres_host.decoder import Decoder, batches
from qres_host.devices import Uri
from qres_host.errors import QresError
from qres_host.packets import PERIOD_MS, encode_stream
from qres_host.store import Store
from qres_host.view import View
from qres_host.virtual import playback
from qres_host.wire import RADIO, encode_frame

FILE = "collector.json"
PACKAGES = ("numpy", "numba", "cobs")
SECONDS, QUICK_SECONDS = 5.0, 2.0
REPEATS = 5  # of each plan; the median counts, for other programs on a machine make all slower
FRAMES, QUICK_FRAMES = 20_000, 2_000  # of telemetry
# (ports, frames a second in all, where the goal of a tenth of a core holds)
PLANS = ((64, 6_400), (1, 10_000))
SHARE_PERCENT = 10.0
CHUNK_BYTES = 1024  # of a port, that come at once where there is no port
EXAMPLE = """\b
Examples:
  qres bench collector                      about three minutes
  qres bench collector --quick --json       half a minute, for programs
"""
Row = dict[str, Any]


def ports_row(ports: int, rate: int, seconds: float) -> Row:
    """Collect telemetry from ptys into capture, view and database; CPU time of this process, and what arrived."""
    command = [sys.executable, "-m", "qres_host.bench.collector_ports", str(ports), str(rate), str(seconds)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qres-bench-")))
        boards = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(boards.kill)
        assert boards.stdin is not None and boards.stdout is not None
        names = json.loads(boards.stdout.readline() or "[]")
        if len(names) != ports:
            raise QresError("the ports of the bench did not come up", "free some ptys and run it again")
        uris = [Uri("serial", name) for name in names]
        collector = Collector(uris, KEY, View(), folder / "capture", folder / "x.db", must_open=True)
        with collector:
            time.sleep(1.0)
            before_s = _cpu_s()
            boards.stdin.write("go\n")
            boards.stdin.flush()
            wrote = json.loads(boards.stdout.readline())
            _drained(collector, wrote["frames"])
            spent_s = _cpu_s() - before_s
            counters = collector.counters()
        with closing(sqlite3.connect(folder / "x.db")) as database:
            stored = database.execute("SELECT sum(n) FROM frames").fetchone()[0]
    row: Row = {"ports": ports, "rate": rate, "frames": wrote["frames"], "stored": stored}
    row |= {"lost": wrote["frames"] - stored, "seconds": wrote["seconds"], "cpu_s": spent_s}
    row |= {"share_percent": 100 * spent_s / wrote["seconds"], "us": spent_s / wrote["frames"] * 1e6}
    return row | {key: counters[key] for key in ("serial_gaps", "serial_bad", "dropped", "rejected")}


def _drained(collector: Collector, frames: int) -> None:
    """Wait until everything is decoded and in the database, or a while."""
    until_s = time.monotonic() + 20
    while collector.counters()["accepted"] < frames and time.monotonic() < until_s:
        time.sleep(0.05)
    time.sleep(1.5)  # the last transaction


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def kind_rows(quick: bool) -> list[Row]:
    """Cost of one frame of each kind from bytes to database, without ports, with and without machine code."""
    count = QUICK_FRAMES if quick else FRAMES
    told = [telemetry_frame(i % NODES, i // NODES + 1) for i in range(count)]
    recording = np.asarray(playback.make_weather(3)[0].values, np.int32)
    rows = recording[: 500 if quick else 3000]
    plans: list[tuple[str, list[bytes], int]] = [
        ("telemetry", told, 0),
        ("samples, one step of six channels", _data(single_steps(rows[:200])), 200 * rows.shape[1]),
        ("samples, a full packet (cm)", _data(encode_stream(rows, "cm", "checkpoint")), rows.size),
        ("samples, a full packet (rice)", _data(encode_stream(rows, "rice", "checkpoint")), rows.size),
    ]
    return [_kind_row(*plan) for plan in plans]


def single_steps(rows: Any) -> list[bytes]:
    """Return a packet for each row, as a board sends them that tells every sample at once."""
    packets, base = [], None
    for index, row in enumerate(map(tuple, rows.tolist())):
        encoder = Encoder(rows.shape[1], codec.CM, packet.PAYLOAD_MAX, base)
        encoder.add(index, row)
        base = encoder.checkpoint(1, PERIOD_MS)
        packets.append(encoder.finish(PERIOD_MS, 0, True))
    return packets


def _data(packets: Sequence[bytes]) -> list[bytes]:
    """Wrap packets of samples as a gateway does."""
    head = (1_764_000_000_000).to_bytes(8, "little") + b"\xc4"
    return [head + packet.seal(KEY, packet.DATA, 1, 1, i + 1, data) for i, data in enumerate(packets)]


def _kind_row(kind: str, payloads: list[bytes], values: int) -> Row:
    stream = b"".join(encode_frame(RADIO, i, payload) for i, payload in enumerate(payloads))
    row: Row = {"kind": kind, "frames": len(payloads), "values": values / len(payloads)}
    row["bytes"] = len(stream) / len(payloads)
    row["plain_us"] = _decode_us(stream, len(payloads))
    with coders.compiled():
        _decode_us(stream, len(payloads))  # compiles
        row["us"] = _decode_us(stream, len(payloads))
    return row | {"frames_s": 1e6 / row["us"]}


def _decode_us(stream: bytes, frames: int) -> float:
    """Return the CPU time of a frame from its bytes to its rows, us."""
    with tempfile.TemporaryDirectory(prefix="qres-bench-") as folder:
        store = Store(Path(folder) / "x.db", queue_records=1 << 30)
        decoder = Decoder(KEY, View(), store)
        before_s = _cpu_s()
        places = range(0, len(stream), CHUNK_BYTES)
        for records in batches(Record(at, "serial:///bench", stream[at : at + CHUNK_BYTES]) for at in places):
            decoder.feed_all(records, wait=True)
        store.close()
        spent_s = _cpu_s() - before_s
        if decoder.counters()["accepted"] != frames:
            raise QresError("the bench lost frames of its own", "this is a defect: report it")
        return spent_s / frames * 1e6


def goals(results: dict[str, Any]) -> list[Goal]:
    """A tenth of a core, nothing lost."""
    found = {(row["ports"], row["rate"]): row for row in results["ports"]}
    wanted = []
    for ports, rate in PLANS:
        row = found.get((ports, rate))
        what = f"{ports} ports, {rate:,} frames/s in all" if ports > 1 else f"one port, {rate:,} frames/s"
        wanted.append(Goal(f"{what}: of a core", SHARE_PERCENT, row and row["share_percent"], "%", False))
        wanted.append(Goal(f"{what}: lost", 0, row and float(row["lost"]), "frames", False))
    return wanted


def sheets(results: dict[str, Any]) -> list[Sheet]:
    """The tables of a run."""
    ports = [
        (
            f"{row['ports']}",
            f"{row['rate']:,}",
            f"{row['frames']:,}",
            f"{row['lost']:,}",
            number(row["share_percent"], 1) + " %",
            number(row["us"], 1),
        )
        for row in results["ports"]
    ]
    kinds = [
        (
            row["kind"],
            number(row["values"], 0) if row["values"] else "-",
            number(row["bytes"], 0),
            number(row["us"], 1),
            number(row["plain_us"], 1),
            f"{row['frames_s']:,.0f}",
        )
        for row in results["kinds"]
    ]
    heads = ("ports", "frames/s", "frames", "lost", "of a core", "us a frame")
    kind_heads = ("frame", "values", "bytes", "us", "us, plain", "frames/s on a core")
    note = "Telemetry of 64 boards, from ptys to capture, view and SQLite. Time of the whole collector, median of runs."
    kind_note = "From bytes to SQLite, without ports. Plain: without machine code."
    return [
        goal_sheet(goals(results)),
        Sheet("ports", "Collecting from ports", note, heads, ports),
        Sheet("kinds", "What a frame costs", kind_note, kind_heads, kinds),
    ]


def run(results: dict[str, Any], quick: bool, say: Callable[[str], None]) -> None:
    """Measure all parts into `results`."""
    for ports, rate in PLANS:
        say(f"{ports} ports, {rate:,} frames a second")
        repeats = 1 if quick else REPEATS
        rows = [ports_row(ports, rate, QUICK_SECONDS if quick else SECONDS) for _ in range(repeats)]
        row = sorted(rows, key=lambda each: each["cpu_s"])[repeats // 2]
        results["ports"].append(row | {"lost": max(each["lost"] for each in rows)})
    say("each kind of frame")
    results["kinds"] += kind_rows(quick)
    record.finish(results)


@click.command(name="collector", epilog=EXAMPLE)
@options("Fewer frames.", FILE)
def command(quick: bool, out: Path | None, as_json: bool) -> int:
    """CPU time of listening: many ports, many frames, each kind of frame; and whether any was lost.

    Ctrl-C ends the run and shows what was measured so far.
    """
    results = record.start(PACKAGES) | {"ports": [], "kinds": []}
    with measuring() as say:
        run(results, quick, say)
    return deliver(results, sheets(results), [], out, FILE, as_json)
