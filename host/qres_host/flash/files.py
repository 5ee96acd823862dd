"""File systems of boards as they lie in flash: what has to be written of one, and what to keep of an older one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from littlefs import LFSConfig, LittleFS, LittleFSError, UserContext

from qres_host.deploy import BLOCK_BYTES, COMPILED_PACKAGE, LITTLEFS_GEOMETRY, ROOT_FILES

SUPERBLOCK = b"littlefs"
ERASED_AT_ONCE = 16  # blocks
ERASED = b"\xff" * BLOCK_BYTES
SELFTEST = "selftest"  # what the board found about its machine code; belongs to the application that was there


class _Reading(UserContext):
    """An image that notes which blocks are read."""

    def __init__(self, image: bytes) -> None:
        super().__init__(buffer=bytearray(image))
        self.seen: set[int] = set()

    def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> Any:
        """Note the block."""
        self.seen.add(block)
        return super().read(cfg, block, off, size)


def _mount(image: bytes) -> tuple[LittleFS, _Reading]:
    flash = _Reading(image)
    blocks = len(image) // BLOCK_BYTES
    system = LittleFS(flash, block_size=BLOCK_BYTES, block_count=blocks, mount=False, **LITTLEFS_GEOMETRY)
    system.mount()
    return system, flash


def _everything(system: LittleFS) -> dict[str, bytes]:
    found = {}
    for folder, _folders, names in system.walk("/"):
        for name in names:
            path = f"{folder}/{name}".replace("//", "/").removeprefix("/")
            with system.open(path, "rb") as file:
                found[path] = file.read()
    return found


def read_back(image: bytes) -> dict[str, bytes]:
    """Return every file of an image by its path; nothing when it holds no LittleFS that can be read."""
    if SUPERBLOCK not in image[: 2 * BLOCK_BYTES]:
        return {}
    try:
        return _everything(_mount(image)[0])
    except (LittleFSError, ValueError):
        return {}


def kept(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that belong to the board, not to the application: configuration, identity, what users put."""
    return {
        path: data
        for path, data in files.items()
        if path not in (*ROOT_FILES, SELFTEST) and not path.startswith(f"{COMPILED_PACKAGE}/")
    }


def regions(image: bytes, offset: int) -> list[tuple[int, bytes]]:
    """Return (offset in flash, bytes) of the parts of a file system that must be written: the blocks it ever reads.

    LittleFS erases a block before it uses it, so what lies in the others does not matter. Both blocks of a pair
    are read at each look into a folder, so what an older file system left in one of them never counts. What is written
    is rounded up to what a flash erases in one go: 64 KB take 0.15 s, their 16 sectors one by one 0.7 s.
    """
    system, flash = _mount(image)
    _everything(system)
    blocks = len(image) // BLOCK_BYTES
    wanted = flash.seen | {k for k in range(blocks) if image[k * BLOCK_BYTES : (k + 1) * BLOCK_BYTES] != ERASED}
    groups = {block // ERASED_AT_ONCE for block in wanted}
    whole = [k for group in sorted(groups) for k in range(group * ERASED_AT_ONCE, (group + 1) * ERASED_AT_ONCE)]
    found: list[tuple[int, bytes]] = []
    for block in whole[: whole.index(blocks)] if blocks in whole else whole:
        data = image[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        at = offset + block * BLOCK_BYTES
        if found and found[-1][0] + len(found[-1][1]) == at:
            found[-1] = (found[-1][0], found[-1][1] + data)
        else:
            found.append((at, data))
    return found
