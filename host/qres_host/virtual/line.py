"""A virtual board's USB serial line: a pty that outlives the board's reboots, under a name of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import selectors
import tty
from collections.abc import Callable
from pathlib import Path

BUFFER_BYTES = 65536

Watch = Callable[[int], None]


class Loop:
    """Calls back when descriptors are readable or writable: one selector for ptys, machines and control."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

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
    the chip does; the board never waits. `corrupt` is the probability that a byte suffers a flipped bit."""

    def __init__(self, loop: Loop, link: Path, typed: Callable[[bytes], None], seed: str) -> None:
        self.link = link
        self.corrupt = 0.0
        self.dropped_bytes = 0
        self.corrupted_bytes = 0
        self.sent_bytes = 0
        self.port = ""
        self._loop, self._typed = loop, typed
        self._rng = random.Random(seed)
        self._buffer = bytearray()
        self._master = self._slave = -1
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
        try:
            count = os.write(fd, self._buffer)
        except BlockingIOError:
            count = 0
        self.sent_bytes += count
        del self._buffer[:count]
        self._loop.watch(fd, self._readable, self._flush if self._buffer else None)

    def _readable(self, fd: int) -> None:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if data:
            self._typed(data)
