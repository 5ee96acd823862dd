"""The whole path, from virtual boards' sensors to the database, and all that is done to it on the way.

What arrives is compared with what the sensors read; what does not arrive, or arrives broken, must be counted.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qres import packet
from qres_host import demo
from qres_host.capture import CaptureReader, Record
from qres_host.collector import Collector
from qres_host.decoder import Decoder
from qres_host.devices import Uri
from qres_host.replay import replay_capture
from qres_host.view import View
from qres_host.virtual.playback import load
from qres_host.virtual.specs import DEMO_KEY
from qres_host.virtual.swarm import Swarm
from qres_host.wire import RADIO, Deframer, Frame, encode_frame

KEY = bytes.fromhex(DEMO_KEY)
LIMIT_S = 90  # on a busy machine; nothing here is as slow as that
DAYS_PER_SECOND = 2 * 86_400.0


def command(*arguments: object) -> list[str]:
    """Return the command line of `qres demo` for a test: nobody looks, any port."""
    start = [sys.executable, "-m", "qres_host.cli", "demo", "--no-browser"]
    return [*start, *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))


def qres_demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `qres demo` to its end."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    give_up = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)


def dump(path: Path) -> list[str]:
    """Return the content of a database as text."""
    with sqlite3.connect(path) as database:
        lines = list(database.iterdump())
    database.close()
    return lines


def assert_replays(folder: Path) -> dict[str, Any]:
    """Check that the capture in `folder` is whole and gives the database beside it; return the replay's summary."""
    key = json.loads((folder / "capture" / "config.json").read_text())["swarm_key"]  # it lies beside the capture
    again = replay_capture(folder / "capture", bytes.fromhex(key), folder / "again.db")
    assert again["damaged_bytes"] == 0
    assert dump(folder / "again.db") == dump(folder / "qres.db")
    return again


class Running:
    """A swarm, its collector and its view, for as long as a test lasts."""

    def __init__(self, folder: Path, boards: int, kind: str, speed: float, loss: float = 0.0) -> None:
        self.view = View()
        self.specs = demo.make_boards(boards, (), kind)
        demo.register(self.view, self.specs)
        self.swarm = Swarm(self.specs, speed=speed, loss=loss, links=folder / "ports")
        gateway = Uri("serial", str(folder / "ports" / "sentinel"))
        self.folder = folder
        self.collector = Collector([gateway], KEY, self.view, folder / "capture", folder / "qres.db")

    def total(self, name: str) -> int:
        """Return one of the view's totals."""
        return self.view.totals()[name]

    def samples_of(self, name: str) -> int:
        """Return how many samples of a board have arrived."""
        return next(int(board["samples"]) for board in self.view.fleet()["boards"] if board["name"] == name)

    def more(self, name: str = "samples", count: int = 30) -> None:
        """Wait until a total has grown by `count`."""
        goal = self.total(name) + count
        until(lambda: self.total(name) >= goal)

    def more_of(self, name: str, count: int = 8) -> None:
        """Wait until a board has brought `count` further samples."""
        goal = self.samples_of(name) + count
        until(lambda: self.samples_of(name) >= goal)

    def board(self, name: str) -> dict[str, Any]:
        """Return what the hub says of a board."""
        return next(dict(board) for board in self.swarm.status()["boards"] if board["name"] == name)

    def assert_true(self) -> None:
        """Check that every sample that arrived was compared with the input, and equals it."""
        totals = self.view.totals()
        assert totals["verified"] == totals["samples"] > 0
        assert totals["mismatched"] == 0
        assert self.collector.counters()["held_lost"] == 0


@contextmanager
def running(
    folder: Path, boards: int = 3, kind: str = "inproc", speed: float = DAYS_PER_SECOND, loss: float = 0.0
) -> Iterator[Running]:
    """Run a swarm with its collector; afterwards the capture must replay to the same database."""
    run = Running(folder, boards, kind, speed, loss)
    with run.swarm, run.collector:
        yield run
    replay = replay_capture(folder / "capture", KEY, folder / "again.db")
    assert replay["samples"] == run.total("samples")
    assert dump(folder / "again.db") == dump(folder / "qres.db")


def test_a_demo_is_exact_and_its_capture_gives_the_same_database(tmp_path: Path) -> None:
    ended = qres_demo("--duration", 6, "--boards", 4, "--json", "--port", 0, "--keep", tmp_path)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["samples"] == summary["samples_verified"] > 0
    assert (summary["samples_mismatched"], summary["crashes"], summary["samples_lost"]) == (0, 0, 0)
    assert summary["streams"] == summary["streams_exact"] == 3
    assert 90 < summary["asleep_percent"] < 100
    assert assert_replays(tmp_path)["samples"] == summary["samples"]
    second = qres_demo("--duration", 1, "--keep", tmp_path)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "holds a run already" in second.stderr


def test_with_a_fifth_of_the_frames_lost_what_arrives_is_exact_and_what_does_not_is_shown(tmp_path: Path) -> None:
    with running(tmp_path, boards=5, speed=0, loss=0.2) as run:
        run.more("samples", 2000)
        until(lambda: run.total("frames_lost") > 20)
        counters = run.collector.counters()
        assert (counters["rejected"], counters["serial_bad"], counters["serial_gaps"]) == (0, 0, 0)
        run.assert_true()
    fleet = run.view.fleet()
    assert fleet["totals"]["samples_lost"] > 0  # they were in the frames that are lost
    assert sum(board["lost"] for board in fleet["boards"]) == fleet["totals"]["frames_lost"]
    lossy = [board for board in fleet["boards"] if run.view.board(board["mac"])["missing"]]
    assert lossy and not any(board["exact"] for board in lossy)  # a stream with a hole is not called exact


def test_a_killed_machine_comes_back_and_goes_on_exactly(tmp_path: Path) -> None:
    with running(tmp_path, kind="vm") as run:
        victim = run.specs[1].name
        run.more_of(victim, 1)
        boots = run.board(victim)["boots"]
        run.swarm.kill(victim)
        until(lambda: run.board(victim)["boots"] > boots + 1)  # and deep sleep goes on after it
        run.more_of(victim, 2)
        assert (run.board(victim)["kills"], run.board(victim)["crashes"]) == (1, 0)
        run.assert_true()


def test_a_killed_gateway_comes_back_and_the_swarm_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, kind="vm") as run:
        run.more("packets", 1)
        run.swarm.kill("sentinel")
        until(lambda: run.board("sentinel")["boots"] == 2)
        until(lambda: run.collector.counters()["serial_restarts"] == 1)
        run.more("samples", 4)
        run.assert_true()


def test_a_pulled_cable_is_a_gap_and_collecting_goes_on_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.more()
        for turn in range(1, 3):
            run.swarm.unplug("sentinel")
            until(lambda: run.collector.devices[0].fd < 0)
            before = run.board("sentinel")["serial_dropped_bytes"]
            until(lambda before=before: run.board("sentinel")["serial_dropped_bytes"] > before + 500)
            run.swarm.plug("sentinel")
            until(lambda turn=turn: run.collector.counters()["reopened"] == turn)
            run.more()
        # Every board numbers its frames, so what the gateway heard in vain is known, and shown.
        assert run.total("frames_lost") >= 2
        assert any(board["lost"] for board in run.view.fleet()["boards"])
        run.assert_true()


def test_flipped_bits_on_the_cable_are_never_accepted(tmp_path: Path) -> None:
    with running(tmp_path, boards=4) as run:
        run.more()
        run.swarm.corrupt("sentinel", 0.005)
        run.more("serial_bad", 8)
        run.more("samples", 10)  # frames that were spared
        run.swarm.corrupt("sentinel", 0)
        run.more()
        assert run.total("serial_gaps") > 0 and run.total("frames_lost") > 0
        run.assert_true()
        bad = run.total("serial_bad")
        run.more()
        assert run.total("serial_bad") - bad <= 1  # clean again; at most a frame that was under way


def frames_of(folder: Path) -> list[Frame]:
    """Return the serial frames of a capture."""
    deframer = Deframer()
    items = [item for record in CaptureReader(folder) for item in deframer.feed(record.data)]
    return [item for item in items if isinstance(item, Frame)]


def test_hostile_frames_are_refused_and_counted(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.more()
    heard = [frame.payload for frame in frames_of(tmp_path / "capture") if frame.type == RADIO]
    head, newest = heard[-1][:9], heard[-1][9:]
    kind, node, session, counter, payload = packet.parse(newest)
    flipped = bytearray(newest)
    flipped[len(flipped) // 2] ^= 4
    old = next(frame for frame in heard if packet.parse(frame[9:])[1] == node)[9:]
    forged = packet.seal(bytes(32), kind, node, session, counter + 1, payload)
    earlier = packet.seal(KEY, kind, node, session - 1, counter + 9, payload)
    nonsense = packet.seal(KEY, packet.DATA, node, session, counter + 1, b"\xff" * 40)
    view = View()
    demo.register(view, run.specs)
    decoder = Decoder(KEY, view)
    for record in CaptureReader(tmp_path / "capture"):
        decoder.feed(record)
    before, accepted = view.totals(), decoder.counters()["accepted"]
    assert before["rejected"] == 0
    hostile = [b"", b"\0" * 9, head, head + b"garbage", head + bytes(250), head + bytes(flipped), head + forged]
    hostile += [head + newest[:-1], head + earlier, heard[-1][:5], head + newest * 3]
    for number, body in enumerate(hostile):
        decoder.feed(Record(number, "sentinel", encode_frame(RADIO, number, body)))
    counters = decoder.counters()
    assert (counters["rejected"], counters["accepted"]) == (len(hostile), accepted)
    for copy in (old, newest):  # replayed: a copy is no news, whoever brings it
        decoder.feed(Record(50, "sentinel", encode_frame(RADIO, 50, head + copy)))
    assert decoder.counters()["accepted"] == accepted
    assert decoder.counters()["duplicates"] + decoder.counters()["rejected"] >= counters["duplicates"] + 13
    decoder.feed(Record(60, "sentinel", encode_frame(RADIO, 60, head + nonsense)))  # by one who has the key
    after = view.totals()
    assert after["rejected"] > len(hostile)
    unchanged = ("samples", "verified", "mismatched")
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]
    assert view.fleet()["totals"]["rejected"] == after["rejected"]


def processes_with(text: str) -> list[str]:
    """Return the command lines of the other running processes that have `text` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or it is somebody else's
            if text.encode() in (path / "environ").read_bytes() and path.name != str(os.getpid()):
                found.append((path / "cmdline").read_text())
    return found


@pytest.mark.parametrize(
    ("signum", "moment_s"),
    [(signal.SIGINT, 0), (signal.SIGINT, 1), (signal.SIGINT, 3), (signal.SIGTERM, 0), (signal.SIGTERM, 2)],
)
def test_ended_at_any_moment_a_demo_leaves_its_capture_and_nothing_else(
    tmp_path: Path, signum: signal.Signals, moment_s: float
) -> None:
    keep = tmp_path / "kept"
    marked = {**environment(), "QRES_DEMO_TEST": str(tmp_path)}
    process = subprocess.Popen(
        command("--boards", 4, "--port", 0, "--keep", keep), env=marked, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0)  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()  # the address stands before the boards start: this is during the start
    assert first.startswith("dashboard on http://127.0.0.1:")
    if moment_s:  # into the run, once there is something to lose
        until(lambda: sum(path.stat().st_size for path in keep.glob("capture/*.qcap")) > 500)
        time.sleep(moment_s)
    os.killpg(process.pid, signum)  # as the terminal does: to all of the command
    output, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, errors.strip()) == (0, "")
    assert not moment_s or "all equal to the input" in output
    until(lambda: not processes_with(str(tmp_path)))  # the machines see that their hub is gone
    assert not (keep / "ports").exists() or list((keep / "ports").iterdir()) == []
    if moment_s or (keep / "qres.db").exists():
        assert bool(assert_replays(keep)["packets"]) >= bool(moment_s)


def test_other_data_plays_exactly_with_gaps_decimals_and_odd_names(tmp_path: Path) -> None:
    rows = [
        (f"{k * 0.25:.2f}" if k % 7 else "", 1000 - 3 * k, f"{-k / 1000:.3f}" if k % 5 else "NaN") for k in range(90)
    ]
    with (tmp_path / "plant.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("in/out", "Flow rate", '"x"'), *rows])
    block = np.arange(180.0).reshape(90, 2) / 8
    block[::11, 1] = np.nan
    np.savez(tmp_path / "block.npz", x=block)
    for name, names in (("plant.csv", ["in-out", "Flow-rate", "x"]), ("block.npz", ["ch0", "ch1"])):
        assert [recording.name for recording in load([tmp_path / name])] == names
        ended = qres_demo(
            "--data", tmp_path / name, "--duration", 1.5, "--speed", 6000, "--json", "--port", 0, "--kind", "inproc"
        )
        assert ended.returncode == 0, ended.stderr
        summary = json.loads(ended.stdout)
        assert summary["boards"] == len(names) + 1
        assert summary["streams"] == summary["streams_exact"] == len(names)
        assert summary["samples"] == summary["samples_verified"] > 0 == summary["samples_mismatched"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("prose.csv", b"Dear reader,\nthis is no table\n", "heading"),
        ("noise.csv", bytes(range(256)) * 4, "heading"),
        ("empty.csv", b"", "heading"),
        ("words.csv", b"a,b\nx,y\nz,w\n", "'x' is not a number"),
        ("twice.csv", b"a,a\n1,2\n3,4\n", "its own name"),
        ("noise.npz", bytes(range(256)) * 4, "numpy.savez"),
        ("empty.npz", b"", "numpy.savez"),
        ("table.xlsx", b"PK", "convert"),
        ("missing.csv", None, "name a .csv"),
    ],
)
def test_wrong_data_is_one_line_with_its_remedy(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = qres_demo("--data", tmp_path / name, "--duration", 1, "--port", 0)
    assert ended.returncode in (1, 2)
    line = ended.stderr.splitlines()
    assert len(line) == 1 and line[0].startswith("qres: ") and says in line[0]


def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        ended = qres_demo("--port", busy.getsockname()[1], "--duration", 1, "--keep", tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "--port" in ended.stderr and "Traceback" not in ended.stderr
