"""boot.py and main.py on a fake chip: what runs, and the ways to the REPL."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from port_fakes import START_MS, Board, load
from qres import run
from test_port_run import CONFIG, FIRMWARE


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A chip with an empty flash."""
    board = Board()
    board.files = tmp_path
    return board


class Script:
    """main.py or boot.py, run on the chip with its own files."""

    def __init__(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board, self.monkeypatch = board, monkeypatch
        self.files: dict[str, str] = {"config.json": json.dumps(CONFIG)}
        self.ran: list[dict[str, Any]] = []

    def run(self, name: str) -> None:
        assert self.board.files is not None
        root = self.board.files
        for file, text in self.files.items():
            (root / file).write_text(text)
        load(self.board, self.monkeypatch)
        board = self.board
        fake_time = SimpleNamespace(sleep_ms=lambda ms: board.advance(ms))
        with self.monkeypatch.context() as patch:
            patch.setitem(sys.modules, "time", fake_time)
            listed = SimpleNamespace(
                listdir=lambda path: [p.name for p in root.iterdir()], stat=lambda p: stat(root, p)
            )
            patch.setitem(sys.modules, "os", listed)
            patch.setattr(run, "main", self.ran.append)
            patch.setattr("builtins.open", _open_in(root))
            code = compile((FIRMWARE / name).read_bytes(), name, "exec")
            exec(code, {"__name__": "__main__"})


def stat(root: Path, path: str) -> os.stat_result:
    """os.stat of a board's file."""
    return os.stat(root / path[1:])


def _open_in(root: Path) -> Any:
    real = open
    return lambda path, *rest: real(root / path[1:] if str(path).startswith("/config") else path, *rest)


@pytest.fixture
def script(board: Board, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The chip's start-up files."""
    return Script(board, monkeypatch)


def test_main_runs_the_configuration(script: Script) -> None:
    script.run("main.py")
    assert script.ran == [CONFIG]


@pytest.mark.parametrize("text", ["", "{", "[1]", "5"])
def test_main_says_what_is_wrong_with_the_configuration(
    script: Script, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    script.files["config.json"] = text
    script.run("main.py")
    assert script.ran == [] and "qres provision" in capsys.readouterr().out


def test_main_without_a_configuration_names_the_remedy(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.files.clear()
    script.run("main.py")
    assert script.ran == [] and "qres provision" in capsys.readouterr().out


def test_button_file_and_ctrl_c_stay_at_the_repl(script: Script) -> None:
    script.board.pressed = True
    script.run("main.py")
    script.board.pressed = False
    script.files["stay_awake"] = ""
    script.run("main.py")
    assert script.ran == []


@pytest.mark.parametrize(("cause", "waits_ms"), [(1, 2000), (2, 2000), (5, 2000), (4, 0)])
def test_the_window_is_open_after_power_on_only(script: Script, cause: int, waits_ms: int) -> None:
    script.files["config.json"] = json.dumps({**CONFIG, "board": "xiao-esp32c6"})
    script.board.cause = cause
    script.run("main.py")
    assert len(script.ran) == 1 and script.board.now_ms == START_MS + waits_ms


def test_ctrl_c_in_the_window_is_the_repl(script: Script) -> None:
    script.files["config.json"] = json.dumps({**CONFIG, "board": {}})
    script.board.interrupt_at_ms = START_MS + 700
    script.run("main.py")
    assert script.ran == []


def test_boot_feeds_a_watchdog_that_outlived_a_soft_reset(script: Script) -> None:
    for cause, board, armed in [(1, {}, False), (5, {}, True), (5, {"watchdog_ms": 0}, False), (5, "named", True)]:
        script.board.calls.clear()
        script.board.cause = cause
        script.files["config.json"] = json.dumps({**CONFIG, "board": board})
        script.run("boot.py")
        assert ("timer" in script.board.names()) is armed
    script.files["config.json"] = "{"
    script.board.calls.clear()
    script.run("boot.py")
    assert script.board.calls == []
