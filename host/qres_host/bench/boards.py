"""`qres bench boards`: flashing many boards at once, the application as an image beside file by file, and boots.

On virtual boards whose cables and flash take the time of real ones (qres_host.virtual.line, flashchip), with the real
esptool and mpremote.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from qres_host import deploy
from qres_host.bench import boots, record
from qres_host.bench.present import deliver, measuring, options
from qres_host.bench.sheet import Goal, Sheet, goal_sheet, number
from qres_host.devices import Uri
from qres_host.errors import QresError
from qres_host.flash import cli, fleet, image
from qres_host.flash.job import Plan
from qres_host.repl import Repl
from qres_host.virtual import firmware
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.line import PACES
from qres_host.virtual.swarm import Swarm

FILE = "boards.json"
PACKAGES = ("esptool", "mpremote", "littlefs-python", "pyserial")
MANY = 16
CABLE = "usb"  # the chip's own
MICROPYTHON_BYTES = 1_500_000  # about what the official build has ...
BLANK_BYTES = 16  # ... and as compressible: to two thirds, as esptool tells of official builds
EXAMPLE = """\b
Examples:
  qres bench boards                       a few minutes
  qres bench boards --quick               four boards and a small MicroPython
"""
REPEATS = 3
IMAGE, COPIES = "image", "mpremote fs cp, file by file"
UNCHANGED, ONE_FILE = "image, nothing changed", "qres deploy, one file changed"
MEDIANS = "Medians of the runs. "
Row = dict[str, Any]
Say = Callable[[str], None]


def plan_of(code_bytes: int) -> Plan:
    """What a chip gets: an image with so many bytes of code, the application with its machine code."""
    plan = cli.plan("virtual", "", "image", None, False, False, "460800")
    big = image.check(firmware.micropython(code_bytes, blank_bytes=BLANK_BYTES))
    return replace(plan, image=big, files=deploy.firmware_files(arch="rv32imc"))


def _swarm(count: int, links: Path, pace: str) -> Swarm:
    specs = [BoardSpec(f"b{k}", bytes((2, 0, 0, 2, 0, k)), None, bare=True) for k in range(count)]
    swarm = Swarm(specs, speed=1.0, links=links)
    swarm.start()
    for spec in specs:
        swarm.set_pace(spec.name, pace)
    return swarm


def _flash(names: list[str], plan: Plan) -> float:
    """Flash boards; return the seconds. Raises QresError when one failed."""
    start = time.perf_counter()
    outcomes = fleet.flash_all([(Uri("virtual", name), plan) for name in names], quiet=True)
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise QresError("a board was not flashed", failed[0])
    return time.perf_counter() - start


def parallel_row(count: int, plan: Plan, links: Path, pace: str) -> Row:
    """Flash `count` erased boards at once: MicroPython and the application."""
    swarm = _swarm(count, links, pace)
    try:
        return {"boards": count, "cable": pace, "seconds": _flash([f"b{k}" for k in range(count)], plan)}
    finally:
        swarm.stop()


def upload_rows(plan: Plan, links: Path, pace: str, say: Say) -> list[Row]:
    """Bring the application to a board that has MicroPython: as an image, in one session of files, file by file.

    Then what it costs when the board has it already, all of it or all but one file.
    """
    rows = []
    files = dict(plan.files)
    ways: tuple[tuple[str, Callable[[str], float]], ...] = (
        (IMAGE, lambda port: _flash(["b0"], plan)),
        ("mpremote, one session", lambda port: _session(port, files)),
        (COPIES, lambda port: _copies(port, files)),
        (UNCHANGED, lambda port: _flash(["b0"], plan)),
        (ONE_FILE, lambda port: _session(port, {**files, "qres/node.mpy": files["qres/run.mpy"]})),
    )
    for way, work in ways:
        say(f"{way} by {pace}")
        swarm = _swarm(1, links, pace)
        try:
            swarm.set_pace("b0", "")
            there = files if way in (UNCHANGED, ONE_FILE) else {"main.py": b""}
            _flash(["b0"], replace(plan, files=there, erase=True))
            swarm.set_pace("b0", pace)
            with Repl(str(links / "b0")) as repl:
                repl.reset()  # a machine learns at its boot how long its flash takes
            Repl(str(links / "b0")).close()
            seconds = work(str(links / "b0"))
            rows.append({"way": way, "cable": pace, "files": len(files), "seconds": seconds})
        finally:
            swarm.stop()
    return rows


def _session(port: str, files: dict[str, bytes]) -> float:
    start = time.perf_counter()
    with Repl(port) as repl:
        repl.put(files)
    return time.perf_counter() - start


def _copies(port: str, files: dict[str, bytes]) -> float:
    with tempfile.TemporaryDirectory(prefix="qres-bench-") as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        base = [sys.executable, "-m", "mpremote", "connect", os.path.realpath(port)]
        start = time.perf_counter()
        folders = sorted({parent for path in files for parent in map(str, Path(path).parents) if parent != "."})
        for made in folders:
            subprocess.run([*base, "fs", "mkdir", f":{made}"], check=False, capture_output=True)
        for path in files:
            command = [*base, "fs", "cp", str(Path(folder) / path), f":{path}"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise QresError("mpremote failed", done.stderr)
        return time.perf_counter() - start


def run(results: dict[str, Any], quick: bool, say: Say) -> None:
    """Measure all; results["parallel"], ["upload"] and ["boots"] get rows, several of each."""
    plan = plan_of(100_000 if quick else MICROPYTHON_BYTES)
    with tempfile.TemporaryDirectory(prefix="qres-bench-") as folder:
        links = Path(folder)
        before = {name: os.environ.get(name) for name in ("QRES_RUNTIME_DIR", "XDG_STATE_HOME")}
        os.environ.update(QRES_RUNTIME_DIR=folder, XDG_STATE_HOME=folder)
        try:
            for again in range(1, 2 if quick else REPEATS + 1):
                for count in (1, 4 if quick else MANY):
                    say(f"{count} boards at once, {again}")
                    results["parallel"].append(parallel_row(count, plan, links, CABLE))
                results["upload"] += upload_rows(plan_of(4096), links, CABLE, say)
            say("boots")
            results["boots"] += boots.rows(links, 5 if quick else 15)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def sheets(results: dict[str, Any]) -> list[Sheet]:
    """The tables of a run."""
    parallel = _medians(results["parallel"], "boards")
    upload = _medians(results["upload"], "way")
    took = {row["way"]: row["seconds"] for row in upload}
    one = next((row["seconds"] for row in parallel if row["boards"] == 1), None)
    most = max(parallel, key=lambda row: int(row["boards"]), default=None)
    goals = []
    if one and most:
        goals.append(Goal(f"{most['boards']} boards at once, times one", 3, most["seconds"] / one, "", False))
    if IMAGE in took and COPIES in took:
        goals.append(Goal(f"image beside {COPIES}, times faster", 10, took[COPIES] / took[IMAGE], ""))
    for row in boots.medians(results["boots"]):
        goals.append(Goal(f"from boot.py to the first sample, {row['boot']}", 300, row["ms"], "ms", False))
    pace = PACES[CABLE]
    note = (
        f"The model of the cable: {pace.bytes_per_s:,} bytes/s each way, {pace.latency_s * 1000:g} ms until it is read"
    )
    note += "; of the flash: 45 ms to erase 4 KB, 150 ms for 64 KB, 0.4 ms to program 256 bytes. MicroPython: "
    note += f"{MICROPYTHON_BYTES:,} bytes that compress to two thirds, as official builds do."
    head = ("boards", "cable", "runs", "seconds", "times one")
    rows = [
        (str(r["boards"]), r["cable"], str(r["runs"]), number(r["seconds"], 1), number(r["seconds"] / one))
        for r in parallel
        if one
    ]
    ways = [(r["way"], r["cable"], str(r["files"]), str(r["runs"]), number(r["seconds"], 1)) for r in upload]
    return [
        goal_sheet(goals),
        Sheet("parallel", "MicroPython and application, side by side", MEDIANS + note, head, rows),
        Sheet("upload", "The application alone", MEDIANS, ("way", "cable", "files", "runs", "seconds"), ways),
        boots.sheet(results["boots"]),
    ]


def _medians(rows: list[Row], key: str) -> list[Row]:
    """One row for each value of `key`: the median of `seconds`, and of how many `runs`."""
    found = []
    for value in dict.fromkeys(row[key] for row in rows):
        runs = [row for row in rows if row[key] == value]
        found.append({**runs[0], "seconds": median(row["seconds"] for row in runs), "runs": len(runs)})
    return found


@click.command(epilog=EXAMPLE)
@options("Four boards and a small MicroPython.", FILE)
def command(quick: bool, out: Path | None, as_json: bool) -> int:
    """Flash many virtual boards at once, compare ways of bringing the application to one, and time its boot."""
    results = record.start(PACKAGES)
    results.update(parallel=[], upload=[], boots=[])
    with measuring() as say:
        run(results, quick, say)
        record.finish(results)
    return deliver(results, sheets(results), [], out, FILE, as_json)
