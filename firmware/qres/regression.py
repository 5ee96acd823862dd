"""Linear regression, online and in integers: standardized changes, normalised LMS, recursive least squares.

All is in units of a channel's own scale, the running mean of its |change|: features and targets are Q8 (256 is one
scale) and cut at +-LIMIT, predictions Q12, weights Q16.16 within +-2.  Buffers are flat, channel after channel.
Arguments said to be work may have any value: they stand first because the first three are in registers.
Imported only by predictors that need it.
"""

from qres.compat import const, kernel, ptr32

MISSING = const(-0x3FFFFFFF)  # of a change: there is none
LIMIT = const(4095)  # of features and targets: sixteen scales
DRIFTS = const(2)  # features that are leaky sums of changes, over 16 and 128 samples
FEATURES_MAX = const(48)
SCALE_MAX = const(0x3FFFFFF)  # Q8
_LARGE = const(0x400000)  # scales from here on move in whole units
_WEIGHT_MAX = const(0x1FFFF)
_STEP_MAX = const(8191)  # of a weight in one sweep: an eighth
_RIDGE = const(2048)  # added to the diagonal of moments, so that what never changes gets no weight


@kernel
def standardize(i: int, size: int, unit: int, count: int, deltas: object, scales: object, ages: object) -> int:
    """Replace `count` deltas, within +-2^29 or MISSING, by themselves in units of their scales; then learn the scales.

    A scale is the mean |delta|, Q8, over all values at first, then over about 128; ages count to 128.  What exceeds
    eight scales counts as that much, so that a faulty sensor is soon forgotten.  `i`, `size`
    and `unit` are work.  Returns 0.
    """
    v = ptr32(deltas)
    s = ptr32(scales)
    n = ptr32(ages)
    i = 0
    while i < count:
        size = v[i]
        if size != MISSING:
            negative = 0
            if size < 0:
                negative = 1
                size = -size
            scale = s[i]
            most = scale >> 4
            if scale == 0:
                most = 0x3FFFF
                scale = size << 8 if size < most else most << 8
                unit = 256 if size > 0 else 0
            else:
                if size > most:
                    size = most + 1
                unit = scale
                part = size
                while unit >= 0x40000:
                    unit >>= 1
                    part >>= 1
                while unit < 0x8000:
                    unit <<= 1
                    part <<= 1
                unit = (part << 14) // (unit >> 2)
                if unit > LIMIT:
                    unit = LIMIT
                most = scale >> 5
                if size > most:
                    size = most + 1
                k = 0
                while k < 7 and (1 << k) <= n[i]:
                    k += 1
                if scale < _LARGE:
                    scale += ((size << 8) - scale + (1 << k >> 1)) >> k
                else:
                    scale += ((size - (scale >> 8)) >> k) << 8
                if scale > SCALE_MAX:
                    scale = SCALE_MAX
            s[i] = scale
            if scale and n[i] < 128:
                n[i] += 1
            v[i] = -unit if negative else unit
        i += 1
    return 0


@kernel
def advance(i: int, j: int, value: int, count: int, lags: int, changes: object, history: object, drifts: object) -> int:
    """Put the standardized changes of a row first in the `lags` of each channel's history, and into its drifts (Q12).

    What is MISSING did not change.  `i`, `j` and `value` are work.  Returns 0.
    """
    y = ptr32(changes)
    h = ptr32(history)
    d = ptr32(drifts)
    i = 0
    while i < count:
        value = y[i]
        if value == MISSING:
            value = 0
        first = i * lags
        j = first + lags - 1
        while j > first:
            h[j] = h[j - 1]
            j -= 1
        h[first] = value
        value <<= 4
        j = i << 1
        first = d[j] + value
        d[j] = first - ((first + 8) >> 4)
        first = d[j + 1] + value
        d[j + 1] = first - ((first + 64) >> 7)
        i += 1
    return 0


@kernel
def features(i: int, j: int, value: int, count: int, lags: int, history: object, drifts: object, x: object) -> int:
    """Fill x with the features of each channel: its last changes, newest first, and a quarter of its two drifts.

    `i`, `j` and `value` are work.  Returns 0.
    """
    h = ptr32(history)
    d = ptr32(drifts)
    f = ptr32(x)
    at = 0
    last = 0
    i = 0
    while i < count:
        j = i * lags
        last += lags
        while j < last:
            f[at] = h[j]
            at += 1
            j += 1
        j = 0
        while j < DRIFTS:
            value = d[(i << 1) + j] >> 6
            if value > LIMIT:
                value = LIMIT
            elif value < -LIMIT:
                value = -LIMIT
            f[at] = value
            at += 1
            j += 1
        i += 1
    return 0


@kernel
def products(
    i: int, total: int, at: int, n: int, stride: int, count: int, weights: object, x: object, out: object
) -> int:
    """out[c] = sum of weights[c * n + i] * x[c * stride + i], i < n: predictions for `count` channels, Q12.

    `i`, `total` and `at` are work.  Returns 0.
    """
    w = ptr32(weights)
    f = ptr32(x)
    y = ptr32(out)
    at = 0
    c = 0
    while c < count:
        total = 0
        first = c * stride
        i = 0
        while i < n:
            total += (w[at] * f[first + i]) >> 8  # 2^17 * 2^12 >> 8, 48 times: below 2^27
            at += 1
            i += 1
        total = (total + 8) >> 4
        if total > LIMIT << 4:
            total = LIMIT << 4
        elif total < -LIMIT << 4:
            total = -LIMIT << 4
        y[c] = total
        c += 1
    return 0


@kernel
def restore(ahead: int, scale: int, shift: int) -> int:
    """A prediction (Q12, within +-LIMIT) in units of a scale as a change in sensor steps; `shift` is work."""
    shift = 20
    while scale >= 0x2000:
        scale >>= 1
        shift -= 1
    return (ahead * scale + (1 << (shift - 1))) >> shift


@kernel
def step(
    i: int, at: int, gain: int, n: int, stride: int, count: int, rate: int, weights: object, x: object, errors: object
) -> int:
    """Normalised LMS: weights += rate * error * x / (4 + |x|^2) for the `count` channels of `products`.

    Errors are Q8, within +-2 LIMIT or MISSING; `rate` is Q12, 0 to 819.  `i`, `at` and `gain` are work.  Returns 0.
    """
    w = ptr32(weights)
    f = ptr32(x)
    e = ptr32(errors)
    c = 0
    while c < count:
        if e[c] != MISSING:
            first = c * stride
            norm = 0x40000
            i = 0
            while i < n:
                gain = f[first + i]
                norm += gain * gain
                i += 1
            shift = 6
            while norm >= 0x10000:
                norm >>= 1
                shift += 1
            gain = e[c] * rate
            if gain > 0xFFFFF:
                gain = 0xFFFFF
            elif gain < -0xFFFFF:
                gain = -0xFFFFF
            gain = (gain << 10) // norm
            half = 1 << (shift - 1)
            at = c * n
            i = 0
            while i < n:
                moved = w[at] + ((gain * f[first + i] + half) >> shift)
                if moved > _WEIGHT_MAX:
                    moved = _WEIGHT_MAX
                elif moved < -_WEIGHT_MAX:
                    moved = -_WEIGHT_MAX
                w[at] = moved
                at += 1
                i += 1
        c += 1
    return 0


@kernel
def correlate(i: int, j: int, at: int, n: int, stride: int, count: int, k: int, x: object, moments: object) -> int:
    """Second moments of x, over about 2^k samples, of `count` channels: lower triangles, row after row, Q19.

    `i`, `j` and `at` are work.  Returns 0.
    """
    f = ptr32(x)
    r = ptr32(moments)
    half = 1 << (k - 1)
    at = 0
    c = 0
    while c < count:
        i = 0
        first = c * stride
        while i < n:
            value = f[first + i] << 3
            j = first
            last = first + i
            while j <= last:
                old = r[at]
                r[at] = old + ((value * f[j] - old + half) >> k)
                at += 1
                j += 1
            i += 1
        c += 1
    return 0


@kernel
def pull(
    i: int, at: int, error: int, n: int, stride: int, count: int, k: int, x: object, errors: object, slopes: object
) -> int:
    """Slopes of the squared error over about 2^k samples take in the errors of a row, for `count` channels.

    Slopes are moments * (best weights - weights).  Errors are Q8, within +-2 LIMIT or MISSING.  `i`, `at` and `error`
    are work.  Returns 0.
    """
    f = ptr32(x)
    e = ptr32(errors)
    g = ptr32(slopes)
    half = 1 << (k - 1)
    c = 0
    while c < count:
        error = e[c]
        if error != MISSING:
            if error > LIMIT:
                error = LIMIT
            elif error < -LIMIT:
                error = -LIMIT
            error <<= 3
            base = c * n
            first = c * stride
            i = 0
            while i < n:
                at = g[base + i]
                at += (error * f[first + i] - at + half) >> k
                if at > 0x7FFFFFF:
                    at = 0x7FFFFFF
                elif at < -0x7FFFFFF:
                    at = -0x7FFFFFF
                g[base + i] = at
                i += 1
        c += 1
    return 0


@kernel
def descend(
    i: int,
    j: int,
    at: int,
    n: int,
    size: int,
    count: int,
    errors: object,
    moments: object,
    slopes: object,
    weights: object,
) -> int:
    """Recursive least squares by coordinate descent: one Gauss-Seidel sweep for each of `count` channels.

    The slopes follow each move of a weight (Zakharov, White and Liu 2008).  Moments of channel c begin at c * size (0:
    all have the same).  A channel whose error is MISSING rests.  `i`, `j` and `at` are work.  Returns 0.
    """
    e = ptr32(errors)
    r = ptr32(moments)
    g = ptr32(slopes)
    w = ptr32(weights)
    c = 0
    while c < count:
        if e[c] != MISSING:
            base = c * n
            row = c * size
            i = 0
            while i < n:
                old = w[base + i]
                part = (r[row + i] + _RIDGE) >> 11
                value = g[base + i] - (old >> 7)
                move = value // part
                if move > 255:
                    move = _STEP_MAX
                elif move < -255:
                    move = -_STEP_MAX
                else:
                    move = (move << 5) + ((value - move * part) << 5) // part
                value = old + move
                if value > _WEIGHT_MAX:
                    value = _WEIGHT_MAX
                elif value < -_WEIGHT_MAX:
                    value = -_WEIGHT_MAX
                move = value - old
                if move:
                    w[base + i] = value
                    at = row
                    j = 0
                    while j < n:
                        value = r[at]
                        g[base + j] -= (move * (value >> 12) + (move * (value & 4095) >> 12) + 8) >> 4
                        at += 1 if j < i else j + 1
                        j += 1
                i += 1
                row += i
        c += 1
    return 0


@kernel
def residuals(i: int, e: int, count: int, changes: object, ahead: object, out: object) -> int:
    """out = changes (Q8 or MISSING) - predictions (Q12), Q8 within +-2 LIMIT or MISSING; `i` and `e` are work.

    Returns 0.
    """
    y = ptr32(changes)
    p = ptr32(ahead)
    o = ptr32(out)
    i = 0
    while i < count:
        e = y[i]
        if e != MISSING:
            e -= (p[i] + 8) >> 4
        o[i] = e
        i += 1
    return 0
