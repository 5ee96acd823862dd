"""General compressors (brotli, zstd, xz, zlib) on four forms of the bytes: plain, delta, shuffle, delta and shuffle.

The integers are as narrow as they fit (16 or 32 bits); deltas are zigzag-coded; a shuffle puts the bytes of equal
weight together, as HDF5 and Blosc do. The reader knows the number of rows, so the length tells how wide they are.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped, absent, to_bytes

Press = Callable[[bytes], bytes]


def prepare(x: Ints, delta: bool, shuffle: bool) -> bytes:
    """The bytes of a column for a general compressor."""
    if delta:
        wide = np.diff(x.astype(np.int64), prepend=0).astype(np.int32)  # wraps, as does the sum
        values = ((wide << 1) ^ (wide >> 31)).view(np.uint32)
        small = np.uint16 if not x.size or values.max() < 65536 else np.uint32
        raw = values.astype(small)
    else:
        fits = not x.size or (x.min() >= -32768 and x.max() < 32768)
        raw = x.astype(np.int16 if fits else np.int32).view(np.uint16 if fits else np.uint32)
    data = raw.tobytes()
    if shuffle:
        data = to_bytes(np.frombuffer(data, np.uint8).reshape(-1, raw.itemsize).T)
    return data


def restore(data: bytes, rows: int, delta: bool, shuffle: bool) -> Ints:
    """The inverse of `prepare`."""
    if not rows:
        return np.zeros(0, np.int32)
    size, body = len(data) // rows, np.frombuffer(data, np.uint8)
    if shuffle:
        body = np.ascontiguousarray(body.reshape(size, rows).T)
    if delta:
        z = body.reshape(-1).view(np.uint16 if size == 2 else np.uint32).astype(np.uint32)
        steps = (z >> 1).astype(np.int32) ^ -(z & 1).astype(np.int32)
        return np.cumsum(steps, dtype=np.int32)
    return body.reshape(-1).view(np.int16 if size == 2 else np.int32).astype(np.int32)


def form(name: str, press: Press, expand: Press, delta: bool, shuffle: bool) -> Form:
    """One form of a general compressor."""

    def encode(x: Ints) -> bytes:
        return press(prepare(x, delta, shuffle))

    def decode(data: bytes, shape: Shape) -> Ints:
        return restore(expand(data), shape[0], delta, shuffle)

    return Form(name, encode, decode)


def four(press: Press, expand: Press) -> tuple[Form, ...]:
    """All four forms."""
    names = ("plain", "delta", "shuffle", "delta+shuffle")
    return tuple(form(name, press, expand, "delta" in name, "shuffle" in name) for name in names)


def _brotli() -> tuple[Press, Press]:
    import brotli

    return (lambda data: bytes(brotli.compress(data, quality=11))), (lambda data: bytes(brotli.decompress(data)))


def _zstd() -> tuple[Press, Press]:
    import zstandard

    press = zstandard.ZstdCompressor(level=19)
    expand = zstandard.ZstdDecompressor()
    return press.compress, expand.decompress


def _late(make: Callable[[], tuple[Press, Press]]) -> tuple[Press, Press]:
    """The two functions of `make`, which imports its package only when one is called: in the measuring process."""
    found: list[tuple[Press, Press]] = []

    def call(which: int) -> Press:
        def run(data: bytes) -> bytes:
            if not found:
                found.append(make())
            return found[0][which](data)

        return run

    return call(0), call(1)


def coders() -> Iterator[Coder | Skipped]:
    """brotli 11, zstd 19, xz 9e and zlib 9."""
    for name, package, module, make in (
        ("brotli-11", "brotli", "brotli", _brotli),
        ("zstd-19", "zstandard", "zstandard", _zstd),
    ):
        reason = absent(package, module)
        yield Skipped(name, reason) if reason else Coder(name, four(*_late(make)))
    extreme = 9 | lzma.PRESET_EXTREME
    yield Coder("xz-9e", four(lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=extreme), lzma.decompress))
    yield Coder("zlib-9", four(lambda data: zlib.compress(data, 9), zlib.decompress))
