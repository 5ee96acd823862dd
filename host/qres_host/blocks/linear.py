"""Prediction of the fast level, in integers: differences, and linear predictors whose taps stand in the block."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import loops
from qres_host.blocks.loops import ready

ORDER_MAX: Final = 32
OTHER_TAPS: Final = 3
"""Taps on another channel: its value of two rows before, of the row before and of the same row."""
TAP_MAX: Final = 32767
SHIFT_MAX: Final = 14
DIFFERENCES_MAX: Final = 2

Ints = NDArray[np.int64]


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


def difference(v: Ints, first: int, times: int) -> Ints:
    """v - first, differenced along the last axis so many times; the value before the first one is 0."""
    y = v - first
    for _ in range(times):
        y[..., 1:] -= y[..., :-1].copy()
    return wrap(y)


def integrate(y: Any, first: int, times: int) -> Ints:
    """The inverse of `difference`, of one column."""
    v = np.asarray(y, np.int64).astype(np.uint32)
    for _ in range(times):
        v = np.cumsum(v, dtype=np.uint32)
    return wrap(v.astype(np.int64) + first)


def _other(plan: Plan, columns: list[Ints], rows: int) -> Ints:
    """The padded signal that the taps on another channel see; zeros if there are none."""
    padded = np.zeros(rows + OTHER_TAPS - 1, np.int64)
    if plan.other >= 0:
        v = columns[plan.other]
        padded[OTHER_TAPS - 1 :] = difference(v, int(v[0]), plan.differences)
    return padded


def residuals(v: Ints, plan: Plan, columns: list[Ints]) -> Ints:
    """What the plan did not predict of the column; `columns` are those before it."""
    y = difference(v, plan.first, plan.differences)
    if not plan.taps:
        return y
    padded = np.concatenate([np.zeros(plan.order, np.int64), y])
    r: Any = np.empty(v.size, np.int64) if native.COMPILED else [0] * v.size
    other, taps = ready(_other(plan, columns, v.size)), ready(np.array(plan.taps, np.int64))
    loops.predict(ready(padded), r, other, taps, plan.order, plan.shift, False)
    return np.asarray(r, np.int64)


def restore(r: Any, plan: Plan, columns: list[Ints]) -> Ints:
    """The inverse of `residuals`; `r` is an array, or a list without Numba."""
    rows = len(r)
    if not plan.taps:
        return integrate(r, plan.first, plan.differences)
    y: Any = np.zeros(plan.order + rows, np.int64) if native.COMPILED else [0] * (plan.order + rows)
    other, taps = ready(_other(plan, columns, rows)), ready(np.array(plan.taps, np.int64))
    loops.predict(y, r, other, taps, plan.order, plan.shift, True)
    return integrate(y[plan.order :], plan.first, plan.differences)
