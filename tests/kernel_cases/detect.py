"""Arguments for every kernel of qres.detect, recorded from hard signals."""

from kernel_cases.recording import recorded
from qres import detect
from support import below, xorshift

HARD = (-(1 << 31), (1 << 31) - 1, 0, 1, -1, 1 << 26, -(1 << 26), 4095)


def _run(seed=11):
    """Noise of changing size, steps, stuck stretches and extremes, through two channels and the spikes."""
    source = xorshift(seed)
    for i in range(detect.WORK):
        detect._WORK[i] = 0
    first, second = detect.Detector(0), detect.Detector(0)
    spikes = detect.Spikes(2, 5)
    value = 0
    for t in range(700):
        kind = below(source, 40)
        if kind == 0:
            value = HARD[below(source, len(HARD))]
        elif kind < 30:
            value += below(source, 2 << (t // 100 * 3)) - (1 << (t // 100 * 3))
        value = max(-(1 << 31), min((1 << 31) - 1, value))
        first.push(value)
        second.push(HARD[below(source, len(HARD))])
        spikes.push(t & 1, value)


def _cases(name, every):
    def cases():
        yield from recorded(detect, name, _run, every, 60)

    return cases


follow = _cases("follow", 23)
rarity = _cases("rarity", 67)
judge = _cases("judge", 23)
settle = _cases("settle", 23)
surprise = _cases("surprise", 11)
observe = _cases("observe", 23)
