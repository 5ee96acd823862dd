"""Bytes in memory: the smallest form, a few bytes of header and no checksum, for packets, messages and caches.

The first byte is a tag and tells everything about the rest; docs/format.md lists the tags. A tag never changes its
meaning.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from qres.codec import CodecError

from qres_host import blocks
from qres_host.archive import arrays, block, general
from qres_host.archive.block import Summary
from qres_host.archive.fields import Fields, string, varint

LENGTH_MAX = 1 << 31
_TYPED = 0x10
_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
_WIDE = 6  # types from here on are columns of a block, those before it are lanes themselves
_PIECE = 1 << 16  # rows of a piece
_TRIED = ("int16", "int32", "int16:2", "int32:2", "int64", "float32", "float64")
_PROBE = 1 << 14
_NAMES = {
    f"{name}{8 * size}": _TYPES.index(f"{kind}{size}")
    for name, kind, sizes in (("int", "i", (1, 2, 4, 8)), ("uint", "u", (1, 2, 4, 8)), ("float", "f", (2, 4, 8)))
    for size in sizes
}


class _Shape(NamedTuple):
    """Type (its number and NumPy's), channels, and bytes a row."""

    number: int
    kind: Any
    channels: int
    row: int


@lru_cache(maxsize=256)
def _shape(number: int, channels: int) -> _Shape:
    kind = np.dtype("<" + _TYPES[number])
    return _Shape(number, kind, channels, kind.itemsize * channels)


@lru_cache(maxsize=256)
def _hinted(hint: str) -> _Shape | None:
    """Return what a hint means, None for `bytes`; ValueError for an unknown one."""
    name, _, channels = hint.partition(":")
    count = int(channels) if channels.isdigit() else 0 if channels else 1
    if hint == "bytes":
        return None
    if name not in _NAMES or not 1 <= count <= blocks.CHANNELS_MAX:
        raise ValueError(
            f"no such usage: {hint!r}; bytes, int8 to uint64, float16 to float64, with :CHANNELS or without"
        )
    return _shape(_NAMES[name], count)


def compress(data: bytes, usage_hint: str = "", level: str = "fast") -> bytes:
    """Return `data` in its smallest form, at most one byte longer than it is.

    `usage_hint` says what the bytes are: `bytes`, or little-endian `int8`, `uint8`, ... `int64`, `uint64`, `float16`,
    `float32`, `float64`, with `:4` for four interleaved channels; empty tries the likely ones. Raises ValueError for
    another hint.
    """
    hint = usage_hint or _likely(data)
    shape = _hinted(hint)
    if shape is not None and len(data) >= shape.row:
        out = _typed(data, shape, level)
        if len(out) <= len(data):
            return out
    method, body = general.squeeze(data, level)
    if method == general.STORED or len(body) + 6 > len(data):
        return bytes((general.STORED,)) + data
    return bytes((method,)) + varint(len(data)) + body


def _likely(data: bytes) -> str:
    """Return the hint that makes the beginning of `data` smallest."""
    if len(data) < 16:
        return "bytes"
    probe = data[:_PROBE]
    best, size = "bytes", len(general.squeeze(probe, "fast")[1])
    for hint in _TRIED:
        shape = _hinted(hint)
        assert shape is not None
        if len(data) % shape.row == 0:
            found = len(_typed(probe[: len(probe) // shape.row * shape.row], shape, "fast"))
            if found < size:
                best, size = hint, found
    return best


def _rows(shape: _Shape) -> int:
    return max(min(_PIECE, blocks.VALUES_MAX // (2 * shape.channels)), 1)


def _typed(data: bytes, shape: _Shape, level: str) -> bytes:
    count = len(data) // shape.row
    whole = count * shape.row
    matrix = np.frombuffer(data, shape.kind, count * shape.channels).reshape(count, shape.channels)
    head = bytes((_TYPED + shape.number,)) + varint(len(data)) + varint(shape.channels) + data[whole:]
    step = _rows(shape)
    if count <= step:
        return head + _piece(matrix, shape, level)
    return head + b"".join(string(_piece(matrix[at : at + step], shape, level)) for at in range(0, count, step))


def _piece(matrix: Any, shape: _Shape, level: str) -> bytes:
    if shape.number < _WIDE:
        if shape.number == 5:
            return blocks.encode(np.ascontiguousarray(matrix).view(np.int32), level)
        return blocks.encode(matrix.astype(np.int32), level)
    chunks = arrays.chunks_of([matrix[:, i] for i in range(shape.channels)], 0, len(matrix))
    return block.encode(Summary(len(matrix)), chunks, level, -1)


def decompress(data: bytes, limit: int = LENGTH_MAX) -> bytes:
    """Return what `compress` was given; CodecError for anything else, or when it is longer than `limit` bytes."""
    fields = Fields(data)
    tag = fields.byte()
    if tag == general.STORED:
        return fields.rest()
    if tag in (general.DEFLATE, general.LZMA):
        length = fields.varint(limit)
        return general.expand(tag, fields.rest(), length)
    if not _TYPED <= tag < _TYPED + len(_TYPES):
        raise CodecError(f"unknown tag {tag}: a newer QRES wrote this")
    length, channels = fields.varint(limit), fields.varint(blocks.CHANNELS_MAX)
    if not channels:
        raise CodecError("no channels")
    shape = _shape(tag - _TYPED, channels)
    count = length // shape.row
    tail = fields.take(length - count * shape.row)
    step = _rows(shape)
    if count <= step:
        return _unpiece(fields.rest(), count, shape) + tail
    parts = []
    for at in range(0, count, step):
        parts.append(_unpiece(fields.string(len(data)), min(step, count - at), shape))
    fields.end()
    parts.append(tail)
    return b"".join(parts)


def _unpiece(data: bytes, rows: int, shape: _Shape) -> bytes:
    if shape.number < _WIDE:
        matrix = blocks.decode(data, rows, shape.channels)
        if shape.number == 5:
            return matrix.view(np.uint32).tobytes()
        return matrix.astype(shape.kind).tobytes()
    summary, chunks = block.decode(data, shape.channels)
    if summary.rows != rows:
        raise CodecError("another number of rows than declared")
    columns = [arrays.values(chunk, shape.kind.str) for chunk in chunks]
    if any(isinstance(column, np.ma.MaskedArray) for column in columns):
        raise CodecError("bytes without a value")
    return np.ascontiguousarray(np.stack(columns, axis=1)).tobytes()
