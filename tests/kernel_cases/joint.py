"""Arguments for every kernel of qres.joint, recorded from hard rows."""

from kernel_cases.detect import HARD
from kernel_cases.recording import recorded
from qres import joint
from support import below, xorshift


def _run():
    """Three channels: noise that grows, a signal that hardly moves, extremes."""
    source = xorshift(5)
    it = joint.Joint(3)
    for t in range(900):
        size = 1 << (t // 50)
        it.push((below(source, 2 * size) - size, t // 300, HARD[below(source, len(HARD))]))


def distance():
    yield from recorded(joint, "distance", _run, 43, 60)


def square():
    yield from recorded(joint, "square", _run, 43, 60)
