"""Arguments for every kernel of qres.regression: for each a generator of its name, the same on every machine."""

from array import array

from qres.regression import LIMIT, MISSING, SCALE_MAX
from support import below, xorshift

DELTA_MAX = 0x1FFFFFFF
MOMENT_MAX = 0x7FFFFFF
WEIGHT_MAX = 0x1FFFF


def _signed(source, most):
    return below(source, 2 * most + 1) - most


def some(source, count, most):
    """Random numbers of one random size, some of them extreme."""
    bits = 1
    while 1 << bits <= most and below(source, 12):
        bits += 1
    size = min((1 << bits) - 1, most)
    out = array("i", [_signed(source, size) for _ in range(count)])
    if below(source, 3) == 0 and count:
        out[below(source, count)] = (most, -most, 0, 1)[below(source, 4)]
    return out


def changes(source, count):
    """Standardized changes, some of them missing."""
    return array("i", [MISSING if below(source, 9) == 0 else _signed(source, LIMIT) for _ in range(count)])


def standardize():
    source = xorshift(1)
    for scale in (0, 1, 2, 63, 255, 256, 0x8000, 0x3FFFF, 0x40000, 0x3FFFFF, 0x400000, SCALE_MAX):
        for delta in (0, 1, -1, 5, 1 << 20, 1 << 21, DELTA_MAX, -DELTA_MAX, MISSING):
            for age in (1, 2, 100, 128):
                yield 0, 0, 0, 1, array("i", [delta]), array("i", [scale]), array("i", [age if scale else 0])
    for count in range(1, 16):
        scales = array("i", [1 + below(source, SCALE_MAX) for _ in range(count)])
        ages = array("i", [1 + below(source, 128) for _ in range(count)])
        yield 7, -7, 7, count, some(source, count, DELTA_MAX), scales, ages


def advance():
    source = xorshift(2)
    for lags in (1, 2, 16):
        for count in (1, 4, 15):
            drifts = some(source, 2 * count, LIMIT << 11)
            yield 0, 0, 0, count, lags, changes(source, count), some(source, count * lags, LIMIT), drifts


def features():
    source = xorshift(3)
    for lags in (0, 1, 4):
        for count in (1, 4, 15):
            x = array("i", [0] * (count * (lags + 2)))
            yield 0, 0, 0, count, lags, some(source, count * lags, LIMIT), some(source, 2 * count, LIMIT << 11), x


def products():
    source = xorshift(4)
    for n, stride, count in ((1, 1, 1), (6, 6, 4), (48, 0, 15), (4, 6, 15)):
        for most in (9, WEIGHT_MAX):
            out = array("i", [5] * count)
            yield 0, 0, 0, n, stride, count, some(source, n * count, most), some(source, n + stride * 14, LIMIT), out
    for w in (WEIGHT_MAX, -WEIGHT_MAX):
        for x in (LIMIT, -LIMIT):
            yield 0, 0, 0, 48, 0, 1, array("i", [w] * 48), array("i", [x] * 48), array("i", [0])


def restore():
    for ahead in (0, 1, -1, 4096, LIMIT << 4, -LIMIT << 4):
        for scale in (0, 1, 0x3FFF, 0x4000, 123456, SCALE_MAX):
            yield ahead, scale, 0


def step():
    source = xorshift(5)
    for n, stride, count in ((1, 1, 1), (6, 6, 4), (48, 0, 15), (4, 6, 15)):
        for rate in (0, 33, 819):
            errors = changes(source, count)
            weights = some(source, n * count, WEIGHT_MAX)
            yield 0, 0, 0, n, stride, count, rate, weights, some(source, n + stride * 14, LIMIT), errors
    for x in (0, 1, LIMIT, -LIMIT):
        for error in (2 * LIMIT, -2 * LIMIT):
            yield 0, 0, 0, 48, 0, 1, 819, array("i", [0] * 48), array("i", [x] * 48), array("i", [error])


def correlate():
    source = xorshift(6)
    for n, stride, count in ((1, 1, 1), (6, 6, 4), (4, 6, 3), (48, 0, 1)):
        for k in (1, 11):
            moments = some(source, count * n * (n + 1) // 2, MOMENT_MAX)
            yield 0, 0, 0, n, stride, count, k, some(source, n + stride * 3, LIMIT), moments
    for x in (LIMIT, -LIMIT):
        for moment in (MOMENT_MAX, -MOMENT_MAX):
            yield 0, 0, 0, 2, 2, 1, 13, array("i", [x, LIMIT]), array("i", [moment] * 3)


def pull():
    source = xorshift(9)
    for n, stride, count in ((1, 1, 1), (6, 6, 4), (48, 0, 15)):
        for k in (1, 11):
            slopes, x = some(source, n * count, MOMENT_MAX), some(source, n + stride * 3, LIMIT)
            yield 0, 0, 0, n, stride, count, k, x, changes(source, count), slopes
    for slope in (MOMENT_MAX, -MOMENT_MAX):
        for error in (2 * LIMIT, -2 * LIMIT):
            x = array("i", [LIMIT, -LIMIT])
            yield 0, 0, 0, 2, 2, 1, 1, x, array("i", [error]), array("i", [slope, -slope])


def descend():
    source = xorshift(7)
    for n, own, count in ((1, 1, 1), (6, 1, 4), (4, 1, 3), (48, 0, 3)):
        for _ in range(2):
            size = n * (n + 1) // 2 * own
            moments = some(source, max(size * count, n * (n + 1) // 2), MOMENT_MAX)
            row = 0
            for i in range(n):  # no square is negative
                moments[row + i] = abs(moments[row + i])
                row += i + 1
            for c in range(1, count if size else 0):
                moments[c * size : c * size + size] = moments[:size]
            slopes, weights = some(source, n * count, MOMENT_MAX), some(source, n * count, WEIGHT_MAX)
            yield 0, 0, 0, n, size, count, changes(source, count), moments, slopes, weights
    for moment in (0, 1, MOMENT_MAX):
        for slope in (MOMENT_MAX, -MOMENT_MAX):
            slopes, weights = array("i", [slope] * 48), array("i", [0] * 48)
            yield 0, 0, 0, 48, 0, 1, array("i", [7]), array("i", [moment] * (24 * 49)), slopes, weights


def residuals():
    source = xorshift(8)
    for count in (1, 4, 15):
        yield 0, 0, count, changes(source, count), some(source, count, LIMIT << 4), array("i", [0] * count)
