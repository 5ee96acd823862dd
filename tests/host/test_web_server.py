"""The dashboard's server: ports, threads, a stop that does not wait for listeners, and the `serve` command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from qres_host.errors import QresError
from qres_host.web import open_browser, start_server
from qres_host.web import server as server_module
from web_fake_view import FakeView

ROOT = Path(__file__).parents[2]


@pytest.fixture
def view() -> FakeView:
    return FakeView(boards=2, clock=lambda: 0.0)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return bytes(reply.read())


def test_serves_and_stops(view: FakeView) -> None:
    with start_server(view, 0) as running:
        assert b'"status":"ok"' in get(running.url + "healthz")
        port = running.port
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    running.stop()  # twice is harmless


def test_stops_while_a_browser_listens(view: FakeView) -> None:
    running = start_server(view, 0)
    with urllib.request.urlopen(running.url + "v1/events", timeout=10) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline() == b"retry: 1000\n"
        running.stop()
        assert not running._thread.is_alive()
        stream.read()  # the stream ends instead of hanging


def test_a_port_that_was_asked_for_and_is_taken(view: FakeView) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(QresError) as caught:
            start_server(view, port)
    assert str(port) in caught.value.line() and "--port" in caught.value.line()
    assert "\n" not in caught.value.line()


def test_the_next_free_port_when_none_was_asked_for(view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_server(view, 0) as first:
        monkeypatch.setattr(server_module, "DEFAULT_PORT", first.port)
        with start_server(view) as second:
            assert first.port < second.port < first.port + server_module.PORTS_TRIED
            assert get(second.url + "healthz")


def test_an_address_that_is_not_ours(view: FakeView) -> None:
    with pytest.raises(QresError) as caught:
        start_server(view, 0, host="192.0.2.1")
    assert "192.0.2.1" in caught.value.line()


def test_no_text_browser_in_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not open_browser("http://127.0.0.1:8420/")


def serve(*arguments: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(str(ROOT / name) for name in ("firmware", "host"))
    return subprocess.Popen(
        [sys.executable, "-m", "qres_host.cli", "serve", "--no-browser", *arguments],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--replay", "missing"), 1, "missing"),
        (("--replay", "x", "/dev/ttyACM0"), 2, "--replay"),
        (("--speed", "2"), 2, "--replay"),
        (("--port", "70000"), 2, "port"),
        (("/dev/not-there", "--key", "00" * 32), 3, "/dev/not-there"),
    ],
)
def test_users_errors_are_one_line(arguments: tuple[str, ...], code: int, word: str) -> None:
    process = serve(*arguments)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == code, complained
    assert complained.count("\n") == 1 and word in complained and not said


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serves_a_board_until_it_is_ended(tmp_path: Path, ending: signal.Signals) -> None:
    board, port = os.openpty()
    name = os.ttyname(port)
    process = serve(name, "--key", "00" * 32, "--port", "0", "--capture", str(tmp_path / "capture"))
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[2]
        assert url.startswith("http://127.0.0.1:")
        os.write(board, b"hello from a board\r\n")
        assert b'"boards":0' in get(url + "healthz")
    finally:
        process.send_signal(ending)
        _, complained = process.communicate(timeout=60)
        os.close(board)
        os.close(port)
    assert process.returncode == 0 and complained == ""
    assert any((tmp_path / "capture").iterdir())
