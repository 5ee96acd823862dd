"""The loop, boot.py and main.py on a fake chip: order, restoring, traces, the error path, ways to the REPL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from port_fakes import MAC, START_MS, Board, DeepSleep, Reset, load
from qres import run, trace
from qres.events import (
    BOOT,
    COMMAND,
    DEEP,
    DEEP_SLEEP,
    FLASH,
    IDLE,
    LIGHT,
    PACKET,
    POWER,
    POWER_ON,
    RADIO,
    REPLY,
    REPORT,
    RTC,
    SAMPLE,
    SAVE,
    SEND,
    SENSE,
    SENT,
    SLEEP,
    TIMER,
    WATCHDOG,
    WIRE_LOG,
    WIRE_REPLY,
    WIRE_TRACE,
)
from qres.node import Node
from qres.snapshot import SnapshotError
from qres_host.wire import Deframer, Frame

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
CONFIG: dict[str, Any] = {
    "name": "test",
    "swarm_key": "11" * 32,
    "channels": [{"name": "t", "unit": "degC", "scale": "0.1"}],
    "sensors": [{"driver": "adc", "pin": 0}],
    "board": {"watchdog_ms": 0, "boot_window_ms": 0},
}


class ScriptedNode:
    """Gives the next list of actions for each event and remembers the events."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.events: list[tuple[Any, ...]] = []
        self.blob = b""

    def step(self, event: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self.events.append(event)
        actions = self.script.pop(0) if self.script else []
        if isinstance(actions, BaseException):
            raise actions
        return actions

    def restore(self, blob: bytes) -> None:
        if not blob.startswith(b"ok"):
            raise SnapshotError("checksum differs")
        self.blob = blob

    def snapshot(self, compact: bool) -> bytes:
        return b"ok compact" if compact else b"ok whole"

    def tags(self) -> list[int]:
        """The events seen, without the BOOT."""
        return [event[0] for event in self.events if event[0] != BOOT]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A chip with an empty flash."""
    board = Board()
    board.files = tmp_path
    return board


def drive(board: Board, monkeypatch: pytest.MonkeyPatch, node: Any, traced: bool = False) -> run.Driver:
    """A driver of `node` on this chip."""
    return run.Driver(node, load(board, monkeypatch).Port(CONFIG), traced)


def frames(board: Board) -> list[Frame]:
    """What the host reads."""
    return [item for item in Deframer().feed(bytes(board.out)) if isinstance(item, Frame)]


def test_sense_delivers_power_then_sample_before_anything_else(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.uv[0] = 215
    node = ScriptedNode([(SENSE,), (SLEEP, START_MS + 10, IDLE)], [], [(SLEEP, START_MS + 20, LIGHT)])
    assert drive(board, monkeypatch, node).boot() == (START_MS + 20, LIGHT)
    assert node.events[1:] == [(POWER, START_MS, -1, -1), (SAMPLE, START_MS, (215,))]


def test_failed_sends_of_a_batch_are_told_once(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    node = ScriptedNode([(SEND, b"a"), (SEND, b"b")], [(RADIO, 1), (SEND, b"c")])
    drive(board, monkeypatch, node).boot()
    assert node.events[1:] == [(SENT, START_MS, 2)]
    assert ("send", b"c") in board.calls


def test_actions_reach_the_port(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [(SAVE, RTC, b"r"), (SAVE, FLASH, b"f"), (REPORT, 4, b"hello"), (REPLY, b"{}"), (RADIO, 1), (RADIO, 0)]
    driver = drive(board, monkeypatch, ScriptedNode(actions))
    driver.boot()
    assert board.rtc == b"r"
    assert board.files is not None and any(b"f" in path.read_bytes() for path in board.files.iterdir())
    assert [(f.type, f.seq, f.payload) for f in frames(board)] == [(4, 0, b"hello"), (WIRE_REPLY, 1, b"{}")]
    assert board.wlan_active is False and ("espnow", True) in board.calls


def test_a_full_flash_is_told_and_costs_nothing_else(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = drive(board, monkeypatch, ScriptedNode([(SAVE, FLASH, b"f"), (SAVE, RTC, b"r")]))
    monkeypatch.setattr(driver.port, "write", _full)
    driver.boot()
    assert board.rtc == b"r"
    assert b"No space" in frames(board)[0].payload


def _full(name: str, data: bytes) -> None:
    raise OSError(28, "No space left on device")


# What a boot restores: (reset cause of the chip, RTC memory, flash) gives (cause, restored, session of a first boot)
BOOTS = [
    (1, b"", None, (POWER_ON, b"", 1)),
    (1, b"ok rtc", b"ok flash", (POWER_ON, b"ok flash", 1)),
    (3, b"ok rtc", b"ok flash", (WATCHDOG, b"ok flash", 1)),
    (4, b"ok rtc", b"ok flash", (DEEP_SLEEP, b"ok rtc", 0)),
    (4, b"torn", b"ok flash", (POWER_ON, b"ok flash", 1)),
    (4, b"", None, (POWER_ON, b"", 1)),
    (4, b"torn", b"torn", (POWER_ON, b"", 1)),
]


@pytest.mark.parametrize(("cause", "rtc", "flash", "expected"), BOOTS)
def test_a_boot_restores_the_newest_that_is_whole(
    board: Board, monkeypatch: pytest.MonkeyPatch, cause: int, rtc: bytes, flash: bytes | None, expected: Any
) -> None:
    if flash is not None:
        drive(board, monkeypatch, ScriptedNode([(SAVE, FLASH, flash)])).boot()
        board.nvs.clear()
    board.cause, board.rtc = cause, rtc
    node = ScriptedNode()
    drive(board, monkeypatch, node).boot()
    tag, now_ms, said, seed, mac, session, build = node.events[0]
    assert (tag, now_ms, mac, build) == (BOOT, START_MS, MAC, bytes(5))
    assert 0 <= seed < 1 << 30
    assert (said, node.blob, session) == expected


def test_a_wake_from_deep_sleep_leaves_flash_and_nvs_alone(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.cause, board.rtc = 4, b"ok rtc"
    driver = drive(board, monkeypatch, ScriptedNode())
    monkeypatch.setattr(driver.port, "read", _never)
    driver.boot()
    assert board.nvs == {}


def _never(name: str) -> bytes:
    raise AssertionError("flash was read")


def test_the_loop_ends_in_deep_sleep_at_the_time_asked(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    node = ScriptedNode([(SLEEP, START_MS + 500, IDLE)], [(SLEEP, START_MS + 60_500, DEEP)])
    with pytest.raises(DeepSleep):
        drive(board, monkeypatch, node).loop()
    assert node.tags() == [TIMER]
    assert board.calls[-1] == ("deepsleep", 60_000, False)


def test_a_node_that_asks_for_no_sleep_does_not_spin(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.interrupt_at_ms = START_MS + 900
    node = ScriptedNode()
    with pytest.raises(KeyboardInterrupt):
        drive(board, monkeypatch, node).loop()
    assert node.tags() == []


# Traces


def test_trace_lines_fit_a_frame_and_give_their_event_back() -> None:
    events: list[tuple[Any, ...]] = [
        (BOOT, START_MS, POWER_ON, 5, MAC, 65535, bytes(5)),
        (PACKET, START_MS, bytes(range(250)), -61),
        (SAMPLE, START_MS, (1, None, -(2**31))),
        (COMMAND, START_MS, "time", {"a": [1, "x" * 200]}),
        (TIMER, START_MS),
        (POWER, START_MS, 500, 3700),
        (SENT, START_MS, 1),
    ]
    actions = [[(SEND, bytes(250))] * 40, [(SAVE, FLASH, bytes(9000)), (REPORT, 1, b"x" * 2048)], [(SENSE,)]]
    for event in events:
        for batch in actions:
            line = trace.encode(event, batch, b"snapshot")
            assert len(line) <= trace.LINE_BYTES
            what, got, text = trace.decode(line)
            assert (what, got, text) == ("step", event, line)
            assert trace.same(line, trace.encode(got, batch, b"snapshot"))
            assert not trace.same(line, trace.encode(got, [*batch, (SENSE,)], b"snapshot"))
            assert not trace.same(line, trace.encode(got, batch, b"other"))


def test_a_restored_snapshot_is_traced_in_parts() -> None:
    blob = bytes(range(256)) * 8
    parts = [trace.decode(line) for line in trace.encode_restore(blob)]
    assert [part[:3] for part in parts] == [("restore", i, len(parts)) for i in range(len(parts))]
    assert b"".join(part[3] for part in parts) == blob


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"5", b"null", b'{"e": 5}', b'{"e": [1]}', b'{"e": [3, 1, "zz", 1]}', b'{"r": [1]}', b"\xff"],
)
def test_text_that_is_no_trace_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        trace.decode(line)


def repeat(lines: list[bytes], config: dict[str, Any]) -> list[int]:
    """Run the traced steps again on a new node; returns the tags of the events. Fails on the first difference."""
    restored, tags = b"", []
    node = Node(config)
    for line in lines:
        what, *rest = trace.decode(line)
        if what == "restore":
            restored += rest[2]
            continue
        event = rest[0]
        if event[0] == BOOT:
            node = Node(config)
            if restored:
                node.restore(restored)
            restored = b""
        assert trace.same(line, trace.encode(event, node.step(event), node.snapshot(False)))
        tags.append(event[0])
    return tags


def traced(board: Board) -> list[bytes]:
    """The lines of the trace that the board has written."""
    return [f.payload for f in frames(board) if f.type == WIRE_TRACE]


def test_the_trace_of_a_sleeper_repeats_bit_for_bit(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    for _ in range(6):  # boots, five of them out of deep sleep
        board.out.clear()
        with pytest.raises(DeepSleep) as sleep:
            drive(board, monkeypatch, Node(CONFIG), traced=True).loop()
        board.now_ms += sleep.value.args[0]
        board.cause = 4
        lines += traced(board)
    assert repeat(lines, CONFIG).count(BOOT) == 6


def test_the_trace_of_a_sentinel_repeats_bit_for_bit(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "role": "sentinel"}
    board.uv[0] = 215
    board.typed = [(START_MS + 200_000, b'{"cmd": "status"}\n')]
    board.air = [(START_MS + 100_000 + i, MAC, bytes(range(i)), -50) for i in range(0, 250, 25)]
    board.interrupt_at_ms = START_MS + 1_200_000
    with pytest.raises(KeyboardInterrupt):
        drive(board, monkeypatch, Node(config), traced=True).loop()
    tags = repeat(traced(board), config)
    assert {BOOT, SAMPLE, PACKET, TIMER, POWER, COMMAND} <= set(tags)
    assert tags.count(SAMPLE) >= 19


# The error path and the ways to the REPL


@pytest.fixture
def main_on(board: Board, monkeypatch: pytest.MonkeyPatch) -> Any:
    """run.main(CONFIG) on the chip, with a scripted node when one is given."""

    def start(node: Any = None, config: dict[str, Any] | None = None) -> None:
        load(board, monkeypatch)
        if node is not None:
            monkeypatch.setattr("qres.node.Node", lambda config: node)
        run.main(CONFIG if config is None else config)

    return start


def test_an_error_is_told_saved_and_ends_in_a_reset(board: Board, main_on: Any) -> None:
    node = ScriptedNode([], ZeroDivisionError("boom"))
    with pytest.raises(Reset):
        main_on(node)
    assert b"ZeroDivisionError: boom" in board.out
    (log,) = [f for f in frames(board) if f.type == WIRE_LOG]
    assert b"ZeroDivisionError: boom" in log.payload and b"Traceback" in log.payload
    assert board.files is not None and b"ok whole" in (board.files / "snapshot.1").read_bytes()
    assert board.now_ms >= START_MS + 5000


def test_an_error_while_booting_keeps_the_older_snapshot(board: Board, main_on: Any) -> None:
    with pytest.raises(Reset):
        main_on(ScriptedNode(ZeroDivisionError("boom")))
    assert board.files is not None and list(board.files.iterdir()) == []


def test_a_second_error_while_saving_still_resets(board: Board, main_on: Any) -> None:
    node = ScriptedNode([], ZeroDivisionError("boom"))
    node.snapshot = lambda compact: 1 // 0  # type: ignore[method-assign]
    with pytest.raises(Reset):
        main_on(node)


@pytest.mark.parametrize("after_ms", [500, 3000])
def test_ctrl_c_returns_to_the_repl_quietly(board: Board, main_on: Any, after_ms: int) -> None:
    board.interrupt_at_ms = START_MS + after_ms
    main_on(ScriptedNode([(RADIO, 1)], ZeroDivisionError("boom")))  # at 500 while waiting, at 3000 before the reset
    assert not board.wlan_active and "reset" not in board.names()


def test_a_bad_configuration_is_one_line(board: Board, main_on: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main_on(config={**CONFIG, "role": "king"})
    assert capsys.readouterr().out.splitlines() == [
        "/config.json: 'role' must be one of scheduled, sentinel, on-demand"
    ]
