"""Choosing a predictor for a column, by least squares over stretches of it: in the encoder alone, so with floats."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qres_host.blocks.linear import ORDER_MAX, OTHER_TAPS, SHIFT_MAX, TAP_MAX, Plan, difference, wrap
from qres_host.blocks.tokens import cost

ORDERS: Final = ((3, 8), (16, 32))
WORTHWHILE: Final = 0.995
"""Share of the bits from which more taps are not tried."""
ROUNDS: Final = 2
CHUNK: Final = 128
"""Rows that are multiplied at a time."""
PIECES: Final = 8
PIECE_ROWS: Final = 256
LEAD: Final = ORDER_MAX + 2
"""Rows before a stretch, which its first rows are predicted from and differenced with."""
TAP_BITS: Final = 16
"""About what a tap costs."""
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
    middle = int(np.partition(some.ravel(), some.size // 2)[some.size // 2])
    return min(cost(difference(some, middle, n)[:, LEAD:].ravel()) for n in (0, 1))


def estimate(v: Ints) -> float:
    """About how many bits a column takes, by itself, linear prediction included."""
    return _plan(v, Kin())[0]


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


def _chunks(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows in chunks, without the last few: libraries of linear algebra start threads for more, which cost too much."""
    size = min(CHUNK, len(rows))
    return rows[: len(rows) // size * size].reshape(-1, size, *rows.shape[1:])


def _lagged(y: Ints, other: Ints | None, order: int) -> Floats:
    """The regressors of every row, in chunks: `order` values before, oldest first, then the other column's."""
    views = [np.lib.stride_tricks.sliding_window_view(y[:, LEAD - order : -1], order, axis=1)]
    if other is not None:
        views.append(np.lib.stride_tricks.sliding_window_view(other[:, LEAD + 1 - OTHER_TAPS :], OTHER_TAPS, axis=1))
    inputs = np.concatenate(views, axis=2, dtype=np.float64)
    return _chunks(inputs.reshape(-1, inputs.shape[2]))


def _solve(inputs: Floats, target: Floats, weights: Floats, skips: list[int]) -> list[Floats]:
    """Weighted least-squares taps, for each of `skips` without as many of the oldest values."""
    weighed = np.swapaxes(inputs * weights[..., None], 1, 2)
    square = np.matmul(weighed, inputs).sum(axis=0)
    product = np.matmul(weighed, target[..., None]).sum(axis=0)[:, 0]
    np.einsum("ii->i", square)[:] += 1e-9 * np.trace(square) / len(square) + 1e-9
    return [np.asarray(np.linalg.solve(square[n:, n:], product[n:]), np.float64) for n in skips]


def _weights(inputs: Floats, target: Floats) -> Floats:
    """What each row counts.

    Sensor signals alternate between calm and storm, and bits are logarithmic: a row counts by the inverse square of the
    error around it, which some rounds of fitting find out.
    """
    weights = np.ones_like(target)
    for _ in range(ROUNDS):
        (taps,) = _solve(inputs, target, weights, [0])
        error = np.abs(target - np.matmul(inputs, taps)).ravel()
        sums = np.cumsum(np.concatenate([np.zeros(SMOOTH), error, np.zeros(SMOOTH)]))
        around = (sums[SMOOTH:] - sums[:-SMOOTH])[SMOOTH // 2 : SMOOTH // 2 + error.size] / SMOOTH
        middle = float(np.partition(error, error.size // 2)[error.size // 2])
        weights = (1 / (around + 0.3 * middle + 0.5) ** 2).reshape(target.shape)
    return weights


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
    """The columns before the one to be planned, as far as planning wants to know them."""

    def __init__(self) -> None:
        """None so far."""
        self.signals: list[Ints] = []
        self.scaled: list[Floats] = []

    def add(self, v: Ints) -> None:
        """One more column."""
        signal = difference(stretches(v), int(v[0]), 1)
        self.signals.append(signal)
        self.scaled.append(_scaled(signal))

    def partner(self, y: Ints) -> tuple[int, Ints | None]:
        """The column whose differences go most with y's, and these on the stretches; -1 if none does."""
        target = _scaled(y)
        first = max(0, len(self.scaled) - PARTNERS)
        alike = [abs(float(other @ target)) for other in self.scaled[first:]]
        best = max(alike, default=0.0)
        if best * best < KINSHIP_MIN:
            return -1, None
        found = first + alike.index(best)
        return found, self.signals[found]


def _scaled(y: Ints) -> Floats:
    """Differences on the stretches, as a vector of length 1 (or 0)."""
    clipped = np.clip(y[:, LEAD:].ravel(), -CLIP, CLIP).astype(np.float64)
    length = float(np.sqrt(clipped @ clipped))
    return clipped / length if length else clipped


def plan(v: Ints, kin: Kin) -> Plan:
    """The cheapest plan for a column."""
    return _plan(v, kin)[1]


def _plan(v: Ints, kin: Kin) -> tuple[float, Plan]:
    """The plan that costs least over the stretches, and how many bits it takes for the column."""
    first = int(v[0])
    some = stretches(v)
    times = times_of(v, some)
    middle = int(np.partition(some.ravel(), some.size // 2)[some.size // 2])
    plans = [Plan(0, middle), Plan(1, first), Plan(2, first)]
    signals = [difference(some, p.first, p.differences) for p in plans]
    costs = [cost(y[:, LEAD:].ravel(), times) for y in signals]
    best = min(zip(costs, plans), key=lambda pair: pair[0])
    y = signals[1]
    partner, other = kin.partner(y)
    target = _chunks(y[:, LEAD:].ravel().astype(np.float64))
    times = v.size / target.size
    weights: Floats | None = None
    for orders in ORDERS:
        inputs = _lagged(y, other, orders[-1])
        weights = _weights(inputs, target) if weights is None else weights
        before = best[0]
        for order, taps in zip(orders, _solve(inputs, target, weights, [orders[-1] - order for order in orders])):
            rounded = _quantised(taps)
            if rounded is not None:
                integers, shift = rounded
                guess = np.matmul(inputs[..., orders[-1] - order :], np.array(integers) / (1 << shift))
                bits = cost(wrap((target - np.rint(guess)).astype(np.int64)).ravel(), times) + TAP_BITS * len(integers)
                best = min(best, (bits, Plan(1, first, order, shift, integers, partner)), key=lambda pair: pair[0])
        if best[0] > WORTHWHILE * before:
            break
    return best
