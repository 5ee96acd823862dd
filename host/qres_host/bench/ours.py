"""This project's own levels for the batch bench: bytes in memory, as the peers give them, and whole `.qres` files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped
from qres_host.bench.jit import COMPILED

LEVELS = ("fast", "best")
PLAIN = "qres fast, no Numba"


def memory_form(level: str) -> Form:
    """`archive.compress`: says by itself how long it is, of which type and how many channels."""

    def encode(x: Ints) -> bytes:
        from qres_host import archive

        return archive.compress(x.tobytes(), f"int32:{x.shape[1]}", level)

    def decode(data: bytes, shape: Shape) -> Ints:
        from qres_host import archive

        return np.frombuffer(archive.decompress(data), np.int32).reshape(shape)

    return Form("memory", encode, decode)


def file_form(level: str) -> Form:
    """A `.qres` file of a table, read back from the disk: with names of columns, index and checksums."""

    def encode(x: Ints) -> bytes:
        from qres_host import archive

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.qres"
            archive.write(path, {f"c{c}": x[:, c] for c in range(x.shape[1])}, level)
            return path.read_bytes()

    def decode(data: bytes, shape: Shape) -> Ints:
        from qres_host import archive

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.qres"
            path.write_bytes(data)
            with archive.open(path) as found:
                columns = found.read()
        return np.stack([columns[f"c{c}"] for c in range(shape[1])], axis=1)

    return Form("file", encode, decode)


def coders() -> Iterator[Coder | Skipped]:
    """Both levels in memory and as files, and `fast` once more without Numba."""
    for level in LEVELS:
        yield Coder(f"qres {level}", (memory_form(level),), whole=True)
        yield Coder(f"qres {level}, file", (file_form(level),), whole=True)
    if COMPILED:
        yield Coder(PLAIN, (memory_form("fast"),), whole=True, plain=True)
    else:
        yield Skipped(PLAIN, "numba is not installed: every row is without it")
