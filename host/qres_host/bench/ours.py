"""This project's own levels for the batch bench: whole files, and the encoded blocks without a file around them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped

LEVELS = ("fast", "best")


def block_form(level: str) -> Form:
    """The encoded block alone."""

    def encode(x: Ints) -> bytes:
        from qres_host import blocks

        return blocks.encode(x, level)

    def decode(data: bytes, shape: Shape) -> Ints:
        from qres_host import blocks

        return blocks.decode(data, shape[0], shape[1])

    return Form("block", encode, decode)


def coders() -> Iterator[Coder | Skipped]:
    """Both levels as blocks, and `fast` once more without Numba."""
    for level in LEVELS:
        yield Coder(f"qres {level}", (block_form(level),), whole=True)
    plain = importlib.util.find_spec("numba") is not None
    yield (
        Coder("qres fast, no Numba", (block_form("fast"),), whole=True, plain=True)
        if plain
        else Skipped("qres fast, no Numba", "numba is not installed: all rows are without it")
    )
