"""Arguments for every kernel of qres.kernels: for each a generator of its name, the same on every machine.

Buffers are made anew for each case, because kernels write to them.
"""

from array import array

from qres import kernels
from qres.kernels import DELTA_MAX, ORDER_MAX, WEIGHT_MAX
from support import below, xorshift

# -4097 << 4 is above 12 bits by the floor of the shift alone.
HARD_DELTAS = (0, 1, -1, 4095, -4096, 4096, -4097, -4097 << 4, 1 << 20, DELTA_MAX, -DELTA_MAX)
HARD_WEIGHTS = (0, 1, -1, 65536, -65536, WEIGHT_MAX, -WEIGHT_MAX)


def _deltas(source, count):
    """Random changes of one random size, some of them extreme."""
    bits = 1 + below(source, 29)
    out = array("i", [(next(source) & ((1 << bits) - 1)) - (1 << (bits - 1)) for _ in range(count)])
    if count and next(source) & 1:
        out[below(source, count)] = HARD_DELTAS[below(source, len(HARD_DELTAS))]
    return out


def _weights(source, count):
    return array("i", [below(source, 2 * WEIGHT_MAX + 1) - WEIGHT_MAX for _ in range(count)])


def shift_for():
    for value in HARD_DELTAS:
        yield array("i", [value] * ORDER_MAX), 0, ORDER_MAX
        yield array("i", [9, 3, value]), 1, 2
    source = xorshift(1)
    for count in range(ORDER_MAX + 1):
        yield _deltas(source, ORDER_MAX), 0, count


def nlms_predict():
    for w in HARD_WEIGHTS:
        for d in HARD_DELTAS:
            deltas = array("i", [d] * ORDER_MAX)
            shift = kernels.shift_for(deltas, 0, ORDER_MAX)
            yield 0, 0, 0, 0, ORDER_MAX, shift, array("i", [w] * ORDER_MAX), deltas
    source = xorshift(2)
    for count in range(ORDER_MAX + 1):
        for at in (0, 5):
            weights, deltas = _weights(source, at + count + 1), _deltas(source, at + ORDER_MAX)
            yield 7, 7, at, at, count, kernels.shift_for(deltas, at, count), weights, deltas


def nlms_update():
    for w in (WEIGHT_MAX, 0, -WEIGHT_MAX):
        for d in HARD_DELTAS:
            for error in (DELTA_MAX, -DELTA_MAX, 1):
                for count in (1, ORDER_MAX):
                    deltas = array("i", [d] * count)
                    shift = kernels.shift_for(deltas, 0, count)
                    yield 0, 0, 0, 0, count, shift, error, 512, array("i", [w] * count), deltas
    source = xorshift(3)
    for count in range(ORDER_MAX + 1):
        for rate in (1, 41, 205):
            error = (next(source) >> below(source, 29)) - 1
            error = max(min(error, DELTA_MAX), -DELTA_MAX)
            error = -error if next(source) & 1 else error
            weights, deltas = _weights(source, rate + count), _deltas(source, rate + count)
            shift = kernels.shift_for(deltas, rate, count)
            yield 7, 7, 7, rate, count, shift, error, rate, weights, deltas


def push():
    source = xorshift(4)
    for count in range(1, ORDER_MAX + 1):
        yield _deltas(source, count + 2), 1, count, HARD_DELTAS[count % len(HARD_DELTAS)]
