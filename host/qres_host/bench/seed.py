"""The compression figure of the architecture document that this project implements, 4.98x to 31.8x, with a decoder.

Its measure: bytes of the samples as 32-bit floats over compressed bytes, after rounding to steps of 0.01. Its signals
are synthetic, 20,000 samples each: a slow sine (31.8x) and a square wave on a random walk (4.98x). Its base, a bit
packing of differences, gave 20.88x and 3.55x; but it cut each difference off after a float subtraction, so its bytes do
not give the samples back. Here every coder gives them back exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.bits import get, put
from qres_host.bench.coder import Coder
from qres_host.bench.peers.rice import Code, Wide, as_form, unzigzag, zigzag
from qres_host.bench.streams import Stream

SAMPLES = 20_000
BLOCK = 256
PUBLISHED = {"slow sine": 31.83, "square wave on a walk": 4.98}


def streams() -> list[Stream]:
    """Both signals in steps of 0.01."""
    random = np.random.RandomState(42)
    random.normal(0, 0.1, SAMPLES)  # the generator made another signal first
    square = np.where(np.arange(SAMPLES) % 500 < 250, 1.0, -1.0)
    walk = square + np.cumsum(random.normal(0, 0.01, SAMPLES))
    sine = np.sin(np.linspace(0, 20, SAMPLES))
    return [Stream(name, _steps(y)) for name, y in zip(PUBLISHED, (sine, walk), strict=True)]


def _steps(y: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(y * 100).astype(np.int32)[:, None]


def _write(x: Wide, out: NDArray[np.uint8], at: int) -> int:
    z = zigzag(np.diff(x, prepend=np.zeros(1, np.int64)))
    for start in range(0, len(z), BLOCK):
        block = z[start : start + BLOCK]
        size = int(block.max()).bit_length()
        at = put(out, at, size, 8)
        for value in block.tolist():
            at = put(out, at, value, size)
    return at


def _read(data: NDArray[np.uint8], at: int, rows: int) -> tuple[Wide, int]:
    z = np.zeros(rows, np.int64)
    for start in range(0, rows, BLOCK):
        size = get(data, at, 8)
        at += 8
        for i in range(start, min(start + BLOCK, rows)):
            z[i] = get(data, at, size)
            at += size
    return np.cumsum(unzigzag(z)), at


PACKING = Code("bit packing", _write, _read)


def packing() -> Coder:
    """Differences in blocks of 256, each as wide as its widest."""
    return Coder(PACKING.name, (as_form(PACKING, "delta"),))
