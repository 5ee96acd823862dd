"""Arguments for every kernel of qres.regime, recorded while entropies of all kinds go through both profiles."""

from kernel_cases.recording import recorded
from qres import regime
from support import below, xorshift


def _run():
    """Quiet stretches, bursts and long storms."""
    source = xorshift(8)
    for profile in ("default", "seed"):
        machine = regime.Machine(profile)
        for t in range(700):
            high = (3000, 25000, 65536)[t // 60 % 3]
            machine.push(below(source, high + 1) if below(source, 9) else 65536)


def step():
    yield from recorded(regime, "step", _run, 23, 60)
