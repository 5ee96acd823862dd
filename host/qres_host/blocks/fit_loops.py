"""The loops of fitting predictors: the same text for Numba, on arrays, and for plain Python, on lists.

Sums are taken in one order everywhere, so that every machine finds the same predictor.
"""

from math import sqrt
from typing import Any

from qres_host.native import jit


@jit
def unit(y: Any, width: int, lead: int, clip: int, out: Any) -> float:
    """The rows of y beyond the leads, within +-clip, as a vector of length 1 (or 0); returns the length before."""
    at = 0
    squares = 0.0
    for start in range(0, len(y), width):
        for t in range(start + lead, start + width):
            value = float(min(max(int(y[t]), -clip), clip))
            out[at] = value
            squares += value * value
            at += 1
    length = sqrt(squares)
    for t in range(at):
        out[t] /= length if length > 0 else 1.0
    return length


@jit
def errors(y: Any, other: Any, width: int, lead: int, taps: Any, order: int, out: Any) -> int:
    """How far each row of y beyond the leads is from what taps predict (see `estimate`, without rounding)."""
    more = len(taps) - order
    at = 0
    for start in range(0, len(y), width):
        for t in range(start + lead, start + width):
            total = y[t]
            for i in range(order):
                total -= taps[i] * y[t - order + i]
            for i in range(more):
                total -= taps[order + i] * other[t + 1 - more + i]
            out[at] = abs(total)
            at += 1
    return at


@jit
def weigh(error: Any, reach: int, floor: float, out: Any) -> int:
    """What each row counts: the inverse square of the mean error of 2 * reach + 1 rows around it, and `floor`."""
    rows = len(error)
    window = 0.0
    for t in range(-reach, rows):
        if t + reach < rows:
            window += error[t + reach]
        if t > reach:
            window -= error[t - reach - 1]
        if t >= 0:
            scale = window / (2 * reach + 1) + floor
            out[t] = 1 / (scale * scale)
    return rows


@jit
def moments(
    y: Any,
    other: Any,
    width: int,
    lead: int,
    lags: int,
    more: int,
    step: int,
    weights: Any,
    row: Any,
    beside: Any,
    square: Any,
    cross: Any,
) -> int:
    """Add up weighed products of regressors, four rows at a time, every `step` rows.  Returns how many rows were taken.

    `square`: those of each value and the ones before it, `lags` in all, newest first, as a lower triangle. `cross`:
    those of `more` values of the other signal, newest first, from the same row on, with these, and behind, with each
    other.  `row` is room for lags + 3, `beside` for more + 3.
    """
    taken = 0
    for piece in range(len(y) // width):
        for at in range(0, width - lead - 3, step):
            now = piece * width + lead + at
            for i in range(lags + 3):
                row[i] = y[now + 3 - i]
            k = piece * (width - lead) + at
            for i in range(lags):
                a = weights[k] * row[i + 3]
                b = weights[k + 1] * row[i + 2]
                c = weights[k + 2] * row[i + 1]
                d = weights[k + 3] * row[i]
                for j in range(i + 1):
                    square[i * lags + j] += (a * row[j + 3] + b * row[j + 2]) + (c * row[j + 1] + d * row[j])
            if more > 0:
                for i in range(more + 3):
                    beside[i] = other[now + 3 - i]
                for i in range(more):
                    a = weights[k] * beside[i + 3]
                    b = weights[k + 1] * beside[i + 2]
                    c = weights[k + 2] * beside[i + 1]
                    d = weights[k + 3] * beside[i]
                    for j in range(lags):
                        cross[i * lags + j] += (a * row[j + 3] + b * row[j + 2]) + (c * row[j + 1] + d * row[j])
                    own = more * lags + i * more
                    for j in range(i + 1):
                        cross[own + j] += (a * beside[j + 3] + b * beside[j + 2]) + (c * beside[j + 1] + d * beside[j])
            taken += 4
    return taken


@jit
def _moment(square: Any, cross: Any, lags: int, more: int, i: int, j: int) -> float:
    """The moment of unknowns i >= j: the values of the other signal come first, then the lags."""
    if i < more:
        return float(cross[more * lags + i * more + j])
    if j < more:
        return float(cross[j * lags + i - more + 1])
    return float(square[(i - more + 1) * lags + j - more + 1])


@jit
def solve(square: Any, cross: Any, lags: int, more: int, leading: Any, factor: Any, out: Any) -> int:
    """Least-squares taps from `moments`, for each count in `leading` of the first so many unknowns alone.

    Unknowns are the values of the other signal, then the values before, newest first; by Cholesky's factors, which the
    systems share.  `factor` (their number squared) and `out` (their number for each of `leading`) are filled.  Returns
    how many were solved: none if the moments are not positive definite.
    """
    size = more + lags - 1
    trace = 0.0
    for i in range(size):
        trace += _moment(square, cross, lags, more, i, i)
    for i in range(size):
        for j in range(i + 1):
            total = _moment(square, cross, lags, more, i, j)
            for k in range(j):
                total -= factor[i * size + k] * factor[j * size + k]
            if i > j:
                factor[i * size + j] = total / factor[j * size + j]
            else:
                total += 1e-9 * trace / size + 1e-9
                if total <= 0:
                    return 0
                factor[i * size + i] = sqrt(total)
    for n in range(len(leading)):
        at = n * size
        rows = int(leading[n])
        for i in range(rows):
            total = float(cross[i * lags]) if i < more else float(square[(i - more + 1) * lags])
            for k in range(i):
                total -= factor[i * size + k] * out[at + k]
            out[at + i] = total / factor[i * size + i]
        for i in range(rows - 1, -1, -1):
            total = out[at + i]
            for k in range(i + 1, rows):
                total -= factor[k * size + i] * out[at + k]
            out[at + i] = total / factor[i * size + i]
    return len(leading)
