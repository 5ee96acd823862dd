"""The real esptool against the boot loader of virtual boards, and the boot of what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qres_host import deploy
from qres_host.virtual import firmware, rom
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.flashchip import Faults, FlashChip
from qres_host.virtual.swarm import Swarm

TIMEOUT_S = 120
FILES = f"{firmware.FILES_OFFSET:#x}"


class Bench:
    """A virtual board without MicroPython, one with it, and files to write."""

    def __init__(self, swarm: Swarm, folder: Path) -> None:
        self.swarm, self.folder = swarm, folder
        self.image = folder / "micropython.bin"
        self.image.write_bytes(firmware.micropython(60_000))
        self.files = folder / "files.bin"
        main = b"print('it boots', 6 * 7)\n"
        self.files.write_bytes(deploy.build_image(None, files={"main.py": main})[:65536])

    def esptool(self, board: str, *arguments: str, code: int = 0) -> str:
        """Run esptool on a board and return what it said."""
        command = [sys.executable, "-m", "esptool", "--chip", "esp32c6", "--port", self.swarm.ports[board], *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def state(self, board: str) -> str:
        """Return the state that the swarm tells."""
        return next(str(each["state"]) for each in self.swarm.status()["boards"] if each["name"] == board)

    def until(self, board: str, *states: str) -> str:
        """Wait for a state."""
        end = time.monotonic() + TIMEOUT_S
        while self.state(board) not in states and time.monotonic() < end:
            time.sleep(0.05)
        assert self.state(board) in states
        return self.state(board)

    def run(self, board: str, code: str) -> str:
        """Execute code at a board's REPL."""
        command = [sys.executable, "-m", "mpremote", "connect", self.swarm.ports[board], "exec", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("rom")
    boards = [
        BoardSpec("bare", bytes((2, 0, 0, 0, 0, 1)), None, bare=True),
        BoardSpec("other", bytes((2, 0, 0, 0, 0, 2)), None, files={"main.py": b"print('waits')\n"}),
    ]
    with Swarm(boards, speed=1.0, links=folder) as swarm:
        yield Bench(swarm, folder)


def test_a_board_without_micropython_waits_in_its_loader(bench: Bench) -> None:
    assert bench.state("bare") == "loader"
    said = bench.esptool("bare", "chip-id")
    assert "ESP32-C6" in said and "02:00:00:00:00:01" in said
    assert "Detected flash size: 4MB" in bench.esptool("bare", "--no-stub", "flash-id")
    assert bench.state("bare") == "loader"


@pytest.mark.parametrize("stub", ["--no-stub", ""])
def test_what_is_written_verifies_reads_back_and_boots(bench: Bench, stub: str) -> None:
    how = [stub] if stub else []
    said = bench.esptool("bare", *how, "write-flash", "0", str(bench.image), FILES, str(bench.files))
    assert said.count("Hash of data verified") == 2
    bench.until("bare", "repl")
    assert bench.run("bare", "import os; print(os.listdir('/'))") == "['main.py']"
    assert "digest matched" in bench.esptool("bare", *how, "verify-flash", FILES, str(bench.files))
    back = bench.folder / "back.bin"
    bench.esptool("bare", *how, "read-flash", FILES, "0x2000", str(back))
    assert back.read_bytes()[:4096] != b"\xff" * 4096
    bench.until("bare", "repl")


def test_an_erased_board_does_not_boot_and_is_reached_again(bench: Bench) -> None:
    bench.esptool("bare", "write-flash", "0", str(bench.image))
    bench.until("bare", "repl")
    bench.esptool("bare", "erase-flash")
    bench.until("bare", "loader")
    bench.esptool("bare", "write-flash", "0", str(bench.image))
    bench.until("bare", "repl")
    assert bench.run("bare", "import os; print(os.listdir('/'))") == "[]"  # formatted at its first boot


def test_esptool_interrupts_a_running_program_and_gives_it_back(bench: Bench) -> None:
    bench.esptool("other", "read-mac")
    bench.until("other", "repl")
    assert bench.run("other", "print('there')") == "there"


def test_no_reset_leaves_it_in_the_loader(bench: Bench) -> None:
    bench.esptool("other", "--after", "no-reset", "read-mac")
    time.sleep(0.6)
    assert bench.state("other") == "loader"
    bench.esptool("other", "read-mac")
    bench.until("other", "repl")


def test_another_chip_is_refused_by_esptool(bench: Bench) -> None:
    bench.swarm.fault("other", chip=5)
    try:
        assert "This chip is ESP32-C3, not ESP32-C6" in bench.esptool("other", "read-mac", code=2)
    finally:
        bench.swarm.fault("other", chip=13)
    bench.esptool("other", "read-mac")
    bench.until("other", "repl")


def loader(size: int = 1 << 22) -> rom.Rom:
    """A loader on an erased flash in memory."""
    fd = os.memfd_create("flash")
    os.ftruncate(fd, size)
    return rom.Rom(bytes((2, 0, 0, 0, 0, 9)), FlashChip(fd, size, Faults()))


@given(st.binary(max_size=300), st.lists(st.integers(0, 255), max_size=4), st.binary(max_size=64))
def test_any_bytes_are_answered_or_ignored(noise: bytes, operations: list[int], body: bytes) -> None:
    one = loader(1 << 16)
    one.stub = bool(operations and operations[0] & 1)
    one.receive(noise)
    for operation in operations:
        packet = bytes((0, operation)) + len(body).to_bytes(2, "little") + bytes(4) + body
        for answer in one.receive(rom.slip(packet)):
            assert answer.data[:1] == answer.data[-1:] == b"\xc0" and answer.busy_s >= 0


def test_frames_may_come_byte_by_byte() -> None:
    request = rom.slip(bytes((0, rom.SYNC, 36, 0, 0, 0, 0, 0)) + b"\x07\x07\x12\x20" + b"\x55" * 32)
    assert request.startswith(rom.SYNC_FRAME)
    whole, parts = loader(), loader()
    expected = whole.receive(request)
    assert len(expected) == 8
    assert [answer for byte in request for answer in parts.receive(bytes([byte]))] == expected


def test_the_times_of_a_real_flash() -> None:
    chip = loader().flash
    assert chip.erase(0, 1 << 16) == pytest.approx(0.150)
    assert chip.erase(4096, 1) == pytest.approx(0.045)
    assert chip.program(0, bytes(1000)) == pytest.approx(0.0016)
