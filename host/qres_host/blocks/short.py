"""Short blocks: adaptive Golomb codes of differences, with nothing to set up, so that a call costs microseconds.

Layout: id, then one bit stream, least significant bit first.  Each channel starts with the order of its differences
(two bits: 0, 1, 2).  Differences wrap at 32 bits and are folded to 0, -1, 1, -2, ...; a value u is u >> k ones, a zero
and the low k bits of u, where k follows the mean of the last values (FIRST for the first); ESCAPE ones say that 32 raw
bits follow.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host import native
from qres_host.blocks import short_loops

ID: Final = 3
ROWS_MAX: Final = 192
"""A block of more rows pays for tables."""


def encode(x: NDArray[np.int32]) -> bytes:
    """The block with its id; at most 7 bytes a value, so the caller may prefer raw."""
    rows, channels = x.shape
    if native.COMPILED:
        out = np.empty(8 * x.size + 16, np.uint8)
        used = short_loops.encode(x.T.ravel(), rows, channels, out)
        return b"\x03" + out[:used].tobytes()
    plain = bytearray(8 * x.size + 16)
    used = short_loops.encode(x.T.ravel().tolist(), rows, channels, plain)
    return b"\x03" + bytes(plain[:used])


def decode(data: bytes, rows: int, channels: int) -> NDArray[np.int32]:
    """The inverse; CodecError for bytes that are no such block."""
    if native.COMPILED:
        flat = np.empty(rows * channels, np.int32)
        used = short_loops.decode(np.frombuffer(data, np.uint8), 1, rows, channels, flat)
    else:
        values = [0] * (rows * channels)
        used = short_loops.decode(data, 1, rows, channels, values)
        flat = np.array(values, np.int32)
    if used != len(data):
        raise CodecError("a short block of the wrong length")
    return np.ascontiguousarray(flat.reshape(channels, rows).T)
