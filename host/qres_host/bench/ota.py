"""`qres bench ota`: what an update over the air takes in frames and time, beside sending everything to each board.

On virtual boards that sleep deeply and wake for their radio windows, with the real updater, trial and restart.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from qres.port.ota import CHUNK_BYTES

from qres_host import deploy
from qres_host.bench import record
from qres_host.bench.present import deliver, measuring, options
from qres_host.bench.sheet import Sheet, number
from qres_host.collector import Collector
from qres_host.devices import Uri
from qres_host.errors import TIMEOUT, QresError
from qres_host.keys import parse_key
from qres_host.keystore import fingerprint
from qres_host.ota import bundle as bundles
from qres_host.ota import job as jobs
from qres_host.ota.courier import Courier
from qres_host.ota.job import Job
from qres_host.ota.rollout import Stage
from qres_host.virtual import playback
from qres_host.virtual.specs import DEMO_KEY, DEMO_UPDATE_KEY, make_specs
from qres_host.virtual.swarm import Swarm

FILE = "ota.json"
PACKAGES = ("cryptography", "littlefs-python")
# (boards beside the gateway, share of frames lost, whether every file changed)
PLANS = ((1, 0.0, False), (1, 0.0, True), (4, 0.0, True), (4, 0.1, True), (4, 0.3, True))
PERIOD_MS, WINDOW_MS = 2000, 5000
SCHEDULE: dict[str, Any] = {"epoch_ms": 60_000, "flush_ms": 10_000, "base_ms": [WINDOW_MS] * 3, "light_ms": 1000}
LIMIT_S = 600.0
SETTLE_S = 8.0
EXAMPLE = """\b
Examples:
  qres bench ota                          five minutes
  qres bench ota --quick                  one small update
"""
Row = dict[str, Any]


def other_application(folder: Path, whole: bool) -> dict[str, bytes]:
    """Return files of an application that differs from this one in one module, or in all of them."""
    root = folder / "firmware"
    shutil.copytree(deploy.firmware_root(), root)
    paths = sorted((root / "qres").rglob("*.py")) if whole else [root / "qres" / "energy.py"]
    for path in paths:
        path.write_text(path.read_text(encoding="utf-8") + "\n_OF_ANOTHER_DAY = 1\n", encoding="utf-8")
    return deploy.firmware_files(root)


@contextmanager
def _places(folder: Path) -> Iterator[None]:
    """State and ports of the bench's own."""
    before = {name: os.environ.get(name) for name in ("QRES_RUNTIME_DIR", "XDG_STATE_HOME")}
    os.environ.update(QRES_RUNTIME_DIR=str(folder), XDG_STATE_HOME=str(folder))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def measure(count: int, loss: float, whole: bool) -> Row:
    """Update `count` boards and their gateway; QresError when one was not updated."""
    with tempfile.TemporaryDirectory(prefix="qres-bench-") as name, _places(Path(name)):
        folder = Path(name)
        files = other_application(folder, whole)
        recordings = [replace(each, period_ms=PERIOD_MS) for each in playback.make_weather(count)]
        specs = [replace(spec, files=files) for spec in make_specs(recordings, **SCHEDULE)]
        new = deploy.firmware_files()
        with Swarm(specs, speed=1.0, loss=loss, links=folder) as swarm:
            time.sleep(SETTLE_S)
            air = swarm.status()["radio"]
            swarm_of = fingerprint(parse_key(DEMO_KEY))
            jobs.save(Job(bundles.make(new, deploy.build_id(), DEMO_UPDATE_KEY, int(time.time())), None, swarm_of))
            courier, start_s = Courier(swarm_of), time.monotonic()
            with Collector(
                [Uri("virtual", "sentinel")], parse_key(DEMO_KEY), must_open=True, listen=courier.listen
            ) as c:
                courier.start(c)
                while not (courier.progress and courier.progress.over) and time.monotonic() - start_s < LIMIT_S:
                    time.sleep(0.05)
                courier.stop()
            told, seconds = courier.progress, time.monotonic() - start_s
            after = swarm.status()["radio"]
    if told is None or {row["stage"] for row in told.boards} != {Stage.UPDATED.value}:
        raise QresError("the update did not reach every board", str(told), TIMEOUT)
    changed = [data for path, data in new.items() if files.get(path) != data]
    return {
        "boards": count + 1,
        "loss": loss,
        "files": len(changed),
        "frames": told.frames,
        "bytes": told.frame_bytes,
        "radio_frames": after["sent"] - air["sent"],
        "one_by_one": (count + 1) * sum(-(-len(data) // CHUNK_BYTES) for data in new.values()),
        "seconds": seconds,
    }


def sheets(results: dict[str, Any]) -> list[Sheet]:
    """The table of a run."""
    rows = [
        (
            str(row["boards"]),
            f"{row['loss']:.0%}",
            str(row["files"]),
            f"{row['frames']:,}",
            f"{row['bytes']:,}",
            f"{row['one_by_one']:,}",
            number(row["seconds"], 0),
        )
        for row in results["updates"]
    ]
    head = ("boards", "lost", "files changed", "frames", "bytes", "frames, all to each", "seconds")
    note = (
        "Boards: with the gateway. Frames and bytes that the gateway sent for the update, repetitions, questions and "
        "offers among them. All to each: every file unpacked, one board after another, nothing lost. Seconds: until "
        "all boards have restarted, proved the application and put it in place; they sleep, and wake each "
        f"{WINDOW_MS // 1000} s."
    )
    return [Sheet("updates", "Updates of virtual boards", note, head, rows)]


def run(results: dict[str, Any], quick: bool, say: Callable[[str], None]) -> None:
    """Measure into results["updates"]."""
    for count, loss, whole in PLANS[:1] if quick else PLANS:
        say(f"{count + 1} boards, {loss:.0%} lost, {'all files' if whole else 'one file'}")
        results["updates"].append(measure(count, loss, whole))
    record.finish(results)


@click.command(epilog=EXAMPLE)
@options("One small update.", FILE)
def command(quick: bool, out: Path | None, as_json: bool) -> int:
    """What updates over the air take, on virtual boards with a lossy radio.

    Ctrl-C ends the run and shows what was measured so far.
    """
    results = record.start(PACKAGES) | {"updates": []}
    with measuring() as say:
        run(results, quick, say)
    return deliver(results, sheets(results), [], out, FILE, as_json)
