"""Arguments for every kernel of qres.recurrent: for each a generator of its name, the same on every machine."""

from array import array

from kernel_cases.regression import some
from qres.recurrent import CELL_MAX
from qres.regression import LIMIT
from support import noise, xorshift

ONE = 65536
SHAPES = ((1, 2), (8, 2), (8, 30), (16, 32))


def gates():
    source = xorshift(1)
    for hidden, inputs in SHAPES:
        size = 4 * hidden * (1 + inputs + hidden)
        for cell in (noise(source, size), bytes(size), bytes([255] * size)):
            for x in (some(source, inputs, LIMIT), array("i", [LIMIT] * inputs), array("i", [-LIMIT] * inputs)):
                h = some(source, hidden, ONE)
                yield 0, 0, 0, hidden, inputs, bytearray(cell), x, h, array("i", [0] * (4 * hidden))


def _gated(source, hidden):
    """Gates from 0 to 1, candidates from -1 to 1."""
    return array("i", [abs(v) for v in some(source, 3 * hidden, ONE)]) + some(source, hidden, ONE)


def remember():
    source = xorshift(2)
    for hidden in (1, 8, 16):
        for _ in range(4):
            yield 0, 0, 0, hidden, _gated(source, hidden), some(source, hidden, CELL_MAX), array("i", [0] * hidden)
    yield 0, 0, 0, 1, array("i", [ONE] * 4), array("i", [CELL_MAX]), array("i", [0])
    yield 0, 0, 0, 1, array("i", [ONE] * 3 + [-ONE]), array("i", [-CELL_MAX]), array("i", [0])


def emit():
    source = xorshift(3)
    for hidden in (1, 8, 16):
        for _ in range(3):
            yield 0, 0, 0, hidden, _gated(source, hidden), some(source, hidden, ONE)


def add():
    source = xorshift(4)
    for count in (1, 4, 15):
        most = LIMIT << 4
        yield 0, 0, most, count, some(source, count, most), some(source, count, most)
        yield 0, 0, most, count, array("i", [most] * count), array("i", [most] * count)
        yield 0, 0, most, count, array("i", [-most] * count), array("i", [-most] * count)
