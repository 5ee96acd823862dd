"""Gorilla (Pelkonen et al. 2015) and Chimp (Liakos et al. 2022) on the values as 64-bit floats, as they are defined."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.bits import Bytes, get, put, view
from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped, absent
from qres_host.bench.jit import jit

# Chimp codes the number of leading zeros in three bits: the greatest of these that is not above it.
ROUNDED: NDArray[np.int64] = np.array([0, 8, 12, 16, 18, 20, 22, 24])
Words = NDArray[np.int64]


@jit
def _leading(x: int) -> int:
    n = 0
    while n < 64 and not (x >> (63 - n)) & 1:
        n += 1
    return n


@jit
def _trailing(x: int) -> int:
    n = 0
    while n < 64 and not (x >> n) & 1:
        n += 1
    return n


@jit
def _gorilla_write(u: Words, out: Bytes) -> int:
    at = put(out, 0, u[0], 64)
    lead, trail = 65, 0  # no window yet
    for i in range(1, len(u)):
        x = u[i] ^ u[i - 1]
        if x == 0:
            at = put(out, at, 0, 1)
            continue
        a, b = min(_leading(x), 31), _trailing(x)
        if lead <= a and trail <= b:
            at = put(out, at, 2, 2)
        else:
            lead, trail = a, b
            at = put(out, at, 3, 2)
            at = put(out, at, lead, 5)
            at = put(out, at, 64 - lead - trail - 1, 6)
        at = put(out, at, x >> trail, 64 - lead - trail)
    return at


@jit
def _gorilla_read(data: Bytes, u: Words) -> None:
    u[0] = get(data, 0, 64)
    at, lead, trail = 64, 0, 0
    for i in range(1, len(u)):
        at += 1
        u[i] = u[i - 1]
        if get(data, at - 1, 1) == 0:
            continue
        at += 1
        if get(data, at - 1, 1):
            lead = get(data, at, 5)
            trail = 64 - lead - get(data, at + 5, 6) - 1
            at += 11
        n = 64 - lead - trail
        u[i] ^= get(data, at, n) << trail
        at += n


@jit
def _chimp_write(u: Words, out: Bytes, rounded: Words) -> int:
    at = put(out, 0, u[0], 64)
    last = -1
    for i in range(1, len(u)):
        x = u[i] ^ u[i - 1]
        if x == 0:
            at = put(out, at, 0, 2)
            last = -1
            continue
        a, b, k = _leading(x), _trailing(x), 0
        while k < 7 and rounded[k + 1] <= a:
            k += 1
        if b > 6:
            at = put(out, at, 1, 2)
            at = put(out, at, k, 3)
            at = put(out, at, 64 - rounded[k] - b, 6)
            at = put(out, at, x >> b, 64 - rounded[k] - b)
            last = -1
            continue
        if k == last:
            at = put(out, at, 2, 2)
        else:
            at = put(out, at, 3, 2)
            at = put(out, at, k, 3)
            last = k
        at = put(out, at, x, 64 - rounded[k])
    return at


@jit
def _chimp_read(data: Bytes, u: Words, rounded: Words) -> None:
    u[0] = get(data, 0, 64)
    at, last = 64, -1
    for i in range(1, len(u)):
        flag = get(data, at, 2)
        at += 2
        u[i] = u[i - 1]
        if flag == 0:
            last = -1
        elif flag == 1:
            a = rounded[get(data, at, 3)]
            n = get(data, at + 3, 6)
            u[i] ^= get(data, at + 9, n) << (64 - a - n)
            at += 9 + n
            last = -1
        else:
            if flag == 3:
                last = get(data, at, 3)
                at += 3
            n = 64 - rounded[last]
            u[i] ^= get(data, at, n)
            at += n


def _words(x: Ints) -> Words:
    return x.astype(np.float64).view(np.int64)


def _ints(u: Words) -> Ints:
    return u.view(np.float64).astype(np.int32)


def _gorilla(x: Ints) -> bytes:
    out = np.zeros(16 + 10 * len(x), np.uint8)
    return out[: (_gorilla_write(_words(x), out) + 7) >> 3].tobytes() if x.size else b""


def _ungorilla(data: bytes, shape: Shape) -> Ints:
    u = np.zeros(shape[0], np.int64)
    if len(u):
        _gorilla_read(view(data), u)
    return _ints(u)


def _chimp(x: Ints) -> bytes:
    out = np.zeros(16 + 10 * len(x), np.uint8)
    return out[: (_chimp_write(_words(x), out, ROUNDED) + 7) >> 3].tobytes() if x.size else b""


def _unchimp(data: bytes, shape: Shape) -> Ints:
    u = np.zeros(shape[0], np.int64)
    if len(u):
        _chimp_read(view(data), u, ROUNDED)
    return _ints(u)


def coders() -> Iterator[Coder | Skipped]:
    """Both, where Numba is: their 64-bit words wrap as a machine's do."""
    reason = absent("numba", "numba", "fast")
    for name, form in (
        ("Gorilla", Form("float64", _gorilla, _ungorilla)),
        ("Chimp", Form("float64", _chimp, _unchimp)),
    ):
        yield Skipped(name, reason) if reason else Coder(name, (form,))
