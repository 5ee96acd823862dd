"""The command line: one line and an exit code for every mistake; help with an example; no traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from qres import trace
from qres.events import BOOT, PACKET, POWER, POWER_ON, SAMPLE, TIMER
from qres.node import Node
from qres_host import __version__, cli, devices, errors
from qres_host.capture import CaptureWriter
from qres_host.errors import QresError
from qres_host.traces import lines_of_file, replay_trace
from qres_host.wire import TRACE, encode_frame
from traffic import KEY, Swarm

CONFIG = {
    "name": "x",
    "swarm_key": KEY.hex(),
    "channels": [{"name": "temp"}],
    "sensors": [{"driver": "adc", "pin": 0}],
    "period_ms": 60_000,
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `qres` as a user does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "120"}
    environment.pop("QRES_SWARM_KEY", None)
    command = [sys.executable, "-m", "qres_host.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture with its key beside it."""
    folder = tmp_path / "capture"
    writer = CaptureWriter(folder)
    for i, chunk in enumerate(Swarm().rounds(3)):
        writer.append(i, "virtual://gate", chunk)
    writer.close()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = cli.LazyGroup().get_command(click.Context(cli.qres), name)
    assert command is not None
    assert command.help
    if not isinstance(command, click.Group):
        assert f"qres {name}" in (command.epilog or "")


def test_help_imports_no_command_and_version_is_told() -> None:
    program = "import sys; from qres_host import cli; cli.run(['--help']); print('qres_host.monitor' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith("False\n") and all(name in done.stdout for name in cli.COMMANDS)
    assert __version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], errors.USAGE),
        (["monitor", "--nonsense"], errors.USAGE),
        (["monitor", "http://x"], errors.USAGE),
        (["monitor", "/dev/absent"], errors.NO_DEVICE),
        (["monitor", "virtual://absent"], errors.NO_DEVICE),
        (["monitor", "/dev/null", "--key", "00" * 32], errors.NO_DEVICE),
        (["monitor", "/dev/null"], errors.USAGE),
        (["replay", "/absent"], errors.FAILURE),
        (["replay", "/etc/passwd"], errors.FAILURE),
        (["replay", "--speed", "-1", "x"], errors.USAGE),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(arguments: list[str], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("qres: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_no_board_at_all_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QRES_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(devices.list_ports, "comports", list)
    assert cli.run(["monitor"]) == errors.NO_DEVICE
    assert capsys.readouterr().err == (
        "qres: no board found: plug one in, name its port, or start virtual boards with `qres demo`\n"
    )


def test_replay_of_a_capture(capture: Path, tmp_path: Path) -> None:
    done = run("replay", str(capture), "--db", str(tmp_path / "x.db"), "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 0 and (summary["samples"], summary["streams_exact"], summary["rejected"]) == (144, 3, 0)
    assert (tmp_path / "x.db").stat().st_size > 8192
    assert "3 of 3 exact" in run("replay", str(capture)).stdout
    assert "exists already" in run("replay", str(capture), "--db", str(tmp_path / "x.db")).stderr
    with open(next(capture.glob("*.qcap")), "ab") as file:
        file.write(b"cut")
    assert run("replay", str(capture), "--json").returncode == errors.PARTIAL
    wrong_key = run("replay", str(capture), "--key", "11" * 32, "--json")
    assert json.loads(wrong_key.stdout)["samples"] == 0


def make_trace(path: Path) -> None:
    """Write the trace of a node that boots twice, the second time from its snapshot."""
    lines: list[bytes] = []

    def step(node: Node, event: tuple[object, ...]) -> None:
        lines.append(trace.encode(event, node.step(event), node.snapshot(False)))

    mac = bytes.fromhex("025152450001")
    node, now = Node(CONFIG), 1_000
    step(node, (BOOT, now, POWER_ON, 77, mac, 1, bytes(5)))
    for _ in range(5):
        now += 700
        step(node, (TIMER, now))
    step(node, (POWER, now, 900, 3900))
    for value in (200, 201, None, 900):
        now += 60_000
        step(node, (SAMPLE, now, (value,)))
    step(node, (PACKET, now, b"noise", -70))
    blob = node.snapshot(True)
    node = Node(CONFIG)
    node.restore(blob)
    lines += trace.encode_restore(blob)
    step(node, (BOOT, now + 60_000, 1, 78, mac, 1, bytes(5)))
    step(node, (SAMPLE, now + 60_000, (202,)))
    path.write_bytes(b"\n".join(lines) + b"\n")


def test_replay_of_a_trace_is_bit_for_bit_and_names_the_first_difference(tmp_path: Path) -> None:
    path, config = tmp_path / "t.jsonl", tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    make_trace(path)
    done = run("replay", str(path), "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "14 steps, identical\n"), done.stderr
    lines = path.read_text().splitlines()
    lines[8] = lines[8].replace("201", "203")
    path.write_text("\n".join(lines))
    steps, _, difference = replay_trace(lines_of_file(path), CONFIG, "t")
    assert difference is not None and difference.line == steps + 1 == 9
    assert run("replay", str(path), "--config", str(config)).returncode == errors.FAILURE
    with pytest.raises(QresError, match="does not name the board's configuration"):
        replay_trace(lines_of_file(path), None, "t")
    path.write_text(json.dumps({"config": CONFIG}) + "\n" + lines[0] + "\nnot json\n")
    with pytest.raises(QresError, match="line 3 is no trace line"):
        replay_trace(lines_of_file(path), None, "t")


def test_a_trace_inside_a_capture_is_replayed_and_what_precedes_the_first_boot_skipped(tmp_path: Path) -> None:
    path, config = tmp_path / "t.jsonl", tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    make_trace(path)
    lines = path.read_bytes().splitlines()
    writer = CaptureWriter(tmp_path / "cap")
    for i, line in enumerate([lines[2], *lines]):
        writer.append(i, "virtual://x", encode_frame(TRACE, i, line))
    writer.close()
    done = run("replay", str(tmp_path / "cap"), "--config", str(config))
    assert done.stdout == "14 steps, identical (1 before the first boot skipped)\n", done.stderr
    writer = CaptureWriter(tmp_path / "cap")
    writer.append(99, "virtual://y", encode_frame(TRACE, 0, lines[0]))
    writer.close()
    assert "choose by --device" in run("replay", str(tmp_path / "cap"), "--config", str(config)).stderr
    both = run("replay", str(tmp_path / "cap"), "--config", str(config), "--device", "virtual://y", "--json")
    assert json.loads(both.stdout) == {"steps": 1, "skipped": 0, "difference": None}


def test_monitor_prints_json_text_and_log(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    arguments = ["monitor", os.ttyname(slave), "--key", KEY.hex()]
    data = b"".join(Swarm().rounds(3))

    def talk() -> None:
        time.sleep(1.5)
        os.write(master, data)

    for extra in (
        ["--once", "--json"],
        ["--duration", "4", "--log", str(tmp_path / "log"), "--capture", str(tmp_path)],
    ):
        talker = threading.Thread(target=talk)
        talker.start()
        done = run(*arguments, *extra)
        talker.join()
        assert done.returncode == 0, done.stderr
        if "--json" in extra:
            fleet = json.loads(done.stdout)
            assert fleet["totals"]["samples"] == 144 and len(fleet["boards"]) == 4
        else:
            assert "heap 91234 free" in done.stdout and "02:51:52:45:00:01" in done.stdout
            (log,) = (tmp_path / "log").glob("*.log")
            assert re.search(r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d heap 91234 free$", log.read_text())
            (trace,) = (tmp_path / "log").glob("*.trace")
            assert len(trace.read_text().splitlines()) == 3
    os.close(master)
    os.close(slave)


def test_monitor_once_without_a_word_times_out() -> None:
    master, slave = pty.openpty()
    done = run("monitor", os.ttyname(slave), "--key", KEY.hex(), "--once", "--duration", "0.5")
    assert done.returncode == errors.TIMEOUT and done.stderr.count("\n") == 1
    os.close(master)
    os.close(slave)


def test_ctrl_c_is_a_clean_end(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "qres_host.cli", "monitor", os.ttyname(slave), "--key", KEY.hex()]
    command += ["--capture", str(tmp_path / "cap")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    give_up = time.monotonic() + 30
    while not list(tmp_path.glob("cap/*.qcap")) and time.monotonic() < give_up:
        time.sleep(0.05)
    time.sleep(0.3)
    os.write(master, b"a line of text\r\n")
    assert child.stdout is not None
    assert "a line of text" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0 and err == "" and "streams exact" in out
    os.close(master)
    os.close(slave)
