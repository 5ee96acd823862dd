"""A board's self-test of its kernels: on virtual boards with right, wrong and deadly code, and with the chip's own."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import qres
import rv32
from qres.events import DEEP_SLEEP, POWER_ON, SOFT, WATCHDOG, WIRE_HELLO
from qres.port import selftest
from qres_host import deploy, golden
from qres_host.virtual import hub as hubs
from qres_host.virtual.firmware import FILES_OFFSET
from qres_host.virtual.playback import make_weather
from qres_host.virtual.specs import make_specs
from qres_host.wire import Deframer, Frame, Text
from test_virtual_deploy import read_back

PASSED = "self-test of the kernels: passed"
SLOW = "kernels run as bytecode, not as machine code: "
FALLEN = {  # what stands in the place of kernels.push, and what the board says of it
    "return 1": "kernels.push differs in call 0",
    "raise ZeroDivisionError": "ZeroDivisionError ",
    "import uctypes; uctypes.bytearray_at(0, 4)[0] = 1": "the board reset inside the test",
    "import machine; machine.reset()": "the board reset inside the test",
    "while True: pass": "the board reset inside the test",
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """What is put on a chip."""
    return deploy.firmware_files(arch="rv32imc")


@pytest.fixture(scope="module")
def answers() -> ModuleType:
    """qres.port.golden, as it is put on a chip."""
    made = ModuleType("qres.port.golden")
    exec(golden.make(deploy.firmware_root()).source, vars(made))
    return made


@pytest.fixture(autouse=True)
def chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """MicroPython's deflate, and the package as it is in the source."""
    inflate = SimpleNamespace(ZLIB=1, DeflateIO=lambda stream, form: io.BytesIO(zlib.decompress(stream.read())))
    monkeypatch.setitem(sys.modules, "deflate", inflate)
    monkeypatch.setattr(qres, "KERNELS", 1)


def in_bytecode(files: dict[str, bytes], push: str = "") -> dict[str, bytes]:
    """The files with bytecode in the place of machine code; `push` is the body of kernels.push there."""
    made = {name: files.get(name.replace("qres/", "qres/plain/", 1), data) for name, data in files.items()}
    if push:
        tree = ast.parse((deploy.firmware_root() / "qres" / "kernels.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "push":
                node.body = ast.parse(push).body
        made["qres/kernels.mpy"] = deploy.compile_mpy("qres/kernels.py", ast.unparse(tree).encode())
    return made


class Life:
    """Some hours of a sentinel and a board with these files: `said` by the sentinel, its `verdict`, the `hub`."""

    def __init__(self, folder: Path, files: dict[str, bytes], hours: int = 8) -> None:
        recordings = make_weather(1)
        specs = [replace(spec, files=files) for spec in make_specs(recordings)]
        out = bytearray()
        self.hub = hubs.Hub(specs, folder, seed=3, start_us=recordings[0].t0_ms * 1000)
        try:
            self.hub.log = lambda at, who, what, data: out.extend(data) if (who, what) == (0, "said") else None
            self.hub.run_until(self.hub.start_us + hours * 3_600_000_000)
            self.boards = self.hub.status()["boards"]
        finally:
            self.hub.close()
        items = Deframer().feed(bytes(out))
        self.said = [item.line for item in items if isinstance(item, Text)]
        self.hello = [json.loads(item.payload) for item in items if isinstance(item, Frame) and item.type == WIRE_HELLO]
        self.verdict = read_back((folder / "sentinel.flash").read_bytes()[FILES_OFFSET:])["selftest"]


def test_a_board_that_cannot_load_the_code_says_so_and_works_on(tmp_path: Path, files: dict[str, bytes]) -> None:
    life = Life(tmp_path, files)
    fault = "ValueError incompatible .mpy arch"
    assert life.said == [f"self-test of the kernels: {fault}", SLOW + fault]
    assert life.verdict[4:] == fault.encode()
    assert [hello["kernels"] for hello in life.hello] == [2]
    assert [board["crashes"] for board in life.boards] == [0, 0]
    assert life.hub.air.counters.delivered > 3


def test_what_passes_is_used_and_never_tested_again(tmp_path: Path, files: dict[str, bytes]) -> None:
    life = Life(tmp_path, in_bytecode(files))
    assert life.said == [PASSED]
    assert life.verdict == bytes.fromhex(life.hello[0]["build"]) + b"passed"
    assert [hello["kernels"] for hello in life.hello] == [1]
    assert life.boards[1]["boots"] > 5 and life.hub.air.counters.delivered > 3


@pytest.mark.parametrize("push", FALLEN)
def test_wrong_and_deadly_code_is_never_used(
    tmp_path: Path, files: dict[str, bytes], push: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "SILENT_S", 2.0)
    life = Life(tmp_path, in_bytecode(files, push))
    assert life.said[-1] == SLOW + FALLEN[push]
    assert life.hello[-1]["kernels"] == 2
    assert max(board["crashes"] + board["kills"] for board in life.boards) <= 1
    assert life.hub.air.counters.delivered > 3


def test_the_code_of_the_chip_passes(answers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    load = selftest._module
    names = {f"qres.{name}" for name, _ in answers.KERNELS}
    monkeypatch.setattr(
        selftest, "_module", lambda name: SimpleNamespace(**rv32.load(name[5:])) if name in names else load(name)
    )
    assert len(names) >= 4
    assert selftest.fault(answers) == ""


def test_every_kernel_is_tested_in_all_that_the_recording_reached(answers: ModuleType) -> None:
    root = deploy.firmware_root()
    nodes = [node for path in (root / "qres").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    imported = {
        (node.module, item.name) for node in nodes if isinstance(node, ast.ImportFrom) for item in node.names
    } | {("qres.cm", node.attr) for node in nodes if isinstance(node, ast.Attribute)}
    tested = {name: list(kernels) for name, kernels in answers.KERNELS}
    for name, kernels in golden.modules(root).items():
        inside = ast.parse((root / "qres" / f"{name}.py").read_text())
        called = {ast.unparse(node.func) for node in ast.walk(inside) if isinstance(node, ast.Call)}
        used = any(module == f"qres.{name}" for module, _ in imported)
        if used and all((f"qres.{name}", kernel) in imported or kernel in called for kernel in kernels):
            assert tested.get(name) == kernels, f"golden.drive does not call all kernels of {name}"
    assert len(answers.CALLS) < 12288


def test_damage_of_the_calls_is_a_fault(answers: ModuleType) -> None:
    calls = zlib.decompress(answers.CALLS)
    places, faults = range(0, len(calls), 499), 0
    for at in places:
        damaged = calls[:at] + bytes([calls[at] ^ 1]) + calls[at + 1 :]
        faults += bool(selftest.fault(SimpleNamespace(KERNELS=answers.KERNELS, CALLS=zlib.compress(damaged))))
    assert faults > 0.9 * len(places)  # an argument that does not matter in its call may change
    assert selftest.fault(SimpleNamespace(KERNELS=answers.KERNELS, CALLS=zlib.compress(b"")))


class Reset(BaseException):
    """The board was reset."""


class FakePort:
    """As much of a port as the self-test needs."""

    def __init__(self, kept: bytes | None, cause: int, full: bool = False) -> None:
        self.kept, self.cause, self.full = kept, cause, full
        self.said: list[str] = []

    def read(self, name: str) -> bytes | None:
        return self.kept

    def write(self, name: str, data: bytes) -> None:
        if self.full:
            raise OSError(28)
        self.kept = data

    def reset_cause(self) -> int:
        return self.cause

    def text(self, line: str) -> None:
        self.said.append(line)

    def reset(self, after_ms: int) -> None:
        raise Reset


NOW = qres.BUILD
TESTED = [(None, POWER_ON), (b"", SOFT), (b"ABCDpassed", SOFT), (NOW + b"begun", POWER_ON)]
JUDGED = [(b"begun", WATCHDOG), (b"begun", SOFT), (b"begun again", POWER_ON), (b"kernels.push differs", POWER_ON)]


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts calls of use_bytecode; the test itself passes at once."""
    calls: list[int] = []
    monkeypatch.setattr(selftest, "use_bytecode", lambda: calls.append(1))
    monkeypatch.setattr(selftest, "fault", lambda answers: "")
    monkeypatch.setattr(selftest, "_module", lambda name: None)
    return calls


@pytest.mark.parametrize(("kept", "cause"), TESTED)
def test_an_application_is_tested_once_and_again_after_a_cut(kept: bytes | None, cause: int, swaps: list[int]) -> None:
    port = FakePort(kept, cause)
    with pytest.raises(Reset):
        selftest.choose(port)
    assert (port.kept, port.said, swaps) == (NOW + b"passed", [PASSED], [])


@pytest.mark.parametrize(("word", "cause"), JUDGED)
def test_a_failure_stands_until_the_next_deploy(word: bytes, cause: int, swaps: list[int]) -> None:
    port = FakePort(NOW + word, cause)
    selftest.choose(port)
    verdict = "kernels.push differs" if b"push" in word else "the board reset inside the test"
    assert (port.kept, port.said, swaps) == (NOW + verdict.encode(), [SLOW + verdict], [1])


def test_a_wake_says_nothing_and_a_full_flash_means_bytecode(swaps: list[int]) -> None:
    asleep, full = FakePort(NOW + b"x", DEEP_SLEEP), FakePort(None, POWER_ON, full=True)
    selftest.choose(asleep)
    selftest.choose(full)
    assert (asleep.said, full.said, swaps) == ([], [SLOW + "28"], [1, 1])


def test_ctrl_c_is_no_verdict(swaps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(answers: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(selftest, "fault", interrupted)
    port = FakePort(None, POWER_ON)
    with pytest.raises(KeyboardInterrupt):
        selftest.choose(port)
    assert port.kept == b""


def test_nothing_loads_a_kernel_before_the_choice() -> None:
    script = "import sys, qres.run, qres.config, qres.port.framing, qres.port.selftest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {f"qres.{name}" for name in golden.modules(deploy.firmware_root())} & set(done.stdout.split())
