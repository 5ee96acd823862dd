"""Arguments for every kernel of qres.attention: for each a generator of its name, the same on every machine."""

from array import array

from kernel_cases.regression import WEIGHT_MAX, changes, some
from qres.attention import INNOVATION_MAX
from qres.regression import LIMIT
from support import below, xorshift

COUNTS = (1, 4, 15)


def _zeros(count):
    return array("i", [0] * count)


def spikes():
    source = xorshift(1)
    for error in (0, 1, 255, INNOVATION_MAX, 2 * LIMIT, -2 * LIMIT):
        for variance in (0, 1, 127, 1 << 14, 1 << 23, INNOVATION_MAX * INNOVATION_MAX << 7):
            yield 0, 0, 0, 1, array("i", [error]), array("i", [variance]), array("i", [7])
    for count in COUNTS:
        variances = array("i", [below(source, 1 << 24) for _ in range(count)])
        yield 5, 5, 5, count, changes(source, count), variances, _zeros(count)


def _z(source, count):
    return array(
        "i", [below(source, 2) * (below(source, 2 * INNOVATION_MAX + 1) - INNOVATION_MAX) for _ in range(count)]
    )


def attend():
    source = xorshift(2)
    for count in COUNTS:
        for _ in range(3):
            yield 0, 0, 0, count, _z(source, count), _zeros(count), _zeros(count)


def cross():
    source = xorshift(3)
    for count in COUNTS:
        for spiking in (1, count):
            z = array("i", [INNOVATION_MAX - below(source, 2) * 2 * INNOVATION_MAX for _ in range(count)])
            who = array("i", list(range(spiking)))
            shares = array("i", [65536 // spiking] * spiking)
            for most in (900, WEIGHT_MAX):
                weights = some(source, count * count, most)
                yield 0, 0, 0, count, spiking, z, who, shares[:], weights, some(source, count, LIMIT << 4)


def credit():
    source = xorshift(4)
    for count in COUNTS:
        for spiking in (1, count):
            for gate in (0, 32752 // spiking, -32752 // spiking):
                weights = some(source, count * count, WEIGHT_MAX)
                who = array("i", list(range(spiking)))
                gated = array("i", [gate] * spiking)
                yield 0, 0, 0, count, spiking, 1311, who, gated, changes(source, count), weights


def account():
    source = xorshift(5)
    for count in COUNTS:
        ahead = some(source, count * 7, LIMIT << 4)
        losses = array("i", [below(source, 0x1FFFFFF) for _ in range(count * 7)])
        yield 0, 0, 0, count, 7, changes(source, count), ahead, losses


def judge():
    source = xorshift(6)
    for most in (1, 9, 0x7FFFF, 0x80000, 0x1FFFFFF):
        losses = array("i", [below(source, most) for _ in range(21)])
        yield 0, 0, 0, 7, 7, losses, _zeros(7)


def blend():
    source = xorshift(7)
    for ahead in (LIMIT << 4, -LIMIT << 4):
        yield 0, 0, 0, 0, 1, 7, array("i", [65536] + [0] * 6), array("i", [ahead] * 7), array("i", [0])
    for channel in range(4):
        shares = array("i", [65536 - 6 * 9000] + [9000] * 6)
        yield 0, 0, 0, channel, 4, 7, shares, some(source, 28, LIMIT << 4), _zeros(4)
