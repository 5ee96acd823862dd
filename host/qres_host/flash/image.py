"""Images of ESP32 chips: the combined file that MicroPython publishes, taken apart and checked; how one is made.

Formats: ESP-IDF, "App Image Format" and "Partition Tables". A combined image is flashed at 0 and holds the second
stage bootloader at 0, the partition table at 0x8000 and the application at its partition's offset.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import NamedTuple

from qres_host.errors import USAGE, QresError

CHIP_IDS = {0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 12: "ESP32-C2", 13: "ESP32-C6", 16: "ESP32-H2"}
ESP32C6 = 13
TABLE_OFFSET = 0x8000
TABLE_BYTES = 0xC00
SECTOR_BYTES = 4096
APP, DATA = 0, 1  # types of partitions
NVS = 2  # subtype of DATA
FILES = "vfs"  # label of the partition with MicroPython's file system
MAX_SEGMENTS = 16
_MAGIC = 0xE9
_CHECKSUM = 0xEF
_HEADER = struct.Struct("<BBBBI4xHBHH4xB")
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC, _MD5_MAGIC, _END_MAGIC = 0x50AA, 0xEBEB, 0xFFFF
_DESCRIPTION = struct.Struct("<I12x32s32s16s16s32s32s")  # esp_app_desc_t
_DESCRIPTION_MAGIC = 0xABCD5432
_HINT = "download it again, or name another with --image"


class ImageError(QresError):
    """An image that must not be flashed: one line that says why."""

    def __init__(self, why: str, remedy: str = _HINT) -> None:
        super().__init__(why, remedy, USAGE)


class Partition(NamedTuple):
    """One entry of a partition table; `offset` and `size` in bytes."""

    label: str
    kind: int
    subtype: int
    offset: int
    size: int


class Program(NamedTuple):
    """A checked program inside an image: bootloader or application. `size` in bytes, with checksum and hash."""

    chip: int
    size: int
    project: str
    version: str


@dataclass(frozen=True)
class Image:
    """A checked image. `data` is the whole file."""

    data: bytes
    bootloader: Program
    app: Program
    table: tuple[Partition, ...]

    def regions(self) -> list[tuple[int, bytes]]:
        """Return (offset, bytes) of what is written: bootloader, table and application.

        NVS is left out: it counts the board's sessions and survives a new version of MicroPython.
        """
        start = self.app_partition().offset
        table = self.data[TABLE_OFFSET : TABLE_OFFSET + TABLE_BYTES]
        return [
            (0, self.data[: self.bootloader.size]),
            (TABLE_OFFSET, table),
            (start, self.data[start : start + self.app.size]),
        ]

    def app_partition(self) -> Partition:
        """Return the partition that boots: the first of type app."""
        return next(part for part in self.table if part.kind == APP)

    def names_files(self) -> bool:
        """Whether the table names the file system; else where it lies depends on the flash's size, which only the boot
        loader knows for sure."""
        return any(part.label == FILES for part in self.table)

    def file_system(self, flash_bytes: int) -> tuple[int, int]:
        """Return offset and size of the file system on a flash of that size: see `file_system`."""
        return file_system(self.table, flash_bytes)


def file_system(table: tuple[Partition, ...], flash_bytes: int) -> tuple[int, int]:
    """Return offset and size of MicroPython's file system: partition `vfs`, else all behind the last partition.

    MicroPython adds the latter at boot (its partitions-4MiBplus.csv has no vfs). Raises ImageError when it does not
    fit.
    """
    for part in table:
        if part.label == FILES:
            offset, size = part.offset, part.size
            break
    else:
        offset = max(part.offset + part.size for part in table)
        size = flash_bytes - offset
    if size < 16 * SECTOR_BYTES or offset + size > flash_bytes:
        raise ImageError(f"the image's file system does not fit {flash_bytes >> 20} MB of flash", "choose its --board")
    return offset, size


def check(data: bytes, chip: int = ESP32C6, flash_bytes: int = 1 << 22) -> Image:
    """Return the image that `data` holds, all of it verified. Raises ImageError, which says what is wrong."""
    if len(data) > flash_bytes:
        raise ImageError(f"the image has {len(data):,} bytes, the board's flash {flash_bytes:,}")
    bootloader = read_program(data, 0, "bootloader")
    _right_chip(bootloader, chip)
    table = read_table(data)
    apps = [part for part in table if part.kind == APP]
    if not apps:
        raise ImageError("the image's partition table names no application")
    app = read_program(data, apps[0].offset, "application")
    _right_chip(app, chip)
    if app.size > apps[0].size:
        raise ImageError(f"the application has {app.size:,} bytes, its partition {apps[0].size:,}")
    image = Image(data, bootloader, app, table)
    image.file_system(flash_bytes)
    return image


def _right_chip(program: Program, chip: int) -> None:
    if program.chip != chip:
        found = CHIP_IDS.get(program.chip, f"chip {program.chip}")
        raise ImageError(f"the image is for {found}, not for {CHIP_IDS[chip]}", "name the image of this board's chip")


def read_program(data: bytes, start: int, what: str) -> Program:
    """Return the program at `start`, its length, checksum and own SHA-256 verified. Raises ImageError."""
    if len(data) < start + _HEADER.size or data[start] != _MAGIC:
        raise ImageError(f"no {what} at {start:#x}: this is no combined ESP32 image")
    _magic, count, _mode, _size, _entry, chip, _, _, _, hashed = _HEADER.unpack_from(data, start)
    if not 0 < count <= MAX_SEGMENTS:
        raise ImageError(f"the {what} claims {count} segments")
    at, checksum, first = start + _HEADER.size, _CHECKSUM, b""
    for _ in range(count):
        if at + 8 > len(data):
            raise ImageError(f"the {what} is cut off")
        (length,) = struct.unpack_from("<I", data, at + 4)
        segment = data[at + 8 : at + 8 + length]
        if len(segment) != length:
            raise ImageError(f"the {what} is cut off")
        first = first or segment
        checksum ^= xor(segment)
        at += 8 + length
    at = start + (at - start) // 16 * 16 + 15  # the checksum is the last byte of a line of 16
    if at >= len(data) or data[at] != checksum:
        raise ImageError(f"the {what} is damaged: its checksum is wrong")
    at += 1
    if not hashed:
        raise ImageError(f"the {what} carries no SHA-256 of itself")
    if hashlib.sha256(data[start:at]).digest() != data[at : at + 32]:
        raise ImageError(f"the {what} is damaged: its SHA-256 is wrong")
    return Program(chip, at + 32 - start, *_description(first))


def xor(data: bytes) -> int:
    """Return all bytes of `data` combined by exclusive or: what checksums of images and of commands are made of."""
    padded = data + bytes(-len(data) % 8)
    folded = 0
    for word in memoryview(padded).cast("Q"):
        folded ^= word
    found = 0
    for byte in folded.to_bytes(8, "little"):
        found ^= byte
    return found


def _description(segment: bytes) -> tuple[str, str]:
    """Project and version that an application tells of itself; empty for a bootloader."""
    if len(segment) < _DESCRIPTION.size:
        return "", ""
    magic, version, project, *_ = _DESCRIPTION.unpack_from(segment)
    if magic != _DESCRIPTION_MAGIC:
        return "", ""
    return _text(project), _text(version)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace")


def read_table(data: bytes, start: int = TABLE_OFFSET) -> tuple[Partition, ...]:
    """Return the partition table at `start`, verified by its MD5. Raises ImageError."""
    found: list[Partition] = []
    for at in range(start, min(start + TABLE_BYTES, len(data) - 31), 32):
        magic, kind, subtype, offset, size, label, _flags = _ENTRY.unpack_from(data, at)
        if magic == _MD5_MAGIC:
            if hashlib.md5(data[start:at], usedforsecurity=False).digest() != data[at + 16 : at + 32]:
                raise ImageError("the partition table is damaged: its MD5 is wrong")
            return tuple(found)
        if magic != _ENTRY_MAGIC:
            break
        found.append(Partition(_text(label), kind, subtype, offset, size))
    raise ImageError(f"no partition table at {start:#x}")


# Making one, for virtual boards


def make_program(segments: list[tuple[int, bytes]], chip: int = ESP32C6, entry: int = 0x40800000) -> bytes:
    """Return a program of (address, bytes) segments with header, checksum and SHA-256, as `read_program` wants it."""
    body = _HEADER.pack(_MAGIC, len(segments), 2, 0x20, entry, chip, 0, 0, 0xFFFF, 1)
    checksum = _CHECKSUM
    for address, segment in segments:
        segment += bytes(-len(segment) % 4)
        body += struct.pack("<II", address, len(segment)) + segment
        checksum ^= xor(segment)
    body += bytes(15 - len(body) % 16) + bytes([checksum])
    return body + hashlib.sha256(body).digest()


def make_table(parts: list[Partition]) -> bytes:
    """Return a partition table with its MD5, padded as it lies in flash."""
    entries = b"".join(
        _ENTRY.pack(_ENTRY_MAGIC, part.kind, part.subtype, part.offset, part.size, part.label.encode(), 0)
        for part in parts
    )
    digest = hashlib.md5(entries, usedforsecurity=False).digest()
    return (entries + struct.pack("<H", _MD5_MAGIC) + b"\xff" * 14 + digest).ljust(TABLE_BYTES, b"\xff")


def make_image(
    code: bytes, table: list[Partition], chip: int = ESP32C6, project: str = "micropython", version: str = "v0"
) -> bytes:
    """Return a combined image whose application tells that project and version and holds `code`."""
    about = _DESCRIPTION.pack(
        _DESCRIPTION_MAGIC, version.encode(), project.encode(), b"00:00:00", b"Jan  1 2026", b"v5", bytes(32)
    )
    boot = make_program([(0x4086C410, b"second stage" * 64)], chip)
    app = make_program([(0x42000020, about.ljust(256, b"\0")), (0x42010020, code)], chip)
    data = boot.ljust(TABLE_OFFSET, b"\xff") + make_table(table)
    start = next(part.offset for part in table if part.kind == APP)
    return data.ljust(start, b"\xff") + app
