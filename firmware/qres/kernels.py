"""The inner loops: plain functions over integers and flat int32 arrays.

Every intermediate stays within +-2^30, so the chip's 31-bit small integers never spill to the heap, and the same text
can be compiled to machine code.  Deltas are within +-DELTA_MAX, weights within +-WEIGHT_MAX (Q16.16).
"""

from qres.compat import const

if False:
    from array import array

DELTA_MAX = const(0x1FFFFFFF)  # +-2^29 - 1
WEIGHT_MAX = const(0x1FFFF)  # just under 2.0 in Q16.16
ORDER_MAX = const(16)  # lags; sums below are sized for it


def shift_for(deltas: "array[int]", count: int) -> int:
    """How far to shift deltas[0..count-1] right so that each fits 12 bits and a sign."""
    top = 0
    for i in range(count):
        d = deltas[i]
        if d < 0:
            d = -d
        if d > top:
            top = d
    shift = 0
    while top >= 4096:
        top >>= 1
        shift += 1
    return shift


def nlms_predict(weights: "array[int] | list[int]", at: int, deltas: "array[int]", count: int) -> int:
    """Predicted next delta from deltas[0..count-1], newest first, under weights[at..]; within +-DELTA_MAX."""
    shift = shift_for(deltas, count)
    total = 0
    for i in range(count):
        total += (weights[at + i] * (deltas[i] >> shift)) >> 4  # 2^17 * 2^12 >> 4, 16 times: 2^29
    total = (total + 2048) >> 12
    limit = DELTA_MAX >> shift
    if total > limit:
        total = limit
    elif total < -limit:
        total = -limit
    return total << shift


def nlms_update(weights: "array[int]", deltas: "array[int]", count: int, error: int, rate: int) -> None:
    """Normalised LMS: weights += rate * error * delta / |deltas|^2; rate Q10 (1 to 512), error within +-DELTA_MAX."""
    shift = shift_for(deltas, count)
    error >>= shift
    if error > 8191:
        error = 8191
    elif error < -8191:
        error = -8191
    norm = 1
    for i in range(count):
        d = deltas[i] >> shift
        norm += d * d
    gain = (error << 14) // norm
    for i in range(count):
        w = weights[i] + ((((gain * (deltas[i] >> shift)) >> 7) * rate + 1) >> 1)
        if w > WEIGHT_MAX:
            w = WEIGHT_MAX
        elif w < -WEIGHT_MAX:
            w = -WEIGHT_MAX
        weights[i] = w


def push(deltas: "array[int]", count: int, delta: int) -> None:
    """Shift deltas[0..count-1] by one and put `delta` first."""
    i = count - 1
    while i > 0:
        deltas[i] = deltas[i - 1]
        i -= 1
    deltas[0] = delta
