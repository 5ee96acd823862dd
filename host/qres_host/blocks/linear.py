"""Forward-adaptive prediction of the fast level: differences, and linear predictors fitted by least squares.

Fitting uses floats and happens in the encoder alone; what it finds is written down as integers, and both sides predict
with those.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import loops
from qres_host.blocks.tokens import cost

ORDER_MAX: Final = 32
OTHER_TAPS: Final = 3
"""Taps on another channel: its value of two rows before, of the row before and of the same row."""
TAP_MAX: Final = 32767
SHIFT_MAX: Final = 14
DIFFERENCES_MAX: Final = 2
ORDERS: Final = (2, 4, 8, 16, 32)
SAMPLE: Final = 8192
PIECES: Final = 8
TAP_BITS: Final = 16
"""About what a tap costs."""

Ints = NDArray[np.int64]


class Plan(NamedTuple):
    """How one column is predicted: differences of v - first, then taps / 2^shift on `order` past ones and on `other`'s."""

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
    """v - first, differenced so many times; the value before the first one is 0."""
    y = v - first
    for _ in range(times):
        y = np.diff(y, prepend=0)
    return wrap(y)


def integrate(y: Any, first: int, times: int) -> Ints:
    """The inverse of `difference`."""
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
    args = [loops.ready(a) for a in (_other(plan, columns, v.size), np.array(plan.taps, np.int64))]
    loops.predict(loops.ready(padded), r, *args, plan.order, plan.shift, False)
    return np.asarray(r, np.int64)


def restore(r: Any, plan: Plan, columns: list[Ints]) -> Ints:
    """The inverse of `residuals`."""
    rows = len(r)
    if not plan.taps:
        return integrate(r, plan.first, plan.differences)
    y: Any = np.zeros(plan.order + rows, np.int64) if native.COMPILED else [0] * (plan.order + rows)
    args = [loops.ready(a) for a in (_other(plan, columns, rows), np.array(plan.taps, np.int64))]
    loops.predict(y, r, *args, plan.order, plan.shift, True)
    return integrate(y[plan.order :], plan.first, plan.differences)


def _pieces(rows: int, before: int) -> Ints:
    """Rows to judge plans by: all, or a few stretches over the block, each with `before` rows before it."""
    if rows <= SAMPLE:
        return np.arange(min(before, rows // 2), rows)
    length = SAMPLE // PIECES
    starts = np.linspace(before, rows - length, PIECES).astype(np.int64)
    return (starts[:, None] + np.arange(length)).ravel()


def _fit(y: Ints, other: Ints | None, at: Ints) -> tuple[Ints, list[tuple[int, NDArray[np.float64]]]]:
    """The regressors of rows `at`, and the least-squares taps for each order."""
    lags = np.arange(ORDER_MAX, 0, -1)
    inputs = y[at[:, None] - lags]
    if other is not None:
        inputs = np.concatenate([inputs, other[at[:, None] + np.arange(1 - OTHER_TAPS, 1)]], axis=1)
    a = inputs.astype(np.float64)
    target = y[at].astype(np.float64)
    square = a.T @ a
    product = a.T @ target
    fits = []
    for order in ORDERS:
        keep = slice(ORDER_MAX - order, None)
        matrix = square[keep, keep].copy()
        matrix[np.diag_indices_from(matrix)] += 1e-9 * np.trace(matrix) / len(matrix) + 1e-3
        fits.append((order, np.linalg.solve(matrix, product[keep])))
    return inputs, fits


def _quantised(taps: NDArray[np.float64]) -> tuple[tuple[int, ...], int] | None:
    """Taps as integers and their shift; None if one is out of range."""
    top = float(np.abs(taps).max())
    if not top < TAP_MAX:
        return None
    shift = SHIFT_MAX
    while shift and round(top * (1 << shift)) > TAP_MAX:
        shift -= 1
    return tuple(int(t) for t in np.rint(taps * (1 << shift))), shift


def _partner(y: Ints, columns: list[Ints], differences: int, at: Ints) -> int:
    """The column before whose differences go most with y's; -1 if none does."""
    if not columns:
        return -1
    target = np.clip(y[at], -(1 << 20), 1 << 20).astype(np.float64)
    norm = float(target @ target)
    best, found = 0.04, -1
    for c in range(max(0, len(columns) - 16), len(columns)):
        v = columns[c]
        signal = v[at] - v[at - 1] if differences else v[at] - v[0]
        signal = np.clip(signal, -(1 << 20), 1 << 20).astype(np.float64)
        product = float(signal @ target)
        own = float(signal @ signal)
        if own > 0 and norm > 0 and product * product > best * own * norm:
            best, found = product * product / (own * norm), c
    return found


def plan(v: Ints, columns: list[Ints]) -> Plan:
    """The cheapest plan for a column, by its estimated bits; `columns` are those before it."""
    rows = v.size
    at = _pieces(rows, ORDER_MAX)
    scale = rows / at.size
    first = int(v[0])
    middle = int(np.sort(v[:: max(1, rows // 512)])[min(rows, 512) // 2])
    plans = [Plan(0, middle), Plan(1, first), Plan(2, first)]
    signals = [difference(v, p.first, p.differences) for p in plans]
    costs = [scale * cost(y[at]) for y in signals]
    best = min(zip(costs, plans), key=lambda pair: pair[0])
    if rows < 2 * ORDER_MAX:
        return best[1]
    y = signals[1]
    partner = _partner(y, columns, 1, at)
    other = None if partner < 0 else difference(columns[partner], int(columns[partner][0]), 1)
    inputs, fits = _fit(y, other, at)
    for order, taps in fits:
        rounded = _quantised(taps)
        if rounded is None:
            continue
        integers, shift = rounded
        guess = (inputs[:, ORDER_MAX - order :] @ np.array(integers) + ((1 << shift) >> 1)) >> shift
        bits = scale * cost(wrap(y[at] - guess)) + TAP_BITS * len(integers)
        if bits < best[0]:
            best = bits, Plan(1, first, order, shift, integers, partner)
    return best[1]
