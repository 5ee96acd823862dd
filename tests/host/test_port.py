"""The ESP32 port on a fake chip: waiting, sleeping, radio, commands, memory."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from port_fakes import MAC, START_MS, Board, DeepSleep, Reset, load
from qres.events import (
    COMMAND,
    DEEP,
    DEEP_SLEEP,
    IDLE,
    LIGHT,
    PACKET,
    POWER_ON,
    SOFT,
    TIMER,
    WATCHDOG,
    WIRE_LOG,
    WIRE_REPLY,
)
from qres.port import framing
from qres_host.wire import Deframer, Frame

CHANNELS = [{"name": "t", "unit": "degC", "scale": "0.1"}]
NO_DOG = {"watchdog_ms": 0}
PEER = bytes.fromhex("a0b1c2000001")


def make(board: Board, monkeypatch: pytest.MonkeyPatch, /, **config: Any) -> Any:
    """A port on `board`, without a watchdog unless the test brings one."""
    return load(board, monkeypatch).Port({"channels": CHANNELS, "board": NO_DOG, **config})


def frames(board: Board) -> list[Frame]:
    """What the host reads."""
    return [item for item in Deframer().feed(bytes(board.out)) if isinstance(item, Frame)]


@pytest.fixture(params=["esp32", "linux"])
def board(request: pytest.FixtureRequest) -> Board:
    """A chip, and a virtual board, where recv() and sleep_ms() end on input."""
    return Board(request.param)


@pytest.mark.parametrize("epoch", [1970, 2000])
def test_time_is_unix_milliseconds_whatever_the_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(Board(epoch=epoch), monkeypatch).now_ms() == START_MS


@pytest.mark.parametrize("radio", [0, 1])
@pytest.mark.parametrize("kind", [IDLE, LIGHT])
def test_a_wait_ends_exactly_at_its_deadline(
    board: Board, monkeypatch: pytest.MonkeyPatch, kind: int, radio: int
) -> None:
    port = make(board, monkeypatch)
    port.radio(radio)
    assert port.wait(START_MS + 61_234, kind) == (TIMER, START_MS + 61_234)
    assert port.wait(START_MS, kind) == (TIMER, START_MS + 61_234)  # overdue: at once


def test_a_virtual_board_blocks_once_per_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("linux")
    port = make(board, monkeypatch)
    port.radio(1)
    port.wait(START_MS + 4 * 3_600_000, IDLE)
    port.radio(0)
    port.wait(START_MS + 8 * 3_600_000, IDLE)
    assert board.names().count("recv") == 1
    assert board.names().count("sleep_ms") == 1


def test_packets_end_a_wait_with_their_signal_strength(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    board.air = [(START_MS + 700, PEER, b"one", -61), (START_MS + 700, PEER, b"two", -62)]
    port.radio(1)
    assert port.wait(START_MS + 5000, IDLE) == (PACKET, START_MS + 700, b"one", -61)
    assert port.wait(START_MS + 5000, IDLE) == (PACKET, START_MS + 700, b"two", -62)
    assert port.wait(START_MS + 5000, IDLE) == (TIMER, START_MS + 5000)


def test_light_sleep_has_the_radio_off(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    port.radio(1)
    port.wait(START_MS + 60_000, LIGHT)
    naps = [call for call in board.calls if call[0] == "lightsleep"]
    assert naps and not any(active for _, _, active in naps)
    assert sum(ms for _, ms, _ in naps) == 60_000


@pytest.mark.parametrize(("after_ms", "asked_ms"), [(3_600_000, 3_600_000), (0, 1), (-50, 1), (1 << 40, 1 << 29)])
def test_deep_sleep_has_the_radio_off_and_never_lasts_for_ever(
    board: Board, monkeypatch: pytest.MonkeyPatch, after_ms: int, asked_ms: int
) -> None:
    port = make(board, monkeypatch)
    port.radio(1)
    with pytest.raises(DeepSleep):
        port.wait(START_MS + after_ms, DEEP)
    assert board.calls[-1] == ("deepsleep", asked_ms, False)
    assert board.names()[-3:] == ["espnow", "wlan", "deepsleep"]


def test_the_serial_line_drains_before_deep_sleep_and_the_wake_stays_on_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = Board()
    port = make(board, monkeypatch)
    port.report(WIRE_LOG, b"last words")
    with pytest.raises(DeepSleep):
        port.wait(START_MS + 60_000, DEEP)
    drained_ms = board.now_ms - START_MS
    assert drained_ms > 0 and board.calls[-1][1] == 60_000 - drained_ms


@pytest.mark.parametrize("kind", [IDLE, LIGHT])
def test_the_watchdog_is_fed_in_time_through_a_long_wait(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    board = Board("linux")
    port = make(board, monkeypatch, board={"watchdog_ms": 30_000})
    assert ("wdt", 30_000) in board.calls
    port.wait(START_MS + 600_000, kind)
    fed = [START_MS, *(call[1] for call in board.calls if call[0] == "feed"), board.now_ms]
    assert max(b - a for a, b in pairwise(fed)) <= 15_000


def test_a_board_that_is_only_named_has_the_default_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    make(board, monkeypatch, board="xiao-esp32c6")
    assert ("wdt", 120_000) in board.calls


# Commands


@pytest.mark.parametrize("radio", [0, 1])
def test_a_command_ends_a_wait_within_a_quarter_second(
    board: Board, monkeypatch: pytest.MonkeyPatch, radio: int
) -> None:
    port = make(board, monkeypatch)
    port.radio(radio)
    board.typed = [(START_MS + 1010, b'{"cmd": "time", "arg": 1764000000000}\r\n')]
    tag, at_ms, name, argument = port.wait(START_MS + 60_000, IDLE)
    assert (tag, name, argument) == (COMMAND, "time", 1764000000000)
    assert 1010 <= at_ms - START_MS <= 1010 + 250


def test_commands_come_one_by_one_and_may_be_torn(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    board.typed = [
        (START_MS, b'\n\n{"cmd":"a"}\n{"cmd":"b","arg":[1]}\n{"cm'),
        (START_MS + 900, b'd":"c"}\r'),
    ]
    got = [port.wait(START_MS + 2000, IDLE) for _ in range(4)]
    assert [event[2:] for event in got[:3]] == [("a", None), ("b", [1]), ("c", None)]
    assert got[3] == (TIMER, START_MS + 2000)


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[1]",
        b'"x"',
        b"{}",
        b'{"cmd": 5}',
        b'{"cmd": "x"',
        b"\xff\xfe{",
        b"[" * 250,
        b'{"cmd":"' + b"x" * 600,
    ],
)
def test_a_bad_line_gets_one_error_and_nothing_else(board: Board, monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    port = make(board, monkeypatch)
    board.typed = [(START_MS, line + b'\n{"cmd":"status"}\n')]
    assert port.wait(START_MS + 100, IDLE)[2:] == ("status", None)
    (reply,) = frames(board)
    assert reply.type == WIRE_REPLY and "error" in json.loads(reply.payload)


def test_noise_on_the_line_neither_raises_nor_fills_memory(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    noise = random.Random(1)
    for _ in range(200):
        board.typed = [(board.now_ms, noise.randbytes(noise.randrange(1, 400)))]
        event = port.wait(board.now_ms + 1, IDLE)
        assert event[0] in (TIMER, COMMAND)
        assert len(port._line) <= framing.LINE_BYTES + 1


# Radio


def test_the_radio_comes_up_in_order_and_once(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch, radio_channel=6)
    for on in (0, 1, 1, 0, 0, 1):
        port.radio(on)
    up = [("wlan", True), ("channel", 6), ("rxbuf", 2048), ("espnow", True)]
    assert board.calls == [*up, ("espnow", False), ("wlan", False), *up]


def test_send_says_whether_the_frame_left(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    assert port.send(b"x") is False
    port.radio(1)
    assert port.send(b"x" * 250) is True
    board.refuse_send = True
    assert port.send(b"x") is False


def test_strangers_do_not_fill_the_heap(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    port.radio(1)
    for i in range(1000):
        board.air = [(board.now_ms, i.to_bytes(6, "big"), b"x", -90)]
        assert port.wait(board.now_ms + 10, IDLE)[3] == -90
        assert len(port._espnow.peers_table) <= 65


# Memory, identity, resets


def test_session_counts_fresh_boots_and_wraps(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    assert [port.session(fresh) for fresh in (False, True, False, True)] == [0, 1, 1, 2]
    board.nvs["session"] = 65535
    assert port.session(True) == 0


def test_reset_causes(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    expected = {1: POWER_ON, 2: POWER_ON, 3: WATCHDOG, 4: DEEP_SLEEP, 5: SOFT}
    for board.cause, cause in expected.items():
        assert port.reset_cause() == cause


def test_identity_and_rtc_memory(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    port = make(board, monkeypatch)
    assert port.mac() == MAC
    assert 0 <= port.seed() < 1 << 30
    assert port.load_rtc() == b""
    port.save_rtc(b"blob")
    assert port.load_rtc() == b"blob"


def test_a_power_cut_during_a_write_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    board.files = tmp_path
    port = make(board, monkeypatch)
    assert port.read("snapshot.0") is None
    port.write("snapshot.0", b"old" * 100)
    new = b"new" * 200
    for cut in range(0, len(new), 7):  # the cut: a torn temporary file stays behind, the rename never came
        (tmp_path / "snapshot.0.new").write_bytes(new[:cut])
        assert port.read("snapshot.0") == b"old" * 100
    monkeypatch.setattr(port.write.__globals__["os"], "rename", _cut)
    with pytest.raises(OSError, match="power"):
        port.write("snapshot.0", new)
    assert port.read("snapshot.0") == b"old" * 100
    monkeypatch.undo()
    port = make(board, monkeypatch)
    port.write("snapshot.0", new)
    assert port.read("snapshot.0") == new and not (tmp_path / "snapshot.0.new").exists()


def _cut(old: str, new: str) -> None:
    raise OSError("power")


def test_release_keeps_the_watchdog_quiet_at_the_repl(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    port = make(board, monkeypatch, board={"watchdog_ms": 30_000})
    port.radio(1)
    port.release()
    assert not board.wlan_active
    (settings,) = [call[1] for call in board.calls if call[0] == "timer"]
    before = board.names().count("feed")
    settings["callback"](None)
    assert board.names().count("feed") == before + 1 and settings["period"] < 30_000


def test_reset_waits_first(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    with pytest.raises(Reset):
        make(board, monkeypatch).reset(5000)
    assert board.now_ms == START_MS + 5000


@pytest.mark.parametrize(
    ("uv", "divider", "says"),
    [
        (1_875_000, 500, (500, 3750)),
        (2_100_000, 500, (1000, 4200)),
        (3_000_000, 500, (1000, 6000)),
        (900_000, 500, (0, 1800)),
        (3_750_000, 1000, (500, 3750)),
        (None, 1000, (-1, -1)),
    ],
)
def test_battery(monkeypatch: pytest.MonkeyPatch, uv: int | None, divider: int, says: tuple[int, int]) -> None:
    board = Board()
    if uv is not None:
        board.uv[3] = uv
    assert make(board, monkeypatch, battery_adc=3, battery_divider_permille=divider).power() == says


def test_no_battery(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(board, monkeypatch).power() == (-1, -1)
