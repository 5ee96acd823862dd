"""The inner loops: functions over integers and flat int32 arrays.

Every intermediate stays within +-2^30, so the chip's 31-bit small integers never spill to the heap, and the same text
is compiled to machine code.  Deltas are within +-DELTA_MAX, weights within +-WEIGHT_MAX (Q16.16).
"""

from qres.compat import const, kernel, ptr32

DELTA_MAX = const(0x1FFFFFFF)  # +-2^29 - 1
WEIGHT_MAX = const(0x1FFFF)  # just under 2.0 in Q16.16
ORDER_MAX = const(16)  # lags; sums below are sized for it


@kernel
def shift_for(deltas: object, first: int, count: int) -> int:
    """How far to shift the `count` values of deltas[first..] right so that each fits 12 bits and a sign."""
    d = ptr32(deltas)
    top = 0
    last = first + count
    while first < last:
        count = d[first]
        if count < 0:
            count = -count
        top |= count  # as many bits as the largest
        first += 1
    shift = 0
    while top >= 4096:
        top >>= 1
        shift += 1
    return shift


@kernel
def nlms_predict(
    i: int, total: int, at: int, first: int, count: int, shift: int, weights: object, deltas: object
) -> int:
    """Predicted next delta from `count` of deltas[first..], newest first, under weights[at..]; within +-DELTA_MAX.

    `shift` is what shift_for says of these deltas; `i` and `total` are work, whatever they are.
    """
    w = ptr32(weights)
    d = ptr32(deltas)
    total = 2048
    i = first
    last = first + count
    while i < last:
        total += (w[at] * (d[i] >> shift)) >> 4  # 2^17 * 2^12 >> 4, 16 times: 2^29
        at += 1
        i += 1
    total >>= 12
    limit = DELTA_MAX >> shift
    if total > limit:
        total = limit
    elif total < -limit:
        total = -limit
    return total << shift


@kernel
def nlms_update(
    i: int,
    part: int,
    gain: int,
    first: int,
    count: int,
    shift: int,
    error: int,
    rate: int,
    weights: object,
    deltas: object,
) -> int:
    """Normalised LMS: weights += rate * error * delta / |deltas|^2; rate Q10 (0 to 512), error within +-DELTA_MAX.

    Both begin at index `first`; `shift` is what shift_for says of the deltas.  An error beyond the largest delta counts
    as that much, so that a single outlier among quiet values cannot throw the weights away.  `i`, `part` and `gain` are
    work, whatever they are.  Returns 0.
    """
    w = ptr32(weights)
    d = ptr32(deltas)
    last = first + count
    norm = 1
    gain = 0
    i = first
    while i < last:
        part = d[i] >> shift
        norm += part * part
        if part < 0:
            part = -part
        if part > gain:
            gain = part
        i += 1
    error >>= shift
    if error > gain:
        error = gain
    elif error < -gain:
        error = -gain
    gain = (error << 14) // norm
    i = first
    while i < last:
        part = w[i] + ((((gain * (d[i] >> shift)) >> 7) * rate + 1) >> 1)
        if part > WEIGHT_MAX:
            part = WEIGHT_MAX
        elif part < -WEIGHT_MAX:
            part = -WEIGHT_MAX
        w[i] = part
        i += 1
    return 0


@kernel
def push(deltas: object, first: int, count: int, delta: int) -> int:
    """Shift the `count` values of deltas[first..] by one and put `delta` first; returns 0."""
    d = ptr32(deltas)
    i = first + count - 1
    while i > first:
        d[i] = d[i - 1]
        i -= 1
    d[first] = delta
    return 0
