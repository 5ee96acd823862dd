"""Choosing a predictor for a column, by least squares over stretches of it: in the encoder alone, so with floats."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qres_host import native
from qres_host.blocks import loops
from qres_host.blocks.linear import ORDER_MAX, OTHER_TAPS, SHIFT_MAX, TAP_MAX, Plan, wrap
from qres_host.blocks.loops import ready
from qres_host.blocks.tokens import cost

ORDERS: Final = ((3, 8), (32,))
WORTHWHILE: Final = 0.995
GAINING: Final = 0.999
"""Shares of the bits without taps, and with the fewest of them, from which more are not tried."""
CHUNK: Final = 128
"""Rows that are multiplied at a time."""
PIECES: Final = 8
PIECE_ROWS: Final = 256
LEAD: Final = ORDER_MAX + 2
"""Rows before a stretch, which its first rows are predicted from and differenced with."""
TAP_BITS: Final = 16
"""About what a tap costs."""
MEDIAN_OF: Final = 512
"""Values that a median is found of."""
SMOOTH: Final = 9
"""Rows whose mean error is the scale of the one in their middle."""
PARTNERS: Final = 16
"""How many of the columns before are looked at."""
KINSHIP_MIN: Final = 0.04
"""Least squared correlation of differences for taps on another column to be tried."""
CLIP: Final = 1 << 20
"""Greatest difference that the correlation sees."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def quick_estimate(some: Ints) -> float:
    """About how many bits these stretches take as values or differences."""
    middle = int(_median(some))
    return min(cost(y[:, LEAD:].ravel()) for y in (wrap(some - middle), _differences(some)))


def _differences(some: Ints) -> Ints:
    """Each value of each stretch less the one before, 0 for the first of a stretch."""
    return wrap(np.diff(some, axis=1, prepend=some[:, :1]))


def estimate(v: Ints) -> float:
    """About how many bits a column takes, by itself, linear prediction included."""
    return _plan(v, Kin(), 0)[0]


def times_of(v: Ints, some: Ints) -> float:
    """How many times its stretches go into the column."""
    return v.size / (some.size - LEAD * len(some))


def stretches(v: Ints) -> Ints:
    """A few stretches of the column, a row each, with LEAD values before; the whole column if it is short."""
    rows = v.size
    if rows <= PIECES * PIECE_ROWS + LEAD:
        return np.concatenate([np.full(LEAD, v[0]), v])[None]
    starts = np.linspace(0, rows - PIECE_ROWS - LEAD, PIECES).astype(np.int64)
    return np.stack([v[s : s + PIECE_ROWS + LEAD] for s in starts])


def _lagged(y: Ints, other: Ints | None, order: int) -> Floats:
    """Every row's regressors, `order` values before, oldest first, then the other column's; then its value.

    In chunks, without the last few: libraries of linear algebra start threads for more, which cost too much.
    """
    window = np.lib.stride_tricks.sliding_window_view
    views = [window(y[:, LEAD - order : -1], order, axis=1), y[:, LEAD:, None]]
    if other is not None:
        views.insert(1, window(other[:, LEAD + 1 - OTHER_TAPS :], OTHER_TAPS, axis=1))
    rows = np.concatenate(views, axis=2, dtype=np.float64)
    rows = rows.reshape(-1, rows.shape[2])
    size = min(CHUNK, len(rows))
    return rows[: len(rows) // size * size].reshape(-1, size, rows.shape[1])


def _solve(lagged: Floats, weights: Floats, skips: list[int]) -> list[Floats]:
    """Weighted least-squares taps, for each of `skips` without as many of the oldest values."""
    weighed = np.swapaxes(lagged * weights[..., None], 1, 2)
    square = np.matmul(weighed, lagged).sum(axis=0)[::-1, ::-1]  # the newest first: fewer taps are its upper corner
    size = len(square) - 1
    taps = square[1:, 1:].copy()
    np.einsum("ii->i", taps)[:] += 1e-9 * np.trace(taps) / size + 1e-9
    leading = [size - n for n in skips]
    factor, out = np.zeros(size * size), np.zeros(size * len(leading))
    made: list[Any] = [factor, out] if native.COMPILED else [factor.tolist(), out.tolist()]
    loops.solve(ready(taps.ravel()), ready(square[0, 1:]), size, ready(np.array(leading)), *made)
    found = np.asarray(made[1], np.float64).reshape(len(leading), size)
    return [row[:n][::-1] for row, n in zip(found, leading)]


def _weights(target: Floats, guess: Floats | float = 0.0) -> Floats:
    """What each row counts, by what a guess of it was off.

    Sensor signals alternate between calm and storm, and bits are logarithmic: a row counts by the inverse square of the
    error around it.
    """
    error = np.abs(target - guess).ravel()
    sums = np.cumsum(np.concatenate([np.zeros(SMOOTH), error, np.zeros(SMOOTH)]))
    around = (sums[SMOOTH:] - sums[:-SMOOTH])[SMOOTH // 2 : SMOOTH // 2 + error.size] / SMOOTH
    scale = around + (0.3 * float(_median(error)) + 0.5)
    return np.asarray(1 / (scale * scale)).reshape(target.shape)


def _median(values: NDArray[Any]) -> Any:
    """About the median: that of some of the values."""
    some = values.ravel()[:: max(1, values.size // MEDIAN_OF)]
    return np.partition(some, some.size // 2)[some.size // 2]


def _quantised(taps: Floats) -> tuple[tuple[int, ...], int] | None:
    """Taps as integers and their shift; None if one is out of range."""
    top = float(np.abs(taps).max())
    if not top < TAP_MAX:
        return None
    shift = SHIFT_MAX
    while shift and round(top * (1 << shift)) > TAP_MAX:
        shift -= 1
    return tuple(int(t) for t in np.rint(taps * (1 << shift))), shift


class Kin:
    """The columns planned before, as far as planning wants to know them."""

    def __init__(self) -> None:
        """None so far."""
        self._numbers: list[int] = []
        self._signals: list[Ints] = []
        self._scaled: list[Floats] = []

    def partner(self, y: Ints, number: int) -> tuple[int, Ints | None]:
        """The column whose differences go most with y's, and these on the stretches; -1 if none does.

        y is that of column `number`, which is known from now on.
        """
        target = _scaled(y)
        alike = [abs(float(other @ target)) for other in self._scaled[-PARTNERS:]]
        best = max(alike, default=0.0)
        found: tuple[int, Ints | None] = -1, None
        if best * best >= KINSHIP_MIN:
            at = len(self._scaled) - len(alike) + alike.index(best)
            found = self._numbers[at], self._signals[at]
        self._numbers.append(number)
        self._signals.append(y)
        self._scaled.append(target)
        return found


def _scaled(y: Ints) -> Floats:
    """Differences on the stretches, as a vector of length 1 (or 0)."""
    clipped = np.clip(y[:, LEAD:].ravel(), -CLIP, CLIP).astype(np.float64)
    length = float(np.sqrt(clipped @ clipped))
    return clipped / length if length else clipped


def plan(v: Ints, kin: Kin, number: int) -> Plan:
    """The cheapest plan for column `number`."""
    return _plan(v, kin, number)[1]


def _plan(v: Ints, kin: Kin, number: int) -> tuple[float, Plan]:
    """The plan that costs least over the stretches, and how many bits it takes for the column."""
    first = int(v[0])
    some = stretches(v)
    times = times_of(v, some)
    middle = int(_median(some))
    y = _differences(some)
    plans = [Plan(0, middle), Plan(1, first), Plan(2, first)]
    signals = [wrap(some - middle), y, _differences(y)]
    costs = [cost(signal[:, LEAD:].ravel(), times) for signal in signals]
    best = min(zip(costs, plans), key=lambda pair: pair[0])
    partner, other = kin.partner(y, number)
    weights: Floats | None = None
    for orders in ORDERS:
        lagged = _lagged(y, other, orders[-1])
        inputs, target = lagged[..., :-1], lagged[..., -1]
        times = v.size / target.size
        if weights is None:
            weights = _weights(target)
            weights = _weights(target, np.matmul(inputs, _solve(lagged, weights, [0])[0]))
        tried = []
        for order, taps in zip(orders, _solve(lagged, weights, [orders[-1] - order for order in orders])):
            rounded = _quantised(taps)
            if rounded is not None:
                integers, shift = rounded
                guess = np.matmul(inputs[..., orders[-1] - order :], np.array(integers) / (1 << shift))
                bits = cost(wrap((target - np.rint(guess)).astype(np.int64)).ravel(), times) + TAP_BITS * len(integers)
                tried.append((bits, Plan(1, first, order, shift, integers, partner)))
        before, best = best[0], min([best, *tried], key=lambda pair: pair[0])
        if not tried or best[0] > WORTHWHILE * before or tried[-1][0] > GAINING * tried[0][0]:
            break
    return best
