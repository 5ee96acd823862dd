"""Arguments for every kernel of qres.golomb, recorded from packets, and what else bits can be."""

from array import array

from kernel_cases.recorded import cases, generators
from qres.golomb import FILL, HELD, WORK


def _work(fill):
    """Bits that wait for a whole byte."""
    work = array("i", [0] * WORK)
    work[FILL] = fill
    work[HELD] = 0x55 & ((1 << fill) - 1)
    return work


def put():
    yield from cases("put")
    for fill in range(8):
        for count in (0, 1, 7, 8, 9, 22):
            yield 0, 0, 0, (1 << count) - 1, count, _work(fill), bytearray(8)


def put_residual():
    yield from cases("put_residual")
    for fill in (0, 7):
        for k in (0, 1, 5, 11, 20):
            for q in (0, 3, 17, 18, 40):
                residual = min(q << k, 1 << 28) >> 1
                yield 512 << k, 0, 0, residual, _work(fill), bytearray(12)
                yield 512 << k, 0, 0, -residual - 1, _work(fill), bytearray(12)


globals().update(generators("settle", "choose", "advance"))
