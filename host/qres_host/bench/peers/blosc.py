"""Blosc2: delta and bit shuffle in front of zstd 9."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped, absent


def _encode(x: Ints) -> bytes:
    import blosc2

    fits = not x.size or (x.min() >= -32768 and x.max() < 32768)
    narrow = np.ascontiguousarray(x.astype(np.int16) if fits else x)
    filters = [blosc2.Filter.DELTA, blosc2.Filter.BITSHUFFLE]
    return bytes(
        blosc2.compress2(
            narrow,
            typesize=narrow.itemsize,
            clevel=9,
            codec=blosc2.Codec.ZSTD,
            filters=filters,
            filters_meta=[0, 0],
            nthreads=1,
        )
    )


def _decode(data: bytes, shape: Shape) -> Ints:
    import blosc2

    raw = blosc2.decompress2(data, nthreads=1)
    narrow = np.int16 if len(raw) == 2 * shape[0] else np.int32
    return np.frombuffer(raw, narrow).astype(np.int32)


def coders() -> Iterator[Coder | Skipped]:
    """Blosc2 with one thread."""
    reason = absent("blosc2", "blosc2")
    yield Skipped("blosc2", reason) if reason else Coder("blosc2", (Form("delta+bitshuffle zstd-9", _encode, _decode),))
