"""A swarm in its own process: what a program can ask of it and do to it, and how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
from qres_host.errors import QresError
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.playback import make_weather
from qres_host.virtual.swarm import Swarm

TALKER = b"import time\nwhile True:\n    print('tick tick tick')\n    time.sleep_ms(1000)\n"
TIMEOUT_S = 60
ROUNDS = 20_000


def until(check: Callable[[], bool]) -> None:
    """Ask until it is so; what never becomes so fails."""
    for _ in range(ROUNDS):
        if check():
            return
    raise AssertionError("it did not happen")


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    recordings = make_weather(2, ("temp",))
    boards = [
        BoardSpec(f"b{k}", bytes((2, 0, 0, 0, 0, k)), None, playback=recordings[k], files={"main.py": TALKER})
        for k in range(2)
    ]
    with Swarm(boards, speed=600.0, links=tmp_path) as running:
        yield running


def state(swarm: Swarm, name: str) -> dict[str, object]:
    return next(dict(board) for board in swarm.status()["boards"] if board["name"] == name)


def test_status_counts_time_and_boards(swarm: Swarm) -> None:
    until(lambda: swarm.status()["virtual_s"] > 5)
    status = swarm.status()
    assert status["now_ms"] >= swarm.start_ms + 5000
    assert {board["state"] for board in status["boards"]} <= {"waiting", "running"}
    assert status["boards"][0]["boots"] == 1


def test_kill_reboots(swarm: Swarm) -> None:
    swarm.kill("b1")
    until(lambda: state(swarm, "b1")["boots"] == 2)
    assert state(swarm, "b1")["kills"] == 1
    assert state(swarm, "b0")["kills"] == 0


def test_unplug_and_plug(swarm: Swarm) -> None:
    link = swarm.links / "b0"
    with serial.Serial(str(link), timeout=TIMEOUT_S) as port:
        assert port.read_until(b"tick")
        swarm.unplug("b0")
        assert not link.exists()
        with pytest.raises((serial.SerialException, OSError)):
            for _ in range(ROUNDS):
                port.read(4096)
    swarm.plug("b0")
    with serial.Serial(str(link), timeout=TIMEOUT_S) as port:
        assert port.read_until(b"tick tick").endswith(b"tick tick")


def test_flipped_bits_are_counted(swarm: Swarm) -> None:
    swarm.corrupt("b0", 0.5)
    until(lambda: int(str(state(swarm, "b0")["serial_corrupted_bytes"])) > 20)
    assert state(swarm, "b1")["serial_corrupted_bytes"] == 0


def test_truth_is_what_the_board_senses(swarm: Swarm) -> None:
    truth = swarm.truth("b0")
    first = truth.index_at(swarm.start_ms)
    assert list(swarm.truth_rows("b0", first, 2)) == [(39,), (39,)]
    with pytest.raises(QresError):
        swarm.truth("nobody")


def test_wrong_names_are_one_line_errors(swarm: Swarm) -> None:
    with pytest.raises(QresError, match="no virtual board"):
        swarm.kill("nobody")
    assert swarm.running()


def test_names_in_use_are_refused_and_freed(swarm: Swarm) -> None:
    twin = Swarm(swarm.boards[:1], links=swarm.links)
    with pytest.raises(QresError, match="runs already"):
        twin.start()
    twin.stop()
    swarm.stop()
    assert list(swarm.links.iterdir()) == []
    with twin:
        assert (twin.links / "b0").exists()
    assert twin.stop() == {}


def test_what_a_killed_swarm_left_is_cleared_away(swarm: Swarm) -> None:
    assert swarm._process is not None
    swarm._process.kill()
    swarm._process.wait()
    with pytest.raises(QresError):
        swarm.status()
    assert not swarm.running()
    with Swarm(swarm.boards[:1], links=swarm.links):
        assert sorted(path.name for path in swarm.links.iterdir() if path.is_symlink()) == ["b0"]


def test_two_boards_of_one_name_are_refused() -> None:
    board = BoardSpec("a", bytes(6), None)
    with pytest.raises(QresError):
        Swarm([board, board])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from qres_host.virtual.cli import virtual; virtual()", "start", *arguments]


def environment(folder: Path) -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path), QRES_RUNTIME_DIR=str(folder))


def test_command_prints_ports_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--boards", "3", "--blank", "--json"), env=environment(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], TIMEOUT_S)[0]
    boards = json.loads(process.stdout.readline())["boards"]
    assert [board["name"] for board in boards] == ["sentinel", "ewr-1", "jfk-1"]
    assert all(Path(board["link"]).resolve() == Path(board["port"]) for board in boards)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, output, errors) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
