"""Choosing a predictor for a column, by least squares over stretches of it: in the encoder alone, so with floats."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import fit_loops
from qres_host.blocks.linear import ORDER_MAX, OTHER_TAPS, SHIFT_MAX, TAP_MAX, Plan
from qres_host.blocks.loops import ready
from qres_host.blocks.tokens import cost

ORDERS: Final = ((3, 8), (32,))
WORTHWHILE: Final = 0.995
GAINING: Final = 0.999
"""Shares of the bits without taps, and with the fewest of them, from which more are not tried."""
PIECES: Final = 8
PIECE_ROWS: Final = 256
LEAD: Final = ORDER_MAX + 2
"""Rows before a stretch, which its first rows are predicted from and differenced with."""
FOUR: Final = 4
"""Rows that are multiplied at a time; the first guess in a long column looks at a quarter of them."""
TAP_BITS: Final = 18
"""About what a tap costs."""
MEDIAN_OF: Final = 512
"""Values that a median is found of."""
REACH: Final = 4
"""The scale of a row is the mean error of so many rows on either side and its own."""
PARTNERS: Final = 16
"""How many of the columns before are looked at."""
KINSHIP_MIN: Final = 0.04
"""Least squared correlation of differences for taps on another column to be tried."""
CLIP: Final = 1 << 20
"""Greatest difference that the correlation sees."""

Column = NDArray[np.int32]
Floats = NDArray[np.float64]
_NO_SIGNAL: Final = np.zeros(0, np.int32)
_NO_TAPS: Final = np.zeros(0, np.float64)


class Signal(NamedTuple):
    """Stretches of a column, differenced: pieces of one width one after the other, the first LEAD rows of each ahead.

    The same as whole numbers and as floats, both as the loops take them.
    """

    whole: Any
    floats: Any
    width: int
    rows: int


def quick_estimate(some: Column) -> float:
    """About how many bits these stretches, a row each, take as values or differences."""
    width = some.shape[1]
    return min(cost(ready(y.ravel()), width, LEAD) for y in (some - _median(some), _differences(some)))


def _differences(some: Column) -> Column:
    """Each value of each stretch less the one before, 0 for the first of a stretch."""
    y = np.zeros_like(some)
    np.subtract(some[:, 1:], some[:, :-1], out=y[:, 1:])
    return y


def estimate(v: Column) -> float:
    """About how many bits a column takes, by itself, linear prediction included."""
    return _plan(v, Kin(), 0)[0]


def times_of(v: Column, some: Column) -> float:
    """How many times its stretches go into the column."""
    return v.size / (some.size - LEAD * len(some))


def stretches(v: Column) -> Column:
    """A few stretches of the column, a row each, with LEAD values before; the whole column if it is short."""
    if v.size <= PIECES * PIECE_ROWS + LEAD:
        return np.concatenate([np.full(LEAD, v[0]), v])[None]
    return v[_places(v.size)]


@lru_cache(maxsize=16)
def _places(rows: int) -> NDArray[np.int64]:
    """The rows of the stretches of a column."""
    starts = np.linspace(0, rows - PIECE_ROWS - LEAD, PIECES).astype(np.int64)
    return starts[:, None] + np.arange(PIECE_ROWS + LEAD)


def _median(values: NDArray[Any]) -> Any:
    """About the median: that of some of the values."""
    some = values.ravel()[:: max(1, values.size // MEDIAN_OF)].copy()
    some.partition(some.size // 2)
    return some[some.size // 2]


def _weights(signal: Signal, other: Any, taps: Any, order: int) -> Any:
    """What each row counts, by what a guess of it was off.

    Sensor signals alternate between calm and storm, and bits are logarithmic: a row counts by the inverse square of the
    error around it.
    """
    error: Any = _room(signal.rows)
    fit_loops.errors(signal.floats, other, signal.width, LEAD, taps, order, error)
    weights: Any = _room(signal.rows)
    fit_loops.weigh(error, REACH, 0.3 * float(_median(np.asarray(error))) + 0.5, weights)
    return weights


def _room(count: int) -> Any:
    """Floats to be filled."""
    return np.zeros(count, np.float64) if native.COMPILED else [0.0] * count


def _taps(signal: Signal, other: Any, orders: tuple[int, ...], weights: Any, step: int) -> list[Floats]:
    """Weighted least-squares taps of each order, from four of every `step` rows; those of another signal come last."""
    more = OTHER_TAPS if len(other) else 0
    lags = orders[-1] + 1
    size = more + orders[-1]
    moments = _moments(signal, other, lags, more, step, weights)
    leading = [more + order for order in orders]
    out = _room(size * len(leading))
    solved = fit_loops.solve(*moments, lags, more, ready(np.array(leading)), _room(size * size), out)
    found = np.asarray(out, np.float64).reshape(-1, size)
    return [row[:n][::-1].copy() for row, n in zip(found[:solved], leading)]


def _moments(signal: Signal, other: Any, lags: int, more: int, step: int, weights: Any) -> tuple[Any, Any]:
    """The moments of `fit_loops`; without Numba by NumPy, which adds in the same order, faster than plain loops."""
    if native.COMPILED:
        square, cross = _room(lags * lags), _room(more * (lags + more))
        row, beside = _room(lags + FOUR - 1), _room(more + FOUR - 1)
        sizes = signal.width, LEAD, lags, more, step
        fit_loops.moments(signal.floats, other, *sizes, weights, row, beside, square, cross)
        return square, cross
    size = lags + more
    window = np.lib.stride_tricks.sliding_window_view
    y = np.array(signal.floats).reshape(-1, signal.width)
    views = [window(y[:, LEAD + 1 - lags :], lags, axis=1)[..., ::-1]]
    if more:
        views.append(window(np.array(other).reshape(y.shape)[:, LEAD + 1 - more :], more, axis=1)[..., ::-1])
    rows = np.concatenate(views, axis=2)
    taken = np.arange(0, rows.shape[1] - FOUR + 1, step)[:, None] + np.arange(FOUR)
    rows = rows[:, taken].reshape(-1, FOUR, size)
    weighed = np.array(weights).reshape(len(y), -1)[:, taken].reshape(-1, FOUR, 1) * rows
    total = np.zeros((1, size * size))
    for some, also in zip(np.array_split(weighed, PIECES), np.array_split(rows, PIECES)):
        a, b, c, d = ((some[:, i, :, None] * also[:, i, None, :]).reshape(-1, size * size) for i in range(FOUR))
        total = np.concatenate([total, (a + b) + (c + d)]).sum(axis=0, keepdims=True)
    table = total.reshape(size, size)
    parts = table[:lags, :lags], np.concatenate([table[lags:, :lags].ravel(), table[lags:, lags:].ravel()])
    return parts[0].ravel().tolist(), parts[1].tolist()


def _quantised(taps: Floats) -> tuple[tuple[int, ...], int] | None:
    """Taps as integers and their shift; None if one is out of range."""
    top = float(np.abs(taps).max())
    if not top < TAP_MAX:
        return None
    shift = SHIFT_MAX
    while shift and round(top * (1 << shift)) > TAP_MAX:
        shift -= 1
    return tuple(np.rint(taps * (1 << shift)).astype(np.int64).tolist()), shift


class Kin:
    """The columns planned before, as far as planning wants to know them."""

    def __init__(self) -> None:
        """None so far."""
        self._numbers: list[int] = []
        self._signals: list[Signal] = []
        self._scaled: list[Floats] = []

    def partner(self, signal: Signal, number: int) -> tuple[int, Signal | None]:
        """The column whose differences go most with these, and those on the stretches; -1 if none does.

        These are of column `number`, which is known from now on.
        """
        room = _room(signal.rows)
        fit_loops.unit(signal.whole, signal.width, LEAD, CLIP, room)
        target = np.asarray(room)
        alike = [abs(float(other @ target)) for other in self._scaled[-PARTNERS:]]
        best = max(alike, default=0.0)
        found: tuple[int, Signal | None] = -1, None
        if best * best >= KINSHIP_MIN:
            at = len(self._scaled) - len(alike) + alike.index(best)
            found = self._numbers[at], self._signals[at]
        self._numbers.append(number)
        self._signals.append(signal)
        self._scaled.append(target)
        return found


def plan(v: Column, kin: Kin, number: int) -> Plan:
    """The cheapest plan for column `number`."""
    return _plan(v, kin, number)[1]


def _plan(v: Column, kin: Kin, number: int) -> tuple[float, Plan]:
    """The plan that costs least over the stretches, and how many bits it takes for the column."""
    first = int(v[0])
    some = stretches(v)
    width = some.shape[1]
    times = times_of(v, some)
    middle = _median(some)
    y = _differences(some)
    plans = [Plan(0, int(middle)), Plan(1, first), Plan(2, first)]
    flat = y.ravel()
    signal = Signal(ready(flat), ready(flat.astype(np.float64)), width, flat.size - LEAD * len(y))
    inputs = ready((some - middle).ravel()), signal.whole, ready(_differences(y).ravel())
    costs = [cost(each, width, LEAD, times) for each in inputs]
    best = min(zip(costs, plans), key=lambda pair: pair[0])
    partner, kindred = kin.partner(signal, number)
    whole, other = (kindred.whole, kindred.floats) if kindred else (ready(_NO_SIGNAL), ready(_NO_TAPS))
    weights: Any = None
    for orders in ORDERS:
        if weights is None:
            weights = _weights(signal, other, ready(_NO_TAPS), 0)
            step = FOUR * FOUR if len(y) > 1 else FOUR
            guess = _taps(signal, other, orders[-1:], weights, step)
            weights = _weights(signal, other, ready(guess[0]), orders[-1]) if guess else weights
        tried = []
        for order, taps in zip(orders, _taps(signal, other, orders, weights, FOUR)):
            rounded = _quantised(taps)
            if rounded is not None:
                integers, shift = rounded
                predicted = ready(np.array(integers, np.int32)), order, shift
                bits = cost(signal.whole, width, LEAD, times, whole, predicted) + TAP_BITS * len(integers)
                tried.append((bits, Plan(1, first, order, shift, integers, partner)))
        before, best = best[0], min([best, *tried], key=lambda pair: pair[0])
        if not tried or best[0] > WORTHWHILE * before or tried[-1][0] > GAINING * tried[0][0]:
            break
    return best
