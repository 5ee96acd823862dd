"""The general compressor: bytes that are no numbers, by the best of Deflate, LZMA and nothing.

A packed string is: method u8 (0 stored, 1 raw Deflate, 2 raw LZMA2), raw length varint, and for methods 1 and 2 the
packed length varint; then the bytes. LZMA2 has lc 3, lp 0, pb 2 and a dictionary that follows from the raw length,
so a reader knows how much memory it takes before it starts.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

from qres.codec import CodecError

from qres_host.archive.fields import Fields, varint

STORED, DEFLATE, LZMA = 0, 1, 2
RAW_MAX = 1 << 26  # of one packed string: it is decoded in memory at once
_LZMA_MIN = 64  # shorter strings gain nothing from it


def _filters(length: int) -> list[dict[str, Any]]:
    dictionary = min(max(1 << max(length - 1, 1).bit_length(), 1 << 12), 1 << 24)
    return [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": dictionary, "lc": 3, "lp": 0, "pb": 2}]


def deflate(data: bytes) -> bytes:
    """Return `data` as a raw Deflate stream."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def squeeze(data: bytes, level: str) -> tuple[int, bytes]:
    """Return (method, bytes) of the smallest form of `data`; level `fast` does not try LZMA."""
    method, body = STORED, data
    if len(data) > 8:
        packed = deflate(data)
        if len(packed) < len(body):
            method, body = DEFLATE, packed
    if level != "fast" and len(data) >= _LZMA_MIN:
        packed = lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(len(data)))
        if len(packed) < len(body):
            method, body = LZMA, packed
    return method, body


def expand(method: int, body: bytes, length: int) -> bytes:
    """Return the `length` bytes that `squeeze` was given; CodecError for anything else. `length` is already checked."""
    try:
        if method == STORED:
            data = body
        elif method == DEFLATE:
            inflater = zlib.decompressobj(-15)
            data = inflater.decompress(body, length + 1)
            if not inflater.eof or inflater.unused_data:
                raise CodecError("damaged Deflate stream")
        elif method == LZMA:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(length))
            data = decoder.decompress(body, length + 1)
            if len(data) == length and not decoder.eof:
                data += decoder.decompress(b"", 1)
            if not decoder.eof or decoder.unused_data:
                raise CodecError("damaged LZMA stream")
        else:
            raise CodecError(f"unknown general method {method}: a newer QRES wrote this")
    except (zlib.error, lzma.LZMAError, EOFError, MemoryError) as error:
        raise CodecError(f"damaged stream: {error}") from None
    if len(data) != length:
        raise CodecError("not the declared length")
    return data


def pack(data: bytes, level: str) -> bytes:
    """Return `data` as a packed string; ValueError beyond RAW_MAX bytes."""
    if len(data) > RAW_MAX:
        raise ValueError("more than 64 MB of text in one block")
    method, body = squeeze(data, level)
    head = bytes((method,)) + varint(len(data))
    return head + (varint(len(body)) if method else b"") + body


def unpack(fields: Fields, limit: int = RAW_MAX) -> bytes:
    """Return the data of the packed string that begins at `fields`, of at most `limit` bytes."""
    method = fields.byte()
    length = fields.varint(min(limit, RAW_MAX))
    body = fields.take(fields.varint() if method else length)
    return expand(method, body, length)
