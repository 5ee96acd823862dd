"""A virtual board in its boot loader: when it enters and leaves, and what the cable carries meanwhile.

A pty has no DTR and RTS, so two things stand for the resets that esptool does with them: its first SYNC for the one
into the loader, and the end of its session (its lock on the port is gone) for the one out of it. A write that was cut
off, or `--after no-reset`, leaves the board in the loader, as on the chip.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qres_host.errors import QresError
from qres_host.flash import image
from qres_host.virtual.board import LOADER
from qres_host.virtual.firmware import NO_BOOT, TABLE
from qres_host.virtual.flashchip import Faults, FlashChip
from qres_host.virtual.rom import SYNC_FRAME, Rom

if TYPE_CHECKING:
    from qres_host.virtual.line import Loop
    from qres_host.virtual.vm import VmBoard

_TYPED = (b"\r", b"\n", b"\x03", b"\x01", b"\x02", b"\x04")  # how a person or mpremote begins


class Loader:
    """The boot loader of one board, whose flash is the file behind `fd`."""

    def __init__(self, board: VmBoard, loop: Loop, fd: int, size: int) -> None:
        self.faults = Faults()
        self.flash = FlashChip(fd, size, self.faults)
        self._board, self._loop = board, loop
        self._rom = Rom(board.spec.mac, self.flash)
        self._boots = self._check()
        self._tail = b""
        self._talked = self._lost = False
        self._busy_until_s = 0.0

    def boots(self) -> bool:
        """Whether the flash holds a MicroPython that the chip would start; else it says so and stays in the loader."""
        if not self._boots and self._board.line is not None:
            self._board.line.write(NO_BOOT)
        return self._boots

    def _check(self) -> bool:
        try:
            image.check(self.flash.read(0, TABLE[-1].offset), self.faults.chip, self.flash.size)
        except QresError:
            return False
        return True

    def called(self, data: bytes) -> bool:
        """Whether esptool calls with these bytes; it may call while the application runs."""
        self._tail = (self._tail + data)[-len(SYNC_FRAME) - len(data) :]
        found = SYNC_FRAME in self._tail
        if found:
            self._tail = b""
        return found

    def receive(self, data: bytes) -> None:
        """Take what the host sends to a board in its loader."""
        if self._idle() and data[:1] in _TYPED and self._rom.between_frames:
            self.leave()
            self._board.typed(data)
            return
        self._talked = True
        paced = self._board.line is not None and self._board.line.pace is not None
        for answer in self._rom.receive(data):
            now = time.monotonic()
            free_s = max(self._busy_until_s, now)
            self._busy_until_s = free_s + (answer.busy_s if paced else 0.0)
            due_s = free_s if answer.early else self._busy_until_s
            if due_s > now:
                self._loop.at(due_s, lambda said=answer.data: self._say(said))  # type: ignore[misc]
            else:
                self._say(answer.data)
        if 0 <= self.faults.unplug_after <= self._rom.arrived_bytes:
            self.faults.unplug_after = -1
            if self._board.line is not None:
                self._board.line.unplug()
        if self._rom.restart:
            self.leave()

    def _say(self, data: bytes) -> None:
        if self._board.line is not None:
            self._board.line.write(data)

    def _idle(self) -> bool:
        return self._boots and not self._rom.blocks_due and not self._rom.stays

    def tick(self) -> None:
        """Notice the end of a session, and a cable that was pulled and put back: then the board has started anew."""
        line = self._board.line
        if self._board.state != LOADER or line is None:
            return
        if not line.plugged:
            self._lost = True
        elif self._lost:
            self.leave()
        elif self._talked and not line.held():
            self._talked = False
            if not self._rom.blocks_due and not self._rom.stays:
                self.leave()

    def leave(self) -> None:
        """Reset the chip: it boots what the flash holds now."""
        nvs = TABLE[0]
        if any(start < nvs.offset + nvs.size and end > nvs.offset for start, end in self._rom.written):
            self._board.nvs = b""
        self._rom = Rom(self._board.spec.mac, self.flash)
        self._talked = self._lost = False
        self._boots = self._check()
        self._board.host.out_of_loader(self._board)
