"""Rice codes over fixed polynomial predictors, as in Shorten and FLAC: one parameter a column.

Also what the bit codes that are written here share: a `Code` writes a column at any bit, so that columns can follow
each other in one packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.bits import Bytes, get, put, view, width
from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped
from qres_host.bench.jit import jit

ORDER_BITS = 2
PARAMETER_BITS = 6
LENGTH_BITS = 6  # of the bit count of a value that stands alone
ESCAPE = 40  # ones; then the bit count and the value
VALUE_BITS_MAX = 2 * ESCAPE + 16  # that any code here takes for one value, with room to spare
Wide = NDArray[np.int64]


class Code(NamedTuple):
    """A bit code of one column of at least one value.

    `write(x, out, at)` returns the new position; `read(data, at, rows)` the values and the new position.
    """

    name: str
    write: Callable[[Wide, Bytes, int], int]
    read: Callable[[Bytes, int, int], tuple[Wide, int]]


def as_form(code: Code, name: str) -> Form:
    """A bit code on a column alone."""

    def encode(x: Ints) -> bytes:
        if not x.size:
            return b""
        out = np.zeros(16 + len(x) * VALUE_BITS_MAX // 8, np.uint8)
        return out[: (code.write(x.astype(np.int64), out, 0) + 7) >> 3].tobytes()

    def decode(data: bytes, shape: Shape) -> Ints:
        return code.read(view(data), 0, shape[0])[0].astype(np.int32) if shape[0] else np.zeros(0, np.int32)

    return Form(name, encode, decode)


def zigzag(values: Wide) -> Wide:
    """0, -1, 1, -2 ... as 0, 1, 2, 3 ..."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: Wide) -> Wide:
    """The inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)


@jit
def cost(z: Wide, k: int) -> int:
    """Bits that `write` takes."""
    bits = len(z) * (k + 1)
    for i in range(len(z)):
        q = z[i] >> k
        bits += q if q < ESCAPE else ESCAPE + LENGTH_BITS + width(z[i]) - k - 1
    return bits


@jit
def best_parameter(z: Wide) -> int:
    """The cheapest Rice parameter for all of `z`."""
    mean = 0
    for i in range(len(z)):
        mean += z[i] // len(z)
    start = max(width(mean) - 4, 0)  # only outliers, which are escaped, can raise the mean above the best
    while start > 0 and cost(z, start - 1) <= cost(z, start):
        start -= 1
    best, least = start, cost(z, start)
    for k in range(start + 1, start + 8):
        bits = cost(z, k)
        if bits < least:
            best, least = k, bits
    return best


@jit
def write(z: Wide, k: int, out: Bytes, at: int) -> int:
    """Write every value of `z` >= 0 with parameter `k`; the new position."""
    for i in range(len(z)):
        q = z[i] >> k
        if q < ESCAPE:
            at = put(out, at, ((1 << q) - 1) << 1, q + 1)
            at = put(out, at, z[i], k)
        else:
            n = width(z[i])
            at = put(out, at, (1 << ESCAPE) - 1, ESCAPE)
            at = put(out, at, n, LENGTH_BITS)
            at = put(out, at, z[i], n)
    return at


@jit
def read(data: Bytes, k: int, at: int, z: Wide) -> int:
    """The inverse of `write`, into `z`; the new position."""
    for i in range(len(z)):
        q = 0
        while q < ESCAPE and get(data, at, 1):
            q += 1
            at += 1
        if q < ESCAPE:
            z[i] = q << k | get(data, at + 1, k)
            at += 1 + k
        else:
            n = get(data, at, LENGTH_BITS)
            z[i] = get(data, at + LENGTH_BITS, n)
            at += LENGTH_BITS + n
    return at


def put_one(out: Bytes, at: int, value: int) -> int:
    """Write one value >= 0 behind its bit count."""
    n = value.bit_length()
    return int(put(out, put(out, at, n, LENGTH_BITS), value, n))


def get_one(data: Bytes, at: int) -> tuple[int, int]:
    """(value, new position) of what `put_one` wrote."""
    n = get(data, at, LENGTH_BITS)
    return get(data, at + LENGTH_BITS, n), at + LENGTH_BITS + n


def _write_order(x: Wide, order: int, out: Bytes, at: int) -> int:
    """Parameter, as many first values as the order, residuals of that order."""
    heads = [int(np.diff(x[: i + 1], i)[0]) for i in range(order)]
    z = zigzag(np.diff(x, order))
    k = best_parameter(z) if len(z) else 0
    at = put(out, at, k, PARAMETER_BITS)
    for head in heads:
        at = put_one(out, at, int(zigzag(np.array([head]))[0]))
    return int(write(z, k, out, at))


def _read_order(data: Bytes, at: int, rows: int, order: int) -> tuple[Wide, int]:
    k, at = get(data, at, PARAMETER_BITS), at + PARAMETER_BITS
    heads = np.zeros(order, np.int64)
    for i in range(order):
        heads[i], at = get_one(data, at)
    z = np.zeros(rows - order, np.int64)
    at = int(read(data, k, at, z))
    values = unzigzag(z)
    for head in unzigzag(heads)[::-1]:
        values = np.cumsum(np.concatenate([[head], values]))
    return values, at


def _write_fixed(x: Wide, out: Bytes, at: int) -> int:
    orders = range(min(4, len(x) + 1))
    trials = [np.zeros(32 + len(x) * VALUE_BITS_MAX // 8, np.uint8) for _ in orders]
    sizes = [_write_order(x, order, trials[order], 0) for order in orders]
    order = min(orders, key=sizes.__getitem__)
    return _write_order(x, order, out, int(put(out, at, order, ORDER_BITS)))


def _read_fixed(data: Bytes, at: int, rows: int) -> tuple[Wide, int]:
    return _read_order(data, at + ORDER_BITS, rows, get(data, at, ORDER_BITS))


DELTA = Code("delta+Rice", lambda x, out, at: _write_order(x, 1, out, at), lambda d, at, n: _read_order(d, at, n, 1))
FIXED = Code("fixed 0-3+Rice", _write_fixed, _read_fixed)


def coders() -> Iterator[Coder | Skipped]:
    """Rice over differences: the plainest coder that a chip runs."""
    yield Coder("delta+Rice", (as_form(DELTA, "delta"),))
