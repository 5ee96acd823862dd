"""Blocks of samples as bytes: an int32 matrix in, bytes out, and back exactly.

The first byte names the coder; every coder is exact for every int32, and none is longer than the raw matrix by more
than EXPANSION_MAX bytes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host.blocks import best, fast, short

RAW: Final = 0
"""Coder id: columns one after the other, little-endian int32."""
CHANNELS_MAX: Final = 4096
VALUES_MAX: Final = 1 << 22
"""Rows times channels of one block."""
EXPANSION_MAX: Final = 16
LEVELS: Final = ("fast", "best")

Matrix = NDArray[np.int32]

__all__ = ["CHANNELS_MAX", "EXPANSION_MAX", "LEVELS", "RAW", "VALUES_MAX", "CodecError", "decode", "encode"]


def encode(x: Matrix, level: str = "best") -> bytes:
    """The block `x`, int32 of shape (rows, channels), as bytes; ValueError for another shape, type or level."""
    if x.dtype != np.int32 or x.ndim != 2 or not 1 <= x.shape[1] <= CHANNELS_MAX or x.size > VALUES_MAX:
        raise ValueError("a block is an int32 matrix of 1 to 4096 channels and at most 4 Mi values")
    if level not in LEVELS:
        raise ValueError(f"no such level: {level}")
    if x.size == 0:
        return bytes((RAW,))
    data = short.encode(x) if x.shape[0] <= short.ROWS_MAX else fast.encode(x)
    if level == "best":
        data = min(data, best.encode(x), key=len)
    if len(data) > 1 + 4 * x.size:
        return bytes((RAW,)) + np.ascontiguousarray(x.T, dtype="<i4").tobytes()
    return data


def decode(data: bytes, rows: int, channels: int) -> Matrix:
    """The block of `rows` by `channels` that `encode` wrote; CodecError for anything else.

    Time and memory are bounded by rows * channels, which the caller has checked against what it allows.
    """
    if rows < 0 or not 1 <= channels <= CHANNELS_MAX or rows * channels > VALUES_MAX or not data:
        raise CodecError("no block")
    if len(data) > 4 * rows * channels + EXPANSION_MAX:
        raise CodecError("longer than any block of this size")
    coder = data[0]
    if coder == RAW:
        return _decode_raw(data, rows, channels)
    if rows == 0:
        raise CodecError("no block")
    if coder == fast.ID:
        return fast.decode(data, rows, channels)
    if coder == best.ID:
        return best.decode(data, rows, channels)
    if coder == short.ID:
        return short.decode(data, rows, channels)
    raise CodecError("unknown coder")


def _decode_raw(data: bytes, rows: int, channels: int) -> Matrix:
    """Columns as they are."""
    if len(data) != 1 + 4 * rows * channels:
        raise CodecError("a raw block of the wrong length")
    columns = np.frombuffer(data, "<i4", offset=1).reshape(channels, rows)
    return np.ascontiguousarray(columns.T, dtype=np.int32)
