"""The fast level: lattices, then columns of indices.

Layout: id, a bit for each column that lies on a lattice (least significant first), the lattices, the columns.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host.blocks import columns, lattice, short
from qres_host.blocks.varint import Reader

ID: Final = 1
SHORT_TRIED: Final = 512
"""Blocks of at most so many rows may be shorter without tables."""


def encode(x: NDArray[np.int32]) -> bytes:
    """The block with its id, or that of a short block; may be longer than raw, and then the caller prefers raw."""
    channels = x.shape[1]
    indices: list[NDArray[np.int32]] = []
    marks = bytearray((channels + 7) // 8)
    packed = []
    for c, v in enumerate(np.array(x.T, order="C")):
        found = lattice.find(v)
        if found is not None:
            marks[c >> 3] |= 1 << (c & 7)
            packed.append(found.pack())
            v = found.apply(v)
        indices.append(v)
    data = bytes((ID,)) + bytes(marks) + b"".join(packed) + columns.encode(indices)
    return min(data, short.encode(x), key=len) if x.shape[0] <= SHORT_TRIED else data


def decode(data: bytes, rows: int, channels: int) -> NDArray[np.int32]:
    """The inverse; CodecError for bytes that are no such block."""
    reader = Reader(data, 1)
    marks = bytes(reader.byte() for _ in range((channels + 7) // 8))
    lattices = {c: lattice.unpack(reader, rows) for c in range(channels) if marks[c >> 3] >> (c & 7) & 1}
    if marks[-1] >> ((channels - 1 & 7) + 1):
        raise CodecError("no such column")
    done = columns.decode(data, reader.at, rows, channels)
    for c, found in lattices.items():
        done[c] = found.undo(done[c])
    return np.stack(done, axis=1).astype(np.int32)
