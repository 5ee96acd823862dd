"""The SPI flash of a virtual board: a file, what an operation on it takes, and what may break."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 4096
BLOCK_BYTES = 65536
PAGE_BYTES = 256
# Typical times of the flash in the module (Winbond W25Q32JV, GigaDevice GD25Q32E: tSE, tBE, tPP).
SECTOR_ERASE_S = 0.045
BLOCK_ERASE_S = 0.150
PAGE_PROGRAM_S = 0.0004
READ_BYTES_PER_S = 4_000_000


@dataclass
class Faults:
    """What goes wrong at a board's boot loader; every field may change while it runs.

    `chip`: the id that the chip tells, 13 is ESP32-C6. `deaf`: so many SYNC are ignored. `unplug_after`: the cable is
    pulled, and `mute_after`: nothing is answered any more, once so many bytes have arrived for the flash; -1: never.
    `refuse_from`: from this offset on programming reports an error; `worn_from`: bits there do not hold; -1: nowhere.
    """

    chip: int = 13
    deaf: int = 0
    unplug_after: int = -1
    mute_after: int = -1
    refuse_from: int = -1
    worn_from: int = -1


def write_sparse(path: Path, size: int, parts: list[tuple[int, bytes]]) -> None:
    """Write a flash file of `size` bytes, `parts` at their offsets, with holes (zeros) where LittleFS never looks."""
    erased = b"\xff" * SECTOR_BYTES
    with path.open("wb") as file:
        for offset, data in parts:
            for start in range(0, len(data), SECTOR_BYTES):
                block = data[start : start + SECTOR_BYTES]
                if block != erased:
                    file.seek(offset + start)
                    file.write(block)
        file.truncate(size)


class FlashChip:
    """A flash in the file behind `fd`, of `size` bytes. Each operation returns the seconds that it takes a real one."""

    def __init__(self, fd: int, size: int, faults: Faults) -> None:
        self.size = size
        self.faults = faults
        self._fd = fd

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes; ff beyond the end."""
        if offset >= self.size or count <= 0:
            return b"\xff" * max(0, count)
        return os.pread(self._fd, min(count, self.size - offset), offset).ljust(count, b"\xff")

    def erase(self, offset: int, count: int) -> float:
        """Erase all sectors that the range touches."""
        first = min(offset, self.size) // SECTOR_BYTES * SECTOR_BYTES
        last = min(self.size, -(-(offset + count) // SECTOR_BYTES) * SECTOR_BYTES)
        took = 0.0
        while first < last:
            whole = first % BLOCK_BYTES == 0 and last - first >= BLOCK_BYTES
            step = BLOCK_BYTES if whole else SECTOR_BYTES
            os.pwrite(self._fd, b"\xff" * step, first)
            took += BLOCK_ERASE_S if whole else SECTOR_ERASE_S
            first += step
        return took

    def program(self, offset: int, data: bytes) -> float | None:
        """Write to erased flash; None when the chip reports an error."""
        end = offset + len(data)
        if end > self.size or 0 <= self.faults.refuse_from < end:
            return None
        worn = self.faults.worn_from
        if 0 <= worn < end:
            keep = max(0, worn - offset)
            data = data[:keep] + bytes(byte & 0xFE for byte in data[keep:])
        os.pwrite(self._fd, data, offset)
        return -(-len(data) // PAGE_BYTES) * PAGE_PROGRAM_S

    def md5(self, offset: int, count: int) -> bytes:
        """Return the MD5 of a range."""
        return hashlib.md5(self.read(offset, min(count, self.size)), usedforsecurity=False).digest()
