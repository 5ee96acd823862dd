"""Prediction of the fast level, in integers: differences, and linear predictors whose taps stand in the block."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import loops, token_loops, tokens
from qres_host.blocks.loops import ready

ORDER_MAX: Final = 32
OTHER_TAPS: Final = 3
"""Taps on another channel: its value of two rows before, of the row before and of the same row."""
TAP_MAX: Final = 32767
SHIFT_MAX: Final = 14
DIFFERENCES_MAX: Final = 2

Ints = NDArray[np.int64]
Values = NDArray[np.int32]


class Plan(NamedTuple):
    """How one column is predicted.

    v - first is differenced so many times; taps / 2^shift then weigh its `order` values before and those of `other`, a
    column before it (-1 for none), which is differenced alike.
    """

    differences: int
    first: int
    order: int = 0
    shift: int = 0
    taps: tuple[int, ...] = ()
    other: int = -1


def wrap(v: Ints) -> Ints:
    """Values modulo 2^32, as signed 32-bit ones."""
    return v.astype(np.int32).astype(np.int64)


def difference(v: NDArray[Any], first: int, times: int, before: int = 0) -> Values:
    """v - first, differenced so many times, behind so many zeros; the value before the first one is 0."""
    padded = np.empty(before + v.size, np.int32)
    padded[:before] = 0
    y = padded[before:]
    if not times:
        np.subtract(v, first, out=y, dtype=np.int32, casting="unsafe")
        return padded
    np.subtract(v[:1], first, out=y[:1], dtype=np.int32, casting="unsafe")
    np.subtract(v[1:], v[:-1], out=y[1:], dtype=np.int32, casting="unsafe")
    for _ in range(times - 1):
        y[1:] -= y[:-1].copy()
    return padded


def integrate(y: Any, first: int, times: int) -> Ints:
    """The inverse of `difference`, of one column."""
    v = np.asarray(y, np.int64).astype(np.uint32)
    for _ in range(times):
        v = np.cumsum(v, dtype=np.uint32)
    return wrap(v.astype(np.int64) + first)


def _other(plan: Plan, columns: Sequence[NDArray[Any]]) -> Any:
    """The padded signal that the taps on another channel see; nothing if there are none."""
    if plan.other < 0:
        return ready(np.zeros(0, np.int32))
    v = columns[plan.other]
    return ready(difference(v, int(v[0]), plan.differences, OTHER_TAPS - 1))


def residuals(v: Values, plan: Plan, columns: list[Values], r: Any, finest: Any, counts: Any) -> int:
    """What the plan did not predict of the column; `columns` are those before it.

    Fills `r`, the finest token of each and how often each of them occurs; returns the greatest one.
    """
    y = ready(difference(v, plan.first, plan.differences, plan.order))
    other, taps = _other(plan, columns), ready(np.array(plan.taps, np.int32))
    sizes = tokens.empty(tokens.ROWS_AT_ONCE, "i8"), tokens.SMALL_MAX, tokens.FINE_MAX
    return int(token_loops.residuals(y, other, taps, plan.order, plan.shift, *sizes, r, finest, counts))


def restore(r: Any, plan: Plan, columns: list[Ints]) -> Ints:
    """The inverse of `residuals`; `r` is an array, or a list without Numba."""
    rows = len(r)
    if not plan.taps:
        return integrate(r, plan.first, plan.differences)
    y: Any = np.zeros(plan.order + rows, np.int64) if native.COMPILED else [0] * (plan.order + rows)
    other, taps = _other(plan, columns), ready(np.array(plan.taps, np.int64))
    loops.restore(r, other, taps, plan.order, plan.shift, y)
    return integrate(y[plan.order :], plan.first, plan.differences)
