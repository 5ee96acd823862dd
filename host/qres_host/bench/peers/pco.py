"""pcodec: numerical columns by binning and asymmetric numeral systems, with deltas and lookback of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped, absent


def form(level: int) -> Form:
    """pcodec at one level, in its standalone format."""

    def encode(x: Ints) -> bytes:
        from pcodec import ChunkConfig, standalone

        return bytes(standalone.simple_compress(x, ChunkConfig(compression_level=level)))

    def decode(data: bytes, shape: Shape) -> Ints:
        from pcodec import standalone

        found = standalone.simple_decompress(data)
        return np.zeros(shape, np.int32) if found is None else np.asarray(found, np.int32)

    return Form(f"level {level}", encode, decode)


def coders() -> Iterator[Coder | Skipped]:
    """pcodec at its default level and at its highest."""
    reason = absent("pcodec", "pcodec")
    for level in (8, 12):
        yield Skipped(f"pcodec-{level}", reason) if reason else Coder(f"pcodec-{level}", (form(level),))
