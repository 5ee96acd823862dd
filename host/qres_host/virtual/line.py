"""A virtual board's USB serial line: a pty that outlives the board's reboots, under a name of its own."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pty
import random
import selectors
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

BUFFER_BYTES = 65536

Watch = Callable[[int], None]


class Pace(NamedTuple):
    """How fast a cable is: bytes a second in each direction, and the time until a read begins at the other end."""

    bytes_per_s: int
    latency_s: float


# The chip's own USB-Serial-JTAG: full-speed USB in packets of 64 bytes. A bridge at the speed that esptool proposes.
USB_JTAG = Pace(400_000, 0.001)
UART_460800 = Pace(46_080, 0.001)
PACES = {"usb": USB_JTAG, "uart": UART_460800}
TURN_S = 0.005  # what is sent at once when a cable is paced
AT_ONCE_S = 0.001


class Loop:
    """Calls back when descriptors are readable or writable, and later: one selector for ptys, machines and control."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, instant_s: float, call: Callable[[], None]) -> None:
        """Call back once, at an instant of time.monotonic(); calls of one instant come in the order of the requests."""
        heapq.heappush(self._later, (instant_s, next(self._order), call))

    def watch(self, fd: int, read: Watch, write: Watch | None = None) -> None:
        """Call `read(fd)` when there is input, and `write(fd)`, if given, when there is room.

        Replaces an earlier watch of the same descriptor.
        """
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        try:
            self._selector.modify(fd, events, (read, write))
        except KeyError:
            self._selector.register(fd, events, (read, write))

    def forget(self, fd: int) -> None:
        """Stop watching; no error when it was not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def turn(self, timeout_s: float | None) -> None:
        """Wait at most so long (None: for ever) and make the calls that are due."""
        if self._later:
            wait_s = max(0.0, self._later[0][0] - time.monotonic())
            timeout_s = wait_s if timeout_s is None else min(timeout_s, wait_s)
            while self._later and self._later[0][0] <= time.monotonic():
                heapq.heappop(self._later)[2]()
        for key, events in self._selector.select(timeout_s):
            read, write = key.data
            if key.fd not in self._selector.get_map():  # an earlier call of this turn closed it
                continue
            if events & selectors.EVENT_READ:
                read(key.fd)
            if write and events & selectors.EVENT_WRITE and key.fd in self._selector.get_map():
                write(key.fd)

    def close(self) -> None:
        """Release the selector."""
        self._selector.close()


class SerialLine:
    """The host's end of a board's cable. Output that nobody reads fills 64 KB, then is dropped and counted, as
    the chip does; the board never waits. `corrupt` is the probability that a byte suffers a flipped bit; `pace` is
    None for a cable that is as fast as this machine."""

    def __init__(self, loop: Loop, link: Path, typed: Callable[[bytes], None], seed: str) -> None:
        self.link = link
        self.corrupt = 0.0
        self.pace: Pace | None = None
        self.dropped_bytes = 0
        self.corrupted_bytes = 0
        self.sent_bytes = 0
        self.port = ""
        self._loop, self._typed = loop, typed
        self._rng = random.Random(seed)
        self._buffer = bytearray()
        self._waited = False  # what is in the buffer has waited for the cable
        self._master = self._slave = -1
        self._read_at_s = self._write_at_s = 0.0  # a paced cable is busy until then
        self._free_s = 0.0  # when we began to listen: what comes at once has waited for the cable
        self.plug()

    @property
    def plugged(self) -> bool:
        """Whether the cable is in."""
        return self._master >= 0

    def plug(self) -> None:
        """Put the cable in: a new pty under the same link. No effect when it is in."""
        if self.plugged:
            return
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)  # kept open, so that peers may come and go without a hang-up
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        temporary = self.link.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(self.port)
        temporary.replace(self.link)
        self._loop.watch(self._master, self._readable)

    def unplug(self) -> None:
        """Pull the cable out: peers see a hang-up, the link is gone, output is lost."""
        if not self.plugged:
            return
        self._loop.forget(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        self._buffer.clear()
        with contextlib.suppress(FileNotFoundError):
            self.link.unlink()

    def write(self, data: bytes) -> None:
        """Send what the board said."""
        if not self.plugged or not data:
            self.dropped_bytes += len(data)
            return
        if self.corrupt > 0:
            data = self._flip(data)
        room = BUFFER_BYTES - len(self._buffer)
        self.dropped_bytes += max(0, len(data) - room)
        self._buffer += data[:room]
        self._flush(self._master)

    def _flip(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for position in range(len(damaged)):
            if self._rng.random() < self.corrupt:
                damaged[position] ^= 1 << self._rng.randrange(8)
                self.corrupted_bytes += 1
        return bytes(damaged)

    def _flush(self, fd: int) -> None:
        if self.pace is not None and time.monotonic() < self._write_at_s:
            count = 0
        else:
            room = len(self._buffer) if self.pace is None else max(64, int(self.pace.bytes_per_s * TURN_S))
            try:
                count = os.write(fd, self._buffer[:room])
            except BlockingIOError:
                count = 0
            if self.pace is not None and count:
                now = time.monotonic()
                self._write_at_s = (self._write_at_s if self._waited else now) + count / self.pace.bytes_per_s
                self._loop.at(self._write_at_s, self._watch)
        self.sent_bytes += count
        del self._buffer[:count]
        self._waited = bool(self._buffer)  # our own delay is not the cable's: it makes up for it
        self._watch()

    def _watch(self) -> None:
        """Listen to the pty as far as the cable is free."""
        if not self.plugged:
            return
        now = time.monotonic()
        write = self._flush if self._buffer and now >= self._write_at_s else None
        if now >= self._read_at_s:
            self._free_s = now
            self._loop.watch(self._master, self._readable, write)
        elif write is not None:
            write(self._master)
        else:
            self._loop.forget(self._master)

    def _readable(self, fd: int) -> None:
        if self.pace is None:
            data = self._take(fd, 4096)
            if data:
                self._typed(data)
            return
        data = self._take(fd, max(64, int(self.pace.bytes_per_s * TURN_S)))
        if not data:
            return
        now = time.monotonic()
        start_s = self._read_at_s if now - self._free_s < AT_ONCE_S else now
        self._read_at_s = start_s + len(data) / self.pace.bytes_per_s
        self._loop.at(self._read_at_s, self._watch)
        self._loop.at(self._read_at_s + self.pace.latency_s, lambda: self._typed(data))
        self._watch()

    @staticmethod
    def _take(fd: int, count: int) -> bytes:
        try:
            return os.read(fd, count)
        except OSError:
            return b""

    def held(self) -> bool:
        """Whether a program holds the port: has it locked, as esptool, mpremote and `qres` do."""
        if not self.plugged:
            return False
        node = os.fstat(self._slave)
        wanted = f" {os.major(node.st_dev):02x}:{os.minor(node.st_dev):02x}:{node.st_ino} "
        try:
            return wanted in Path("/proc/locks").read_text()
        except OSError:
            return True
