"""Integer tables of the context mixer: the logistic function, its inverse, and the rates of adaptive probabilities."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from qres.fixed import log2_q12

PROBABILITY_MAX: Final = 65520  # of 65536; the logistic function is cut there
LOGITS: Final = 4096  # entries: logits -2048 to 2047, 1/256 nat each
RATES: Final = 64
SQUASH_AT: Final = 0  # where each table begins in `mixer_tables`
STRETCH_AT: Final = LOGITS
RATES_AT: Final = 2 * LOGITS
RECIPROCALS_AT: Final = 2 * LOGITS + RATES
COSTS_AT: Final = RECIPROCALS_AT + 256
_Q: Final = 64  # fraction bits while the tables are made


@lru_cache(maxsize=1)
def mixer_tables() -> tuple[int, ...]:
    """Return all tables in one: squash (Q16 of a logit), stretch (logit of a Q16 >> 4), rates (Q16), reciprocals
    (2^24 over 256 to 511), costs (bits Q12 of an event whose chance is Q16 >> 4).

    Whole-number arithmetic throughout, so that every machine makes the same tables.
    """
    one = 1 << _Q
    step = _exp_of_a_256th()
    growth = [one]
    for _ in range(LOGITS // 2):
        growth.append(growth[-1] * step >> _Q)
    squash = []
    for logit in range(-LOGITS // 2, LOGITS // 2):
        e = growth[abs(logit)]
        p = ((e if logit >= 0 else one) << 17) // (e + one)
        squash.append(min(max((p + 1) >> 1, 65536 - PROBABILITY_MAX), PROBABILITY_MAX))
    stretch = []
    at = 0
    for i in range(LOGITS):
        while at < LOGITS - 1 and squash[at] < 16 * i + 8:
            at += 1
        stretch.append(at - LOGITS // 2)
    rates = [65536 // (n + 2) for n in range(RATES)]
    reciprocals = [(1 << 24) // (256 + i) for i in range(256)]
    costs = [16 * 4096 - log2_q12(16 * i + 8) for i in range(LOGITS)]
    return (*squash, *stretch, *rates, *reciprocals, *costs)


def _exp_of_a_256th() -> int:
    """e^(1/256), Q64, by its series."""
    total = term = 1 << (_Q + 16)
    n = 1
    while term:
        term = (term >> 8) // n
        total += term
        n += 1
    return total >> 16
