"""MicroPython as a virtual board has it in flash: an image of the chip's format, around a machine of the host.

The application in it is no code: what boots is the unix MicroPython. But bootloader, partition table and application
are checked before each boot as the chip does, and the file system is mounted where the partition table says.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from qres_host import deploy, hardware
from qres_host.flash import image
from qres_host.flash.image import APP, DATA, NVS, Partition
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.flashchip import write_sparse

PHY = 1
FAT = 0x81
FILES_OFFSET = 0x200000
# MicroPython's table for 4 MB.
TABLE = [
    Partition("nvs", DATA, NVS, 0x9000, 0x6000),
    Partition("phy_init", DATA, PHY, 0xF000, 0x1000),
    Partition("factory", APP, 0, 0x10000, 0x1F0000),
    Partition("vfs", DATA, FAT, FILES_OFFSET, 0x200000),
]
NO_BOOT = b"ESP-ROM:esp32c6-20220919\r\ninvalid header: 0xffffffff\r\n"


@lru_cache(maxsize=4)
def micropython(
    code_bytes: int = 4096, version: str = "v1.28.0", chip: int = image.ESP32C6, blank_bytes: int = 0
) -> bytes:
    """Return the combined image of a virtual board: an application of about `code_bytes`.

    No compressor shrinks it, but for `blank_bytes` that follow each 32 bytes.
    """
    size = 32 + blank_bytes
    blocks = (hashlib.sha256(f"{version} {index}".encode()).digest() for index in range(-(-code_bytes // size)))
    return image.make_image(b"".join(block + bytes(blank_bytes) for block in blocks), TABLE, chip, version=version)


def flash_bytes() -> int:
    """Return the size of a virtual board's flash."""
    return hardware.load("virtual").flash_bytes


def new_flash(path: Path, spec: BoardSpec) -> int:
    """Write the flash of a new board: MicroPython and the file system, or nothing. Returns its size in bytes."""
    size = flash_bytes()
    files = dict(spec.files) if spec.files is not None else None
    parts = [(0, micropython())]
    if spec.bare:
        path.write_bytes(b"\xff" * size)
    else:
        parts.append((FILES_OFFSET, deploy.build_image(spec.config, spec.extra_files, files)))
        write_sparse(path, size, parts)
    return size
