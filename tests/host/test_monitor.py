"""The monitor's parts: words with tracebacks, commands and their answers, logs, keys, what is wrong with a port."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from qres_host import devices, source
from qres_host.capture import CaptureReader
from qres_host.collector import Collector
from qres_host.deploy import compile_mpy, firmware_root, firmware_sources
from qres_host.devices import Device, Uri, parse_uri
from qres_host.errors import USAGE, QresError
from qres_host.keyboard import TypedLine
from qres_host.logs import LogFolder
from qres_host.records import Event
from qres_host.screen import screen, troubles
from qres_host.talk import AGAIN_MS, Command, Outcome, Talk, choose, parse
from qres_host.wire import HELLO, LOG, REPLY, encode_frame
from qres_host.words import Words
from rich.console import Console
from test_collector import Port, until
from traffic import KEY, Swarm


@pytest.fixture
def ports() -> Iterator[list[Port]]:
    """Three ptys."""
    made = [Port() for _ in range(3)]
    for port in made:
        tty.setraw(port.slave)  # a board does not echo
    yield made
    for port in made:
        for fd in (port.master, port.slave):
            with pytest.MonkeyPatch.context():
                try:
                    os.close(fd)
                except OSError:
                    continue


def say(words: Words, *texts: str, kind: str = "text", at_ms: int = 5) -> list[str]:
    """The lines that these make."""
    return [
        line.text
        for n, text in enumerate(texts)
        for line in words.take(Event(at_ms, n, "serial:///x", kind, text, None))
    ]


def firmware_line(file: str, text: str) -> int:
    """Where a text stands in a file of the firmware."""
    lines = (firmware_root() / file).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


def test_tracebacks_show_the_source_and_are_kept() -> None:
    words = Words()
    number = firmware_line("qres/run.py", "self.handle(self.port.wait(")
    traceback = [
        "Traceback (most recent call last):",
        f'  File "qres/run.py", line {number}, in loop',
        '  File "elsewhere.py", line 3, in f',
        '  File "../../etc/passwd", line 1, in g',
        "ValueError: no",
    ]
    lines = say(words, *traceback)
    assert lines[2] == "    self.handle(self.port.wait(self.until_ms, self.kind))"
    assert len(lines) == 6 and [c.error for c in words.crashes] == ["ValueError: no"]
    assert say(words, "\n".join(traceback), kind="log") == []  # the same, reported as a frame
    assert say(words, "flash: full", kind="log") == ["flash: full"]
    assert "another application" in source.source_line("qres/run.py", number, b"\1\2\3\4")
    assert source.source_line("qres/run.py", 10**6) == source.source_line("qres/none.py", 1) == ""


@pytest.mark.parametrize("arch", ["bytecode", "rv32imc"])
def test_no_line_moves_between_source_and_board(arch: str) -> None:
    made = firmware_sources(arch=arch)
    for name in ("qres/run.py", "qres/node.py", "qres/kernels.py", "qres/port/esp32.py"):
        before = (firmware_root() / name).read_text().splitlines()
        after = made[name].decode().splitlines()
        assert len(before) == len(after), name
        assert [line for line in before if line.lstrip().startswith("def ")] == [
            line for line in after if line.lstrip().startswith("def ")
        ]


def test_a_real_traceback_of_a_machine_names_the_line(tmp_path: Path) -> None:
    text = b"def fail(x):\n    # a comment\n    y = x + 1\n    return y // 0\n"
    (tmp_path / "mod.mpy").write_bytes(compile_mpy("qres/mod.py", text))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mod; mod.fail(1)"
    done = subprocess.run(
        [sys.executable, "-m", "micropython_unix", "-c", code], capture_output=True, text=True, check=False
    )
    assert 'File "qres/mod.py", line 4, in fail' in done.stdout + done.stderr


def test_commands_as_people_type_them() -> None:
    assert parse("set period_ms 30000") == Command("", "set", ["period_ms", 30000])
    assert parse("@jfk set name north wind").argument == ["name", "north wind"]
    assert parse("set base_ms [1,2,3]").argument == ["base_ms", [1, 2, 3]]
    assert parse("set name null").argument == ["name", None]
    assert parse("awake 10").line() == b'{"cmd":"awake","arg":10}\n'
    assert parse("profile").argument is None and parse("trace off").argument == "off"
    for wrong in (
        "",
        "dance",
        "set",
        "set x",
        "awake",
        "awake x",
        "trace",
        "status now",
        "@a",
        "get a b",
        "set x " + "y" * 300,
    ):
        with pytest.raises(QresError) as error:
            parse(wrong)
        assert error.value.exit_code == USAGE and error.value.remedy
    names = [("serial:///a", "north"), ("serial:///b", "south")]
    assert choose(parse("@south status"), names) == ["serial:///b"]
    assert choose(parse("@all status"), names) == ["serial:///a", "serial:///b"]
    assert choose(parse("status"), names[:1]) == ["serial:///a"]
    for wrong in ("status", "@west status"):
        with pytest.raises(QresError):
            choose(parse(wrong), names)


def test_a_command_is_repeated_until_answered_and_answers_to_others_are_none() -> None:
    talk = Talk(10_000)
    talk.ask(0, "a", parse("set name x"))
    talk.ask(0, "a", parse("status"))
    assert [line for _, line in talk.due(0)] == [parse("set name x").line()] and not list(talk.due(1))
    assert len(list(talk.due(AGAIN_MS))) == 1
    talk.opened(AGAIN_MS + 1, "a")
    assert len(list(talk.due(AGAIN_MS + 1))) == 1
    assert talk.answered(5000, "a", {"ok": True}) is None  # to an acknowledgement
    assert talk.answered(5000, "a", {"cmd": "ack", "ok": True}) is None
    outcome = talk.answered(5000, "a", {"cmd": "set", "error": "'name' must be ..."})
    assert outcome == Outcome("a", parse("set name x"), False, {"cmd": "set", "error": "'name' must be ..."})
    assert outcome.line() == "set: 'name' must be ..."
    assert not talk.expired(14_999) and talk.busy
    assert [o.answer for o in talk.expired(15_000)] == [None] and not talk.busy


def test_a_typed_line() -> None:
    typed = TypedLine()
    assert typed.press("stat") == [] and typed.press("x\x7fus\r") == ["status"]
    assert typed.press("\x1b[A") == [] and typed.text == "status" and typed.press("\x15get a\n") == ["get a"]
    typed.press("\x1b[A"), typed.press("\x1b[A")
    assert typed.text == "status"
    typed.press("\x1b[B"), typed.press("\x1b[B")
    assert typed.text == ""


def test_a_board_that_floods_costs_the_others_nothing(ports: list[Port], tmp_path: Path) -> None:
    gate, quiet, swarm = threading.Event(), ports[1], Swarm(1)
    with Collector(
        [parse_uri(p.path) for p in ports[:2]],
        KEY,
        queue_chunks=8,
        listen=lambda _: gate.wait(20) and None,
        acknowledge=False,
    ) as collector:
        until(lambda: all(d.fd >= 0 for d in collector.devices))
        for _ in range(40):
            before = collector.chunks
            ports[0].write(b"spam spam spam\n" * 200)
            until(lambda before=before: collector.chunks > before)
        quiet.write(swarm.hello())
        until(lambda: collector.bytes >= 40 * 3000 + len(swarm.hello()))
        gate.set()
        until(lambda: collector.label(f"serial://{quiet.path}") == "gate")
        assert collector.counters()["dropped"] > 0
        ports[0].write(b"spam\n" * 4000)
        until(lambda: any("floods its port" in line for line in troubles(collector)))


def test_a_board_that_keeps_restarting_is_named(ports: list[Port]) -> None:
    with Collector([parse_uri(ports[0].path)], KEY) as collector:
        until(lambda: collector.devices[0].fd >= 0)
        for _ in range(5):
            ports[0].write(encode_frame(LOG, 0, b"hello") + encode_frame(LOG, 1, b"again"))
        until(lambda: any("restarted 4 times in the last minute" in line for line in troubles(collector)))
        shown = Console(width=100, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
        shown.print(screen(collector, 100, 30, "sta"))
        text = shown.export_text()
        assert "restarted 4 times" in text and "> sta_" in text and text.count("\n") <= 31


def test_two_programs_on_one_port_name_each_other(ports: list[Port]) -> None:
    code = "import serial,sys,time; s=serial.Serial(sys.argv[1], exclusive=True); print(1, flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, ports[0].path], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline()
    try:
        with pytest.raises(QresError, match="is busy") as error:
            Device(parse_uri(ports[0].path)).open()
        assert f"process {holder.pid}" in error.value.remedy
        with Collector([parse_uri(p.path) for p in ports[:2]], KEY) as collector:
            until(lambda: collector.devices[1].fd >= 0)
            until(lambda: any("is busy" in line for line in troubles(collector)))
            ports[1].write(b"unaffected\n")
            until(lambda: "unaffected" in [line.text for line in collector.decoder.words.kept])
            holder.kill()
            until(lambda: collector.devices[0].fd >= 0)
    finally:
        holder.kill()
        holder.wait()


def test_a_board_that_does_not_read_stalls_nobody(ports: list[Port]) -> None:
    device = Device(parse_uri(ports[0].path))
    device.open()
    sent = 0
    while device.post(b"x" * 500 + b"\n"):
        sent += 1
        assert sent < 10_000
    assert len(os.read(ports[0].master, 65536)) > 0
    device.drain()
    device.close()


def test_a_board_is_followed_by_its_mac(ports: list[Port], monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[SimpleNamespace] = []
    monkeypatch.setattr(devices.list_ports, "comports", lambda: there)
    monkeypatch.setattr(devices, "_SCAN_S", 0.0)
    uri = parse_uri("A0:B1:C2:D3:E4:F5")
    assert uri == Uri("usb", "a0:b1:c2:d3:e4:f5") and parse_uri(str(uri)) == uri
    device = Device(uri)
    assert not device.poll_open() and "no board at a0:b1" in device.reason
    for port in ports[:2]:
        there[:] = [SimpleNamespace(device=port.path, serial_number="A0:B1:C2:D3:E4:F5", vid=0x303A, pid=0x1001)]
        until(device.poll_open)
        os.write(port.master, b"hi")
        until(lambda: device.read() == b"hi")
        there.clear()
        port.close()
        until(lambda: device.read() is None)
    assert device.opens == 2
    with pytest.raises(QresError):
        parse_uri("usb://board")


def test_boards_that_come_later_are_collected_from(ports: list[Port]) -> None:
    found = [parse_uri(ports[0].path)]
    with Collector(found, KEY, discover=lambda: found) as collector:
        until(lambda: collector.devices[0].fd >= 0)
        found.append(parse_uri(ports[1].path))
        until(lambda: len(collector.devices) == 2 and collector.devices[1].fd >= 0)
        ports[1].write(b"new here\n")
        until(lambda: "new here" in [line.text for line in collector.decoder.words.kept])
        time.sleep(0.1)
        assert len(collector.devices) == 2


def test_logs_go_on_and_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words()
    for _ in range(2):
        log = LogFolder(tmp_path, lambda name: "virtual://../x y", lambda ms: 1_764_000_000_000 + ms)
        log.lines(words.take(Event(7, 0, "d", "text", "one", None)))
        log.records([Event(8, 0, "d", "trace", '{"e": []}', None)])
        log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["virtual-..-x-y.log", "virtual-..-x-y.trace"]
    assert (tmp_path / files[0]).read_text().count(" one\n") == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(QresError, match="cannot write logs"):
        LogFolder(tmp_path / "file" / "x", str, lambda ms: ms)


def _answering(port: Port, answers: dict[str, dict[str, object]], stop: threading.Event) -> None:
    """A board: says hello, answers commands."""
    os.set_blocking(port.master, False)
    port.write(encode_frame(HELLO, 0, json.dumps({"mac": "a0:b1:c2:d3:e4:f5", "name": "north"}).encode()))
    seq, line = 1, b""
    while not stop.wait(0.01):
        try:
            line += os.read(port.master, 1000)
        except BlockingIOError:
            continue
        while b"\n" in line:
            first, _, line = line.partition(b"\n")
            name = json.loads(first)["cmd"]
            port.write(encode_frame(REPLY, seq, json.dumps({"cmd": name, **answers[name]}).encode()))
            seq += 1


def test_send_prints_each_answer_and_tells_by_its_exit_code(ports: list[Port], tmp_path: Path) -> None:
    stop = threading.Event()
    answers: dict[str, dict[str, object]] = {"status": {"ok": True}, "set": {"error": "'sigma' must be an integer"}}
    board = threading.Thread(target=_answering, args=(ports[0], answers, stop))
    board.start()
    base = [sys.executable, "-m", "qres_host.cli", "monitor", ports[0].path, "--key", KEY.hex()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def run(*extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*base, *extra], capture_output=True, text=True, check=False, env=environment)

    try:
        done = run("--send", "status", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["answer"] == {"cmd": "status", "ok": True}
        done = run("--send", "status", "--send", "set sigma x", "--capture", str(tmp_path))
        assert done.returncode == 1 and done.stdout.splitlines()[1].endswith("set: 'sigma' must be an integer")
        assert list(CaptureReader(tmp_path))
    finally:
        stop.set()
        board.join()


def test_raw_shows_the_bytes_and_follows_the_port(ports: list[Port]) -> None:
    command = [sys.executable, "-m", "qres_host.cli", "monitor", "--raw", ports[0].path, "--duration", "3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    time.sleep(1.5)
    ports[0].write(b"\x01raw \xff\x00 bytes\n")
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0 and out == b"\x01raw \xff\x00 bytes\n", err


def test_a_master_that_is_closed_is_no_loss_for_others() -> None:
    master, slave = pty.openpty()
    device = Device(parse_uri(os.ttyname(slave)))
    device.open()
    os.close(master)
    os.close(slave)
    assert device.read() is None and not device.post(b"x")
