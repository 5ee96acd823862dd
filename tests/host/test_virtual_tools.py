"""The real mpremote, ampy and pyserial against virtual boards."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from qres_host.repl import Repl
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.swarm import Swarm

SLEEPER = b"import machine\nprint('main ran', machine.reset_cause())\nmachine.deepsleep(600000)\n"
WAITER = b"import time\nprint('main ran')\nwhile True: time.sleep_ms(1000)\n"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    boards = [
        BoardSpec("blank", bytes((2, 0, 0, 0, 0, 1)), None, files={}),
        BoardSpec("sleeper", bytes((2, 0, 0, 0, 0, 2)), None, files={"main.py": SLEEPER}),
        BoardSpec("waiter", bytes((2, 0, 0, 0, 0, 3)), None, files={"main.py": WAITER}),
    ]
    with Swarm(boards, speed=1.0, links=tmp_path_factory.mktemp("links")) as running:
        yield running


def tool(module: str, *arguments: str) -> str:
    """Run a tool and return what it printed; its failure fails the test with its output."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mpremote(swarm: Swarm, board: str, *arguments: str) -> str:
    return tool("mpremote", "connect", swarm.ports[board], *arguments)


def ampy(swarm: Swarm, board: str, *arguments: str) -> str:
    return tool("ampy.cli", "-p", swarm.ports[board], *arguments)


def test_mpremote_files(swarm: Swarm, tmp_path: Path) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(bytes(range(256)) * 40)
    mpremote(swarm, "blank", "fs", "cp", str(source), ":data.bin")
    assert "10240 data.bin" in mpremote(swarm, "blank", "fs", "ls")
    assert hashlib.sha256(source.read_bytes()).hexdigest() in mpremote(swarm, "blank", "fs", "sha256sum", "data.bin")
    mpremote(swarm, "blank", "fs", "cp", ":data.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()
    mpremote(swarm, "blank", "fs", "rm", ":data.bin")
    assert "data.bin" not in mpremote(swarm, "blank", "fs", "ls")


def test_mpremote_exec_run_and_soft_reset(swarm: Swarm, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import machine, os, time\ntime.sleep_ms(10)\nprint(machine.unique_id().hex(), os.listdir('/'))\n"
    )
    assert mpremote(swarm, "blank", "run", str(script)).startswith("020000000001 [")
    assert mpremote(swarm, "blank", "exec", "print(6 * 7)").strip() == "42"
    mpremote(swarm, "blank", "soft-reset")
    assert mpremote(swarm, "blank", "resume", "exec", "import machine; print(machine.reset_cause())").strip() == "5"


def test_the_host_is_out_of_sight(swarm: Swarm) -> None:
    seen = mpremote(swarm, "blank", "exec", "import os, sys; print(os.listdir('/'), sys.path)")
    assert "etc" not in seen
    assert "tmp" not in seen


def test_mpremote_mount(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text("ANSWER = 'from the host'\n")
    assert "from the host" in mpremote(
        swarm, "blank", "mount", str(tmp_path), "exec", "import library; print(library.ANSWER)"
    )


def test_ampy(swarm: Swarm, tmp_path: Path) -> None:
    source = tmp_path / "note.txt"
    source.write_text("hello\n")
    ampy(swarm, "blank", "put", str(source), "note.txt")
    assert "/note.txt" in ampy(swarm, "blank", "ls")
    assert ampy(swarm, "blank", "get", "note.txt").strip() == "hello"
    script = tmp_path / "script.py"
    script.write_text("print(40 + 2)\n")
    assert ampy(swarm, "blank", "run", str(script)).strip() == "42"


def test_tools_reach_a_board_in_deep_sleep_and_give_it_back(swarm: Swarm) -> None:
    assert mpremote(swarm, "sleeper", "exec", "print(1 + 1)").strip() == "2"
    with serial.Serial(swarm.ports["sleeper"], timeout=TIMEOUT_S) as port:
        port.write(b"\x02\x04")  # friendly REPL, soft reset: main.py runs
        assert port.read_until(b"main ran 5").endswith(b"main ran 5")


def test_ctrl_c_interrupts_a_running_program(swarm: Swarm) -> None:
    assert mpremote(swarm, "waiter", "exec", "print('mine')").strip() == "mine"


def test_ctrl_c_interrupts_a_command_at_the_repl(swarm: Swarm) -> None:
    with serial.Serial(swarm.ports["blank"], timeout=TIMEOUT_S) as port:
        port.write(b"\r\x03\x02")
        port.write(b"import time; print('be' + 'gin'); time.sleep(1000)\r")
        assert port.read_until(b"\nbegin").endswith(b"begin")
        port.write(b"\x03")
        assert port.read_until(b"KeyboardInterrupt").endswith(b"KeyboardInterrupt")
        port.write(b"print('a' + 'live')\r")
        assert port.read_until(b"alive").endswith(b"alive")


def state(swarm: Swarm, name: str) -> dict[str, object]:
    return next(dict(board) for board in swarm.status()["boards"] if board["name"] == name)


@pytest.mark.parametrize("name", ["blank", "waiter"])
def test_ctrl_c_at_any_moment_of_a_boot_leads_to_the_prompt(swarm: Swarm, name: str) -> None:
    with Repl(swarm.ports[name]) as repl:
        assert repl.run("print(6 * 7)").strip() == "42"
    for delay_s in (0.0, 0.01, 0.1, 0.3, 0.4, 0.41, 0.42, 0.43, 0.44, 0.46, 0.5):
        with serial.Serial(swarm.ports[name], timeout=TIMEOUT_S) as port:
            port.write(b"\r\x03\x02")
            assert port.read_until(b">>> ").endswith(b">>> ")
            boots = state(swarm, name)["boots"]
            port.write(b"import machine; machine.reset()\r")
            while state(swarm, name)["boots"] == boots:
                time.sleep(0.001)
            time.sleep(delay_s)
            port.write(b"\x03\r\x01")
            assert port.read_until(b"raw REPL; CTRL-B to exit\r\n>").endswith(b"\n>"), delay_s
            port.write(b"import os, machine; print(os.listdir('/'), machine.unique_id())\x04")
            assert b"b'\\x02\\x00" in port.read_until(b"\x04\x04>")


def test_a_boot_py_that_never_ends_is_interrupted_and_main_py_does_not_run(swarm: Swarm) -> None:
    with Repl(swarm.ports["blank"]) as repl:
        repl.put({"boot.py": b"import time\nprint('in ' + 'boot')\nwhile True: time.sleep_ms(50)\n"})
        repl.put({"main.py": b"print('in ' + 'main')\n"})
        repl.reset()
    with serial.Serial(swarm.ports["blank"], timeout=TIMEOUT_S) as port:
        assert port.read_until(b"in boot").endswith(b"in boot")
        port.write(b"\x03")
        assert b"in main" not in port.read_until(b">>> ")
    with Repl(swarm.ports["blank"]) as repl:
        repl.run("import os; os.remove('boot.py'); os.remove('main.py')")
