"""Fixtures of the battery: the board, a minute of its trace, a few of its deep sleeps."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from attached import WAKES, Attached, Ear, Minute, Night, Settings, attach, number, until
from qres.events import BOOT, DEEP_SLEEP
from qres_host.records import Frames, Packet


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attached]:
    """The board, with the application on it; at the end it has its own files again."""
    settings = Settings.read()
    if not settings.port:
        pytest.skip("no board: make test-board PORT=/dev/ttyACM0")
    made = attach(settings)
    try:
        made.install(tmp_path_factory.mktemp("install"))
        yield made
    finally:
        made.put_back()


@pytest.fixture(scope="session")
def minute(board: Attached, tmp_path_factory: pytest.TempPathFactory) -> Minute:
    """Boot, HELLO, and `trace_s` of trace."""
    folder = tmp_path_factory.mktemp("minute")
    config = folder / "config.json"
    config.write_text(json.dumps(board.config()))
    board.start(board.config())
    with board.listen(folder / "capture") as ear:
        until(lambda: bool(ear.events("hello")), board.settings.boot_s)
        hello = (ear.events("hello") or [None])[-1]
        ear.ask("trace on")
        time.sleep(board.settings.trace_s / 2)  # in which all is loaded that it needs
        before = ear.ask("profile on")
        time.sleep(board.settings.trace_s / 2)
        after = ear.ask("profile off")
        ear.ask("trace off")
        said = [event.text for event in ear.events("text")]
        counters = ear.collector.counters()
    return Minute(hello, said, before, after, counters, folder / "capture", config)


@pytest.fixture(scope="session")
def night(board: Attached, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Some deep sleeps, then held awake and asked."""
    folder = tmp_path_factory.mktemp("night")
    config = folder / "config.json"
    config.write_text(json.dumps(board.sleeper()))
    session = board.start(board.sleeper())
    with board.listen(folder / "capture") as ear:
        until(lambda: _slept(ear, board), board.settings.boot_s + 3 * WAKES * board.settings.sleep_ms / 1000)
        ear.ask("awake 5")
        ear.ask("status")
        until(lambda: bool(_telemetry(ear)), board.settings.boot_s)
        told = (_telemetry(ear) or [None])[-1]
        trace = [json.loads(event.text) for event in ear.events("trace")]
        opens, gaps = ear.opens, ear.collector.counters()["serial_gaps"]
    with board.repl() as repl:
        resumed = number(repl, "__import__('machine').reset_cause() == __import__('machine').DEEPSLEEP_RESET") == 1
        sessions = session, number(repl, "__import__('esp32').NVS('qres').get_i32('session')")
    return Night(trace, told, sessions, resumed, opens, gaps, folder / "capture", config)


def _telemetry(ear: Ear) -> list[Packet]:
    frames = [item for item in list(ear.found) if isinstance(item, Frames)]
    return [packet for each in frames for packet in each.packets() if packet.told is not None]


def _slept(ear: Ear, board: Attached) -> bool:
    """Whether the board has slept and woken often enough, as far as its port lets one see that."""
    if board.vanishes and ear.opens > WAKES:
        return True
    events = [json.loads(event.text).get("e", [0]) for event in ear.events("trace")]
    return sum(event[0] == BOOT and event[2] == DEEP_SLEEP for event in events) >= WAKES
