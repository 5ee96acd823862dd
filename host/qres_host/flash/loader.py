"""One board's boot loader, through the real esptool: one process a step, watched, its failures told in one line.

esptool's licence is GPL and its logger belongs to a whole process, so it is run as a program, never imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qres_host.errors import FAILURE, INTERRUPTED, NO_DEVICE, TIMEOUT, USAGE, QresError

# How esptool enters and leaves the loader, from what works nearly always to what helps a chip that is stuck.
LADDER = (("default-reset", "hard-reset"), ("usb-reset", "hard-reset"), ("usb-reset", "watchdog-reset"))
CONNECT_ATTEMPTS = "3"
SILENT_S = 60.0  # erasing a whole large flash is the longest silence
BAUD = "460800"
ROM_BAUD = "115200"  # at which the loader begins: USB ignores it, a change would only take time
CABLE = "check the cable and run the same command again: it goes on where it stopped"
HOLD_BOOT = "hold BOOT, press and release RESET (or plug it in anew), release BOOT, and run the same command again"
_PERCENT = re.compile(r"(Writing|Reading) (?:at|from) 0x[0-9a-f]+ .*?([0-9.]+)%")

Progress = Callable[[str, float], None]  # what happens, and how much of it is done, 0 to 1


class LoaderError(QresError):
    """A failed step. `again`: another way of resetting the board may help. `gone`: its port has vanished."""

    def __init__(self, message: str, remedy: str, code: int = FAILURE, *, again: bool = False) -> None:
        super().__init__(message, remedy, code)
        self.again = again


@dataclass(frozen=True)
class Chip:
    """What the boot loader says: the MAC as aa:bb:..., and the flash in bytes."""

    mac: str
    flash_bytes: int


# What esptool says (searched in this order), what it means, what to do, the exit code, and whether to try again.
_MEANINGS: tuple[tuple[str, str, str, int, bool], ...] = (
    (r"Could not exclusively lock|Resource temporarily unavailable|Device or resource busy",
     "the port is busy", "close the program that holds it (qres monitor, mpremote, tio)", NO_DEVICE, False),
    (r"Permission denied", "no permission to open the port", "run `qres doctor`, it says what to do", NO_DEVICE, False),
    (r"No such file or directory|Input/output error|device disconnected|returned no data|Errno 5|Errno 6|Errno 19",
     "the board has gone", CABLE, NO_DEVICE, False),
    (r"This chip is ([\w-]+), not ([\w-]+)", "the board is an {0}, not an {1}", "choose the boards with --port", USAGE,
     False),
    (r"will not fit in (\d+) bytes of flash", "the image does not fit the board's flash of {0} bytes",
     "name an image for this board", USAGE, False),
    (r"hash.*mismatch|MD5 of file does not match|digest.*mismatch|File .*does not match",
     "the flash does not hold what was written", "run the same command again; if it stays so, the flash is worn",
     FAILURE, False),
    (r"Failed to write|Write failed|write (?:compressed )?(?:data )?to (?:target )?flash",
     "the flash refused to be written",
     "run the same command again; if it stays so, the flash is worn or protected", FAILURE, False),
    (r"No serial data received|No more data to read|Failed to connect|Wrong boot mode|Serial data stream stopped|"
     r"timed out|Timeout|Invalid head of packet|Response doesn't match|Packet content transfer stopped|Corrupt data",
     "the board does not answer its boot loader", HOLD_BOOT, TIMEOUT, True),
)  # fmt: skip


@dataclass
class Runs:
    """The esptool processes of one command, so that Ctrl-C ends them all."""

    stopped: bool = False
    _alive: set[subprocess.Popen[str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, command: Sequence[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a process out of the terminal's reach. Raises QresError once all are stopped."""
        with self._lock:
            self.check()
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                process_group=0,
                env=dict(os.environ, COLUMNS="300", NO_COLOR="1", PYTHONUNBUFFERED="1"),
            )
            self._alive.add(process)
            return process

    def check(self) -> None:
        """Raise QresError once all are stopped."""
        if self.stopped:
            raise QresError("stopped", "run the same command again: it goes on where it stopped", INTERRUPTED)

    def ended(self, process: subprocess.Popen[str]) -> None:
        """Forget a process."""
        with self._lock:
            self._alive.discard(process)

    def stop(self) -> None:
        """End all of them. What was written stays; a board in its loader stays there until it is flashed again."""
        with self._lock:
            self.stopped = True
            for process in self._alive:
                process.terminate()


class Loader:
    """The boot loader of the board at a port."""

    def __init__(self, port: str, runs: Runs, progress: Progress, *, chip: str = "esp32c6", baud: str = BAUD) -> None:
        self.port = port
        self.silent_s = SILENT_S
        self._runs, self._progress, self._chip, self._baud = runs, progress, chip, baud
        self._rung = 0
        self._waiting: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Start the esptool that the next step takes: it loads while other work is done, and leaves the port alone."""
        if self._waiting is None:
            self._waiting = self._start()

    def end(self) -> None:
        """End an esptool that was prepared and not needed."""
        if self._waiting is not None:
            process, self._waiting = self._waiting, None
            process.kill()
            process.communicate()
            self._runs.ended(process)

    def identify(self) -> Chip:
        """Return MAC and flash size; the board stays in its loader. Raises LoaderError, for another chip too."""
        self._progress("connecting", 0.0)
        said = self._climb(["flash-id"], "no-reset")
        mac = re.search(r"BASE MAC:\s+([0-9a-f:]{17})", said) or re.search(r"MAC:\s+([0-9a-f:]{17})", said)
        size = re.search(r"Detected flash size: (\d+)([MK])B", said)
        if mac is None or size is None:
            raise LoaderError("the boot loader told no MAC or flash size", "run the same command again", again=False)
        return Chip(mac[1], int(size[1]) << (20 if size[2] == "M" else 10))

    def read(self, offset: int, size: int, target: Path) -> bytes:
        """Return bytes of the flash; the board stays in its loader."""
        self._climb(["read-flash", f"{offset:#x}", f"{size:#x}", str(target)], "no-reset")
        return target.read_bytes()

    def write(self, regions: Sequence[tuple[int, Path]], *, force: bool = False, erase: bool = False) -> bool:
        """Write files at offsets in one run, verified by the chip, then let it boot; return whether anything changed.

        Regions that the flash already holds are skipped unless `force`.
        """
        command = ["write-flash"]
        command += ["--erase-all"] if erase else []
        command += [] if force or erase else ["--skip-flashed"]
        for offset, path in regions:
            command += [f"{offset:#x}", str(path)]
        said = self._climb(command, "")
        return said.count("already in flash, skipping") < len(regions)

    def _climb(self, command: Sequence[str], after: str) -> str:
        """Run a step; on a failure that a reset may cure, climb. `after`: how to leave, "" as the rung says."""
        while True:
            before, leave = LADDER[self._rung]
            try:
                return self._run(command, before, after or leave)
            except LoaderError as error:
                if not error.again or self._rung + 1 >= len(LADDER):
                    raise
                self._rung += 1
                self._progress(f"no answer; trying {' and '.join(LADDER[self._rung])}", 0.0)

    def _run(self, command: Sequence[str], before: str, after: str) -> str:
        whole = ["--chip", self._chip, "--port", self.port, "--baud", self._baud, "--before", before, "--after", after]
        whole += ["--connect-attempts", CONNECT_ATTEMPTS, *command]
        if self._waiting is not None and self._waiting.poll() is not None:
            self.end()
        process, self._waiting = self._waiting or self._start(), None
        assert process.stdin is not None and process.stdout is not None
        heard, lines = [time.monotonic()], list[str]()
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(shlex.join(whole))
            threading.Thread(target=self._watch, args=(process, heard), daemon=True).start()
            for line in process.stdout:
                heard[0] = time.monotonic()
                if lines or not line.startswith("esptool "):  # it repeats the arguments that it read
                    lines.append(line)
                self._follow(line)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
            self._runs.ended(process)
        said = "".join(lines)
        if code:
            raise self._failure(said, time.monotonic() - heard[0] > self.silent_s)
        return said

    def _start(self) -> subprocess.Popen[str]:
        """Start an esptool: it loads, then reads its arguments from a file, here a pipe, so it waits for them."""
        return self._runs.start([sys.executable, "-m", "esptool", "@/dev/stdin"], subprocess.PIPE)

    def _watch(self, process: subprocess.Popen[str], heard: list[float]) -> None:
        """Kill a process that has been silent for too long."""
        while process.poll() is None:
            if time.monotonic() - heard[0] > self.silent_s:
                process.kill()
            time.sleep(0.1)

    def _follow(self, line: str) -> None:
        found = _PERCENT.search(line)
        if found:
            self._progress(found[1].lower(), float(found[2]) / 100)
        elif line.startswith("Writing '"):
            self._progress("writing", 0.0)
        elif line.startswith("Erasing"):
            self._progress("erasing", 0.0)

    def _failure(self, said: str, silent: bool) -> LoaderError:
        if self._runs.stopped:
            return LoaderError("stopped", "run the same command again: it goes on where it stopped", INTERRUPTED)
        if not silent and not os.path.exists(self.port):
            return LoaderError("the board has gone", CABLE, NO_DEVICE)
        tail = said[said.rfind("fatal error") :] if "fatal error" in said else said[-2000:]
        for pattern, message, remedy, code, again in _MEANINGS:
            found = re.search(pattern, tail)
            if found:
                return LoaderError(message.format(*found.groups()), remedy, code, again=again)
        if silent:
            return LoaderError("the board fell silent", CABLE, TIMEOUT)
        last = [line.strip() for line in tail.splitlines() if line.strip()]
        return LoaderError("esptool failed", last[-1] if last else "it said nothing")
