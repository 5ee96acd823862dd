"""What runs when a real board is attached: make test-board PORT=/dev/ttyACM0 (CONTRIBUTING.md says more).

Each test says what it found on the board. What a board cannot show, because it runs no machine code or its port
does not go away, is skipped with that reason, and what it must say instead is checked before.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zlib
from typing import Any

import pytest
import run_vm
from attached import WAKES, Attached, Minute, Night, forget_verdict, qres, until, verdict
from qres import telemetry
from qres.events import BOOT, DEEP_SLEEP, RTC, SAMPLE, SAVE
from qres_host import deploy
from qres_host.hardware import BYTECODE

pytestmark = pytest.mark.board

GROWTH_BYTES = 2_048  # of heap within the trace: windows that fill, no more
# Not run on a chip unless they are named.
UNFIT = {
    "test_checkpoints": "encodes for 9 s on a computer",
    "test_codec": "encodes for 25 s on a computer",
    "test_faults": "runs swarms of many nodes",
    "test_kernel_vectors": "its vectors take 1 MB; the board's own self-test runs the kernels",
    "test_memory": "measures a 32-bit machine without a port; the heap floor does it here",
    "test_selftest": "names constants that a deploy folds away; the self-test itself runs here",
    "test_swarm": "runs swarms of many nodes",
}


def test_flashed(board: Attached) -> None:
    if not board.settings.image:
        pytest.skip("no BOARD_IMAGE: the application alone was copied")
    assert not board.flashed["error"], board.flashed
    assert board.flashed["result"] in ("flashed", "unchanged") and board.flashed["configured"], board.flashed


def test_the_files_of_the_application_are_there(board: Attached) -> None:
    wanted = {path: hashlib.sha256(data).digest() for path, data in board.files.items()}
    with board.repl() as repl:
        there = repl.digests(sorted(wanted))
    if not there[deploy.HEAD]:
        pytest.skip("no package on the file system: it is frozen into the image, or missing, which the boot tells")
    assert sorted(path for path in wanted if there[path] != wanted[path]) == []


def test_boots_what_was_deployed(board: Attached, minute: Minute) -> None:
    assert minute.hello is not None, f"no HELLO within {board.settings.boot_s} s; it said: {minute.said[-20:]}"
    said = minute.hello.value or {}
    assert said["build"] == board.build.hex()
    assert said["kernels"] == (0 if board.kind.arch == BYTECODE else 1), minute.said
    assert (said["name"], said["role"]) == ("board-test", "sentinel")


def test_the_trace_is_repeated_bit_for_bit(board: Attached, minute: Minute) -> None:
    assert (minute.counters["serial_gaps"], minute.counters["serial_bad"]) == (0, 0)
    done = qres("replay", str(minute.capture), "--config", str(minute.config), "--json")
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["difference"] is None and done.returncode == 0
    samples = {tag: row[0] for tag, *row in minute.after["steps"]}[SAMPLE]
    assert outcome["steps"] > samples >= board.settings.trace_s / 2 - 1


def test_heap(board: Attached, minute: Minute) -> None:
    floor = board.settings.heap_bytes
    free = min(minute.before["heap_free"], minute.after["heap_free"])
    assert free >= floor, f"{free:,} bytes free, not {floor:,}"
    grown = minute.after["heap_used"] - minute.before["heap_used"]
    assert grown <= GROWTH_BYTES, f"grew by {grown:,} bytes in {minute.after['measured_ms']:,} ms"


def test_the_kernels_passed_their_self_test(board: Attached, minute: Minute) -> None:
    with board.repl() as repl:
        kept = verdict(repl)
        if board.kind.arch == BYTECODE:
            assert kept == b"" and (minute.hello is None or (minute.hello.value or {})["kernels"] == 0)
            pytest.skip("bytecode: this board has no machine code to test, and says so")
        assert kept == board.build + b"passed"


def test_the_self_test_made_anew_gives_the_same(board: Attached, minute: Minute) -> None:
    if board.kind.arch == BYTECODE:
        pytest.skip("bytecode: this board has no machine code to test")
    with board.repl() as repl:
        forget_verdict(repl)
    board.start(board.config())
    with board.listen() as ear:
        heard = until(lambda: bool(ear.events("hello")), 2 * board.settings.boot_s)
        said = [event.text for event in ear.events("text")]
        assert heard, said
        assert (ear.events("hello")[-1].value or {})["kernels"] == 1, said
    with board.repl() as repl:
        assert verdict(repl) == board.build + b"passed"


def test_deep_sleep_and_what_it_keeps(board: Attached, night: Night) -> None:
    assert night.resumed, "the last reset of the board was no wake from deep sleep"
    assert night.sessions[1] == (night.sessions[0] + 1) & 0xFFFF, "a wake began a new session"
    assert night.telemetry is not None and night.telemetry.told is not None, "no telemetry"
    said = telemetry.unpack(night.telemetry.told)
    assert night.telemetry.session == night.sessions[1]
    slept_ms = int(said["uptime_s"]) * 1000 + 1000 - int(said["awake_ms"])  # uptime goes on through deep sleep
    assert slept_ms >= WAKES * board.settings.sleep_ms // 2


def test_rtc_memory_gives_back_what_was_saved(board: Attached, night: Night) -> None:
    if board.vanishes and night.gaps:
        pytest.skip(f"{night.gaps} frames were printed before the port was back; telemetry tells what was kept")
    boots = 0
    saved, blob = "", b""
    for line in night.trace:
        if "r" in line:
            part, _, text = line["r"]
            blob = bytes.fromhex(text) if part == 0 else blob + bytes.fromhex(text)
            continue
        event = line["e"]
        if event[0] == BOOT and event[2] == DEEP_SLEEP:
            boots += 1
            assert f"#{len(blob)}:{zlib.crc32(blob[:-4]):08x}:{blob[-4:].hex()}" == saved, (
                f"wake {boots} restored another state than the one before it"
            )
            assert event[5] == night.sessions[1]
        saved = _saved(line["a"]) or saved
    assert boots >= WAKES
    done = qres("replay", str(night.capture), "--config", str(night.config), "--json")
    assert done.stdout, done.stderr
    assert json.loads(done.stdout)["difference"] is None and done.returncode == 0


def _saved(actions: Any) -> str:
    """What a step saved to RTC memory, as the trace names it; "" when nothing."""
    found = [action[2] for action in actions if action[:2] == [SAVE, RTC]] if isinstance(actions, list) else []
    return found[-1] if found else ""


def test_the_port_goes_and_comes_back(board: Attached, night: Night) -> None:
    if not board.vanishes:
        assert night.opens == 1
        pytest.skip("this port is not the chip's own USB: it stays while the board sleeps, and did")
    assert night.opens > 1


@pytest.mark.parametrize("module", run_vm.modules())
def test_portable(board: Attached, module: str) -> None:
    """The module on the board, from a mounted folder, against the same on this host."""
    if board.settings.tests and module not in board.settings.tests:
        pytest.skip("not among QRES_BOARD_TESTS")
    if module in UNFIT and module not in board.settings.tests:
        pytest.skip(f"not for a chip: {UNFIT[module]}")
    _, tests = run_vm.deployed(module)
    # Back to where boot.py found the package: the firmware is the one on the board.
    code = "import os, sys; os.chdir('/'); sys.path += ['/remote', '/remote/portable']"
    code += f"; import support; support.run({module!r})"
    port = board.port()
    command = [sys.executable, "-m", "mpremote", "connect", port, "mount", str(tests), "exec", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=board.settings.limit_s, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"no end within {board.settings.limit_s} s")
    output = done.stdout + done.stderr
    assert done.returncode == 0 and "RESULT " in output, output
    there, here = results(output), results(run_vm.run("unix", module).output)
    large = sorted(name for name, (_, said) in there.items() if "MemoryError" in said)
    assert "of" not in there or "of" in large, output  # the import of the module itself
    if "of" not in there:
        assert {n: r for n, (r, _) in there.items() if n not in large} == {
            n: r for n, (r, _) in here.items() if n not in large
        }, output
    if large:
        pytest.skip(f"the same but for what does not fit the board's heap: {', '.join(large)}")


def results(output: str) -> dict[str, tuple[str, str]]:
    """How each test of a module ended ("ok" or "FAIL"), and what it said of that."""
    found = {}
    for part in re.split(r"^(?=ok   |FAIL |RESULT )", output, flags=re.MULTILINE):
        words = part.split(None, 2)
        if words and words[0] in ("ok", "FAIL"):
            found[words[1]] = words[0], part
    return found
