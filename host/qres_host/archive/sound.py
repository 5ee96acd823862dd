"""Sound: .wav files of PCM samples as a table with a column a channel, and back byte for byte.

What stands before and after the samples rides along, so chunks that nobody knows survive.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive import general
from qres_host.archive.chunk import NUMBER, Chunk
from qres_host.archive.fields import Fields, varint
from qres_host.archive.meta import WAV, Column, Meta, NotThisFormat
from qres_host.archive.source import Batch, Source, block_rows

Array = npt.NDArray[Any]

_PCM, _EXTENSIBLE = 1, 0xFFFE
_HEAD_MAX = 1 << 20  # of what stands before or after the samples
_KINDS = {1: "|u1", 2: "<i2", 3: "<i4", 4: "<i4"}


def source(opener: Callable[[], BinaryIO], size: int, level: str) -> Source:
    """Return the samples of a .wav file as a table. Raises NotThisFormat for what is no PCM file."""
    with opener() as file:
        channels, width, at, length = _find_samples(file, size)
        file.seek(0)
        before = file.read(at)
        file.seek(at + length)
        after = file.read(_HEAD_MAX + 1)
    if len(after) > _HEAD_MAX:
        raise NotThisFormat("more than a megabyte stands behind its samples")
    rows = length // (channels * width)
    details = bytes((width,)) + varint(rows) + general.pack(before, "best") + general.pack(after, "best")
    meta = Meta(WAV, [Column("", kind=_KINDS[width]) for _ in range(channels)], details=details)
    step = block_rows(channels, level)

    def read() -> Iterator[Batch]:
        with opener() as file:
            file.seek(at)
            for first in range(0, rows, step):
                count = min(step, rows - first)
                matrix = _samples(file.read(count * channels * width), width).reshape(count, channels)
                yield [Chunk(NUMBER, count, np.ascontiguousarray(matrix[:, i])) for i in range(channels)], 0

    return Source(meta, read, size)


def _find_samples(file: BinaryIO, size: int) -> tuple[int, int, int, int]:
    """Return channels, bytes a sample, and offset and length of the samples."""
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise NotThisFormat("it is no RIFF file")
    at, shape = 12, (0, 0, 0, 0)
    while True:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        at += 8
        if name == b"fmt " and length >= 16:
            code, channels, _, _, row, bits = struct.unpack("<HHIIHH", file.read(16).ljust(16, b"\0"))
            shape = (code, channels, row, bits)
        if name == b"data" or not length:
            break
        at += length + length % 2
    code, channels, row, bits = shape
    width = bits // 8
    plain = code == _PCM or (code == _EXTENSIBLE and bits in (8, 16, 24))
    if name != b"data" or not plain or bits not in (8, 16, 24, 32) or not channels or row != channels * width:
        raise NotThisFormat("it holds no plain PCM samples")
    if at > _HEAD_MAX or at + length > size or length % row:
        raise NotThisFormat("its samples are cut short")
    return channels, width, at, length


def _samples(data: bytes, width: int) -> Array:
    if width != 3:
        return np.frombuffer(data, _KINDS[width]).astype(np.int64)
    raw = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int64)
    return raw[:, 0] | raw[:, 1] << 8 | (raw[:, 2] ^ 128) - 128 << 16


def _packed(values: Array, width: int) -> bytes:
    if width != 3:
        return values.astype(_KINDS[width]).tobytes()
    return np.ascontiguousarray(values.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def rows_bytes(chunks: list[Chunk], width: int) -> bytes:
    """Return the samples of a block as they stand in a file, `width` bytes each."""
    return _packed(np.stack([chunk.integers for chunk in chunks], axis=1).reshape(-1), width)


def frame(meta: Meta, rows: int) -> tuple[bytes, int, bytes]:
    """Return what stands before the samples, bytes a sample, and what stands after; lengths follow appended rows."""
    fields = Fields(meta.details)
    width, original = fields.byte(), fields.varint(1 << 50)
    before, after = general.unpack(fields, _HEAD_MAX), general.unpack(fields, _HEAD_MAX)
    fields.end()
    if width not in _KINDS or len(before) < 44:
        raise CodecError("unknown kind of sound")
    if rows != original:
        length = rows * width * len(meta.columns)
        if length % 2 and not after:
            after = b"\0"
        total = len(before) - 8 + length + len(after)
        if total >= 1 << 32:
            raise CodecError("more samples than a .wav file holds")
        before = before[:4] + struct.pack("<I", total) + before[8:-4] + struct.pack("<I", length)
    return before, width, after
