"""Arguments for every kernel of qres.forecast, recorded from packets, and the largest changes in turn."""

from array import array

from kernel_cases.recorded import cases, generators
from qres.forecast import CHANGE_MAX, DELTAS, LOSS, MEANS, MU, NEWS

FAR = 1 << 28  # of predictions


def _extremes():
    """Channels whose last two changes and predictions are as large as can be, and a change."""
    for bits in range(16):
        first, second, own, change = (1 if bits >> i & 1 else -1 for i in range(4))
        ints = array("i", [0] * (DELTAS + 2))
        for i in range(MEANS, NEWS):
            ints[i] = 8192
        ints[MU] = ints[MU - 1] = own * FAR
        ints[DELTAS] = first * CHANGE_MAX
        ints[DELTAS + 1] = second * CHANGE_MAX
        yield ints, change * CHANGE_MAX


def measure():
    yield from cases("measure")
    for ints, change in _extremes():
        yield 0, 0, 0, 0, change, ints


def blend():
    yield from cases("blend")
    for ints, _ in _extremes():
        yield 0, 0, LOSS, ints[MU], 0, ints


globals().update(generators("predict", "correct", "learn", "standardize", "follow"))
