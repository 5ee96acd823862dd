"""Arguments for every kernel of qres.moments."""

from array import array

from qres import moments
from support import below, xorshift

FAR = 1 << 29


def _sums(samples):
    state = array("i", [0] * moments.WORDS)
    for x in samples:
        moments.add_sample(x, 0, 0, state)
    return state


def add_sample():
    for x in (0, 1, -1, 32767, 32768, -32768, FAR - 1, -FAR):
        yield x, 0, 0, _sums([])
        for x0 in (-FAR, FAR - 1, 0):
            yield x, 0, 0, _sums([x0, x0 // 3, -(x0 // 5)])
            # as after so many samples as there may be, all at the far end
            for high in (FAR - 32, -FAR):
                far = [moments.SIZE_MAX - 1, x0, high, 0x1FFFFFF, 32767, 32767, 32767, 32767, moments.SIZE_MAX - 1]
                yield x, 0, 0, array("i", far)
    source = xorshift(61)
    for bits in range(4, 30):
        yield below(source, 1 << bits), 0, 0, _sums([below(source, 1 << bits) for _ in range(9)])
