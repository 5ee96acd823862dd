"""Least-squares lattice ("ladder") filters in whole numbers: recursive least squares at a cost linear in the order.

A-posteriori error feedback form (S. Haykin, Adaptive Filter Theory, 5th ed., chapter 16).  Two filters, of
short and of long memory, run on a channel's deltas; the partial sums of a filter are the predictions of every lower
order, so four predictions come out.  Every product stays below 2^63, whatever the input.

Units: a signal is a delta in 1/16 LSB, scaled to at most 2^24; coefficients Q20; energies are sums of squares / 16.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks.tables import RECIPROCALS_AT
from qres_host.native import inlined

STAGES: Final = 36
FIELDS: Final = 7
STATE: Final = STAGES * FIELDS
"""Whole numbers of state a channel: forward and backward coefficients and energies, errors, exponents of energies."""
_KF: Final = 0
_KB: Final = STAGES
_F: Final = 2 * STAGES
_B: Final = 3 * STAGES
_ERROR: Final = 4 * STAGES
_EF: Final = 5 * STAGES
_EB: Final = 6 * STAGES
_LIMIT: Final = 1 << 26
_COEFFICIENT_MAX: Final = 8 << 20
_FIRST_ENERGY: Final = 1 << 12
_FIRST_EXPONENT: Final = 4


def start(channels: int) -> list[int]:
    """Return the state of `channels` channels before their first sample."""
    one = [0] * (2 * STAGES) + [_FIRST_ENERGY] * (2 * STAGES) + [0] * STAGES + [_FIRST_EXPONENT] * (2 * STAGES)
    return one * channels


@inlined
def predict(state: Any, at: int, out: Any, to: int) -> None:
    """Write the four predictions of the next delta to out[to..]: orders 2 and 12 of the short memory, 12 and 24."""
    total = 0
    for m in range(2):
        total += (state[at + _KF + m] * state[at + _ERROR + m]) >> 20
    out[to] = total
    for m in range(2, 12):
        total += (state[at + _KF + m] * state[at + _ERROR + m]) >> 20
    out[to + 1] = total
    total = 0
    for m in range(12, 24):
        total += (state[at + _KF + m] * state[at + _ERROR + m]) >> 20
    out[to + 2] = total
    for m in range(24, 36):
        total += (state[at + _KF + m] * state[at + _ERROR + m]) >> 20
    out[to + 3] = total


@inlined
def update(state: Any, at: int, tables: Any, delta: int) -> None:
    """Take the delta that came."""
    _update(state, at, tables, delta, 12, 6)
    _update(state, at + 12, tables, delta, 24, 9)


@inlined
def _update(state: Any, at: int, tables: Any, delta: int, stages: int, memory: int) -> None:
    """One filter of `stages` stages whose past fades by 2^-memory a sample."""
    forward = delta
    backward = delta
    likelihood = 65536  # the conversion factor between a-priori and a-posteriori errors, Q16
    for m in range(at, at + stages):
        old = state[m + _ERROR]
        state[m + _ERROR] = backward
        gb = (likelihood * old) >> 16
        gf = (likelihood * forward) >> 16
        energy = state[m + _B]
        energy = max(energy + ((gb * old) >> 4) - (energy >> memory), 256)
        state[m + _B] = energy
        e = state[m + _EB]
        while energy >> e > 511:
            e += 1
        while energy >> e < 256:
            e -= 1
        state[m + _EB] = e
        gain_b = (gb * tables[RECIPROCALS_AT - 256 + (energy >> e)]) >> e  # Q24 of gb / energy
        energy = state[m + _F]
        energy = max(energy + ((gf * forward) >> 4) - (energy >> memory), 256)
        state[m + _F] = energy
        e = state[m + _EF]
        while energy >> e > 511:
            e += 1
        while energy >> e < 256:
            e -= 1
        state[m + _EF] = e
        gain_f = (gf * tables[RECIPROCALS_AT - 256 + (energy >> e)]) >> e
        kf = state[m + _KF]
        kb = state[m + _KB]
        next_forward = min(max(forward - ((kf * old) >> 20), -_LIMIT), _LIMIT)
        backward = min(max(old - ((kb * forward) >> 20), -_LIMIT), _LIMIT)
        state[m + _KF] = min(max(kf + ((gain_b * next_forward) >> 8), -_COEFFICIENT_MAX), _COEFFICIENT_MAX)
        state[m + _KB] = min(max(kb + ((gain_f * backward) >> 8), -_COEFFICIENT_MAX), _COEFFICIENT_MAX)
        likelihood = max(likelihood - ((gb * gain_b) >> 12), 1024)
        forward = next_forward
