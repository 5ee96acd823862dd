"""Commands about the board: configuration, profile, snapshot, trace, staying awake; on a fake chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from port_fakes import START_MS, Board, DeepSleep, Reset, load
from qres import run
from qres.events import BOOT, COMMAND, DEEP, IDLE, SLEEP, TIMER, WIRE_REPLY, WIRE_TRACE
from qres.node import Node
from qres_host.traces import replay_trace
from qres_host.wire import Deframer, Frame

CONFIG: dict[str, Any] = {
    "name": "test",
    "swarm_key": "11" * 32,
    "channels": [{"name": "t", "unit": "degC", "scale": "0.1"}],
    "sensors": [{"driver": "adc", "pin": 0}],
    "board": {"watchdog_ms": 0, "boot_window_ms": 0},
}
HOUR_MS = 3_600_000


class Sleeper:
    """A node that asks for an hour of deep sleep after each event."""

    last_ms, started_ms, awake_ms, radio_ms = START_MS + 5, START_MS, 7, 3

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.until_ms = START_MS + HOUR_MS

    def step(self, event: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self.events.append(event)
        return [(SLEEP, self.until_ms, DEEP)]

    def snapshot(self, compact: bool) -> bytes:
        return b"state" * 300


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A chip with a configuration in its flash."""
    board = Board()
    board.files = tmp_path
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return board


@pytest.fixture
def driver(board: Board, monkeypatch: pytest.MonkeyPatch) -> run.Driver:
    """A driver of a sleeper, booted."""
    node: Any = Sleeper()
    made = run.Driver(node, load(board, monkeypatch).Port(CONFIG))
    made.boot()
    return made


def frames(board: Board, kind: int) -> list[bytes]:
    return [i.payload for i in Deframer().feed(bytes(board.out)) if isinstance(i, Frame) and i.type == kind]


def ask(driver: run.Driver, board: Board, name: str, argument: Any = None) -> dict[str, Any]:
    """Deliver a command; return its only answer."""
    board.out.clear()
    driver.handle((COMMAND, board.now_ms, name, argument))
    (answer,) = frames(board, WIRE_REPLY)
    found = json.loads(answer)
    assert isinstance(found, dict) and found.pop("cmd") == name
    return found


def test_set_checks_writes_whole_and_restarts(driver: run.Driver, board: Board) -> None:
    assert board.files is not None
    file = board.files / "config.json"
    for pair, wrong in (
        (["period_ms", 5], "'period_ms' must be an integer from 10"),
        (["role", "king"], "'role' must be one of scheduled"),
        (["no_such", 1], "unknown key 'no_such'"),
        (["channels", None], "'channels' must list"),
        (["swarm_key", "22" * 32], "'swarm_key' is for `qres provision`"),
        (["update_key", "22" * 32], "'update_key' is for `qres provision`"),
        (["period_ms"], '"set" [key, value]'),
        ("period_ms", '"set" [key, value]'),
    ):
        assert wrong in ask(driver, board, "set", pair)["error"]
    assert json.loads(file.read_text()) == CONFIG
    assert "restart" not in ask(driver, board, "set", ["name", "test"])
    with pytest.raises(Reset):
        driver.handle((COMMAND, board.now_ms, "set", ["period_ms", 30000]))
    assert json.loads(file.read_text()) == {**CONFIG, "period_ms": 30000}
    assert json.loads(frames(board, WIRE_REPLY)[-1]) == {
        "cmd": "set", "ok": True, "restart": True, "key": "period_ms", "value": 30000,
    }  # fmt: skip
    assert any(b"state" in path.read_bytes() for path in board.files.iterdir() if path.name != "config.json")
    assert ask(driver, board, "get", "period_ms")["value"] == 30000
    assert "value" not in ask(driver, board, "get", "swarm_key")


def test_set_with_null_takes_a_key_out_and_a_full_flash_changes_nothing(
    driver: run.Driver, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Reset):
        driver.handle((COMMAND, board.now_ms, "set", ["name", None]))
    assert board.files is not None and "name" not in json.loads((board.files / "config.json").read_text())

    def full(name: str, data: bytes) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(driver.port, "write", full)
    assert "no space" in ask(driver, board, "set", ["name", "b"])["error"]


def test_a_sleeper_stays_awake_for_so_long_and_no_longer(driver: run.Driver, board: Board) -> None:
    assert driver.kind == DEEP
    for wrong in (-1, 241, "5", None, True, 1.5):
        assert "minutes from 0 to 240" in ask(driver, board, "awake", wrong)["error"]
        assert driver.kind == DEEP
    assert ask(driver, board, "awake", 3)["until_ms"] == START_MS + 180_000
    assert (driver.until_ms, driver.kind) == (START_MS + 180_000, IDLE)
    event = driver.port.wait(driver.until_ms, driver.kind)
    assert event == (TIMER, START_MS + 180_000)
    assert driver.handle(event) == (START_MS + HOUR_MS, DEEP)
    with pytest.raises(DeepSleep):
        driver.port.wait(driver.until_ms, driver.kind)
    ask(driver, board, "awake", 3)
    assert ask(driver, board, "awake", 0)["until_ms"] == 0
    driver.handle((TIMER, board.now_ms))
    assert driver.kind == DEEP


def test_a_command_that_waits_is_heard_before_deep_sleep(driver: run.Driver, board: Board) -> None:
    board.typed.append((board.now_ms, b'{"cmd":"awake","arg":1}\n'))
    event = driver.port.wait(driver.until_ms, driver.kind)
    assert event[0] == COMMAND
    assert driver.handle(event)[1] == IDLE


def test_profile_counts_steps_between_on_and_off(driver: run.Driver, board: Board) -> None:
    first = ask(driver, board, "profile", "on")
    assert first["up_ms"] == 5 and first["awake_ms"] == 7 and "steps" not in first and "run" in first["modules"]
    driver.handle((TIMER, board.now_ms))
    driver.handle((TIMER, board.now_ms))
    assert ask(driver, board, "profile")["steps"] == [[TIMER, 2, 0, 0]]
    assert ask(driver, board, "profile", "off")["steps"] == [[TIMER, 2, 0, 0]]
    assert "steps" not in ask(driver, board, "profile")
    assert "unknown command" in ask(driver, board, "profile", "maybe")["error"]


def test_snapshot_and_trace(driver: run.Driver, board: Board) -> None:
    assert ask(driver, board, "snapshot") == {"ok": True, "bytes": 1500}
    assert len(frames(board, WIRE_TRACE)) == 2
    ask(driver, board, "trace", "on")
    driver.handle((TIMER, board.now_ms))
    assert len(frames(board, WIRE_TRACE)) == 3
    ask(driver, board, "trace", "off")
    driver.handle((TIMER, board.now_ms))
    assert not frames(board, WIRE_TRACE)
    assert "unknown command" in ask(driver, board, "dance")["error"]


def test_a_trace_that_begins_in_the_middle_repeats_bit_for_bit(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.uv[0] = 215
    driver = run.Driver(Node(CONFIG), load(board, monkeypatch).Port(CONFIG))
    driver.boot()
    for i in range(40):
        if i == 20:
            driver.handle((COMMAND, board.now_ms, "trace", "on"))
        board.now_ms = driver.until_ms
        driver.handle((TIMER, board.now_ms))
    lines = list(enumerate(frames(board, WIRE_TRACE), 1))
    outcome = replay_trace(lines, CONFIG, "the test")
    assert outcome.difference is None and outcome.steps >= 20 and outcome.skipped == 0


def test_the_first_event_is_a_boot(driver: run.Driver) -> None:
    node: Any = driver.node
    assert node.events[0][0] == BOOT
