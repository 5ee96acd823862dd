"""File systems of boards as they lie in flash: what has to be written of one, and what to keep of an older one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from littlefs import LFSConfig, LittleFS, LittleFSError, UserContext
from qres.port import trial

from qres_host.deploy import (
    BLOCK_BYTES,
    COMPILED_PACKAGE,
    ERASED,
    ERASED_AT_ONCE,
    LITTLEFS_GEOMETRY,
    ROOT_FILES,
    MemoryFlash,
)

SUPERBLOCK = b"littlefs"
SECTORS_MAX = 4  # so many blocks are erased and written one by one before it takes longer than all 16
# A process of esptool takes as long as reading 256 KB: after so many looks all that is left is read in one.
FETCHED_AT_ONCE, FETCHES = 32, 6
Fetch = Callable[[int, int], bytes]
SELFTEST = "selftest"  # what the board found about its machine code
# What belongs to an application, or to an update of it that is under way, and goes with it.
FILES = (*ROOT_FILES, SELFTEST, trial.STATE)
FOLDERS = (f"{COMPILED_PACKAGE}/", f"{trial.NEXT}/", f"{trial.OLD}/")


def _mount(image: bytes) -> tuple[LittleFS, MemoryFlash]:
    flash = MemoryFlash(image)
    blocks = len(image) // BLOCK_BYTES
    system = LittleFS(flash, block_size=BLOCK_BYTES, block_count=blocks, mount=False, **LITTLEFS_GEOMETRY)
    system.mount()
    return system, flash


def _read(system: LittleFS, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found = {}
    for folder, _folders, names in system.walk("/"):
        for name in names:
            path = f"{folder}/{name}".replace("//", "/").removeprefix("/")
            if wanted(path):
                with system.open(path, "rb") as file:
                    found[path] = file.read()
    return found


class _Distant(UserContext):
    """A file system whose blocks are fetched as they are read, each fetch with its price: few, and not small."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        super().__init__(buffer=bytearray(size))
        self.error: Exception | None = None
        self._fetch, self._blocks = fetch, size // BLOCK_BYTES
        self._known: set[int] = set()
        self._fetches = 0

    def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> Any:
        """Fetch the block first, if it is not known; an error is kept for who called LittleFS."""
        if self.error is None:
            try:
                return bytearray(self.block(block)[off : off + size])
            except Exception as error:  # must not pass through C
                self.error = error
        return super().read(cfg, block, off, size)

    def block(self, number: int) -> bytes:
        """Return a whole block; raises what `fetch` raises."""
        if number not in self._known:
            self._get(number)
        return bytes(self.buffer[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES])

    def _get(self, block: int) -> None:
        first = block // FETCHED_AT_ONCE * FETCHED_AT_ONCE
        last = min(first + FETCHED_AT_ONCE, self._blocks)
        if self._fetches >= FETCHES:
            unknown = sorted(set(range(self._blocks)) - self._known)
            first, last = unknown[0], unknown[-1] + 1
        self._fetches += 1
        data = self._fetch(first * BLOCK_BYTES, (last - first) * BLOCK_BYTES)
        self.buffer[first * BLOCK_BYTES : last * BLOCK_BYTES] = data
        self._known |= set(range(first, last))


def read_own(fetch: Fetch, size: int) -> dict[str, bytes]:
    """Return the board's own files of a file system of `size` bytes; nothing when it is no LittleFS that can be read.

    `fetch(offset, count)` returns a part of it; what it raises is raised.
    """
    flash = _Distant(fetch, size)
    if SUPERBLOCK not in flash.block(0) + flash.block(1):
        return {}
    blocks = size // BLOCK_BYTES
    system = LittleFS(flash, block_size=BLOCK_BYTES, block_count=blocks, mount=False, **LITTLEFS_GEOMETRY)
    try:
        system.mount()
        found = _read(system, is_own)
    except (LittleFSError, ValueError):
        found = {}
    if flash.error is not None:
        raise flash.error
    return found


def is_own(path: str) -> bool:
    """Whether a file belongs to the board, not to the application: configuration, identity, what users put there."""
    return path not in FILES and not path.startswith(FOLDERS)


def regions(image: bytes, offset: int) -> list[tuple[int, bytes]]:
    """Return (offset in flash, bytes) of the parts of a file system that must be written: the blocks it ever reads.

    LittleFS erases a block before it uses it, so what lies in the others does not matter. Both blocks of a pair
    are read at each look into a folder, so what an older file system left in one of them never counts. No part is
    larger than what a flash erases in one go, so what a board holds already is left out in such parts. A part with
    more than a few blocks is rounded up to that: 64 KB take 0.15 s, their 16 sectors one by one 0.7 s.
    """
    system, flash = _mount(image)
    _read(system, lambda path: True)
    blocks = len(image) // BLOCK_BYTES
    wanted = flash.seen | {k for k in range(blocks) if image[k * BLOCK_BYTES : (k + 1) * BLOCK_BYTES] != ERASED}
    found: list[tuple[int, bytes]] = []
    for group in range(0, blocks, ERASED_AT_ONCE):
        used = sorted(wanted & set(range(group, group + ERASED_AT_ONCE)))
        if len(used) > SECTORS_MAX:
            used = list(range(group, min(group + ERASED_AT_ONCE, blocks)))
        for index, block in enumerate(used):
            data = image[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            if index and used[index - 1] == block - 1:
                found[-1] = (found[-1][0], found[-1][1] + data)
            else:
                found.append((offset + block * BLOCK_BYTES, data))
    return found


def joined(parts: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return parts with those that follow each other as one: written without a pause in between."""
    found: list[tuple[int, bytes]] = []
    for offset, data in sorted(parts):
        if found and found[-1][0] + len(found[-1][1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + data)
        else:
            found.append((offset, data))
    return found
