"""Arguments for every kernel of qres.elementary."""

from array import array

from qres.elementary import EXP, EXP_Q26, EXPS, SHARES_MAX, SIGMOID, TANH
from support import below, xorshift

FAR = (1 << 30) - 1
HARD = (0, 1, -1, 63, -64, 45425, 45426, -45426, -45427, 65536, -65536, 851968, -851968, 1310720, -1310721, FAR, -FAR)


def activate():
    source = xorshift(21)
    for kind in (EXP, EXP_Q26, SIGMOID, TANH):
        yield 0, 0, 0, kind, len(HARD), array("i", HARD), EXPS
        for bits in (8, 16, 20, 21, 29):
            values = [below(source, 2 << bits) - (1 << bits) for _ in range(20)]
            yield 3, 0, 0, kind, 16, array("i", values), EXPS


def shares():
    half = 1 << 29
    for values in ([0], [half, -half], [5] * SHARES_MAX, [-half] * 3, [0] + [-1310720] * 15, [0, 1, 2], [-1, -700000]):
        yield 0, 0, 0, len(values), array("i", values), EXPS
    source = xorshift(22)
    for count in range(1, SHARES_MAX + 1):
        for bits in (10, 17, 19):
            yield 0, 0, 0, count, array("i", [below(source, 2 << bits) - (1 << bits) for _ in range(count)]), EXPS
