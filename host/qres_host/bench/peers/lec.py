"""LEC: a fixed prefix code over the bit count of each difference (Marcelloni and Vecchio 2009, from baseline JPEG)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.bits import Bytes, get, put, width
from qres_host.bench.coder import Coder, Skipped
from qres_host.bench.jit import jit
from qres_host.bench.peers.rice import Code, Wide, as_form, get_one, put_one, unzigzag, zigzag

# Codes of the classes 0 to 6; from there on each is one bit longer than the last: 1110, 11110, ...
_SHORT = ("00", "010", "011", "100", "101", "110", "1110")
LENGTHS: NDArray[np.int64] = np.array([len(code) for code in _SHORT] + list(range(5, 32)))
CODES: NDArray[np.int64] = np.array([int(code, 2) for code in _SHORT] + [(1 << n) - 2 for n in range(5, 32)])


@jit
def _write(x: Wide, out: Bytes, at: int, lengths: Wide, codes: Wide) -> int:
    for i in range(1, len(x)):
        d = x[i] - x[i - 1]
        n = width(d if d >= 0 else -d)
        at = put(out, at, codes[n], lengths[n])
        at = put(out, at, d if d > 0 else d + (1 << n) - 1, n)
    return at


@jit
def _read(data: Bytes, x: Wide, at: int, lengths: Wide, codes: Wide) -> int:
    for i in range(1, len(x)):
        code = 0
        size = 0
        n = -1
        while n < 0:
            code = code << 1 | get(data, at, 1)
            at += 1
            size += 1
            for k in range(len(lengths)):
                if lengths[k] == size and codes[k] == code:
                    n = k
        raw = get(data, at, n)
        at += n
        x[i] = x[i - 1] + (raw if n == 0 or raw >> (n - 1) else raw - (1 << n) + 1)
    return at


def _encode(x: Wide, out: Bytes, at: int) -> int:
    at = put_one(out, at, int(zigzag(x[:1])[0]))
    return int(_write(x, out, at, LENGTHS, CODES))


def _decode(data: Bytes, at: int, rows: int) -> tuple[Wide, int]:
    x = np.zeros(rows, np.int64)
    first, at = get_one(data, at)
    x[0] = unzigzag(np.array([first]))[0]
    return x, int(_read(data, x, at, LENGTHS, CODES))


CODE = Code("LEC", _encode, _decode)


def coders() -> Iterator[Coder | Skipped]:
    """LEC, written here."""
    yield Coder("LEC", (as_form(CODE, "delta"),))
