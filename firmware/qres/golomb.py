"""Kernels of the coder `rice` of packets: a light predictor, and Golomb-Rice codes (Golomb 1966, Rice 1979) in bytes.

The predictor works on a channel's record as `qres.forecast` lays it out: a normalised LMS on the own last changes, no
change, or the same change, whichever erred least of late.  One call learns a change and predicts the next.  Machine
code keeps the first three parameters in registers: those that loops change come first.
"""

from qres.compat import const, kernel, ptr8, ptr16, ptr32

# A channel's record, an array('i'), as in qres.forecast.
_SEEN = const(1)
_SLOW = const(3)  # here the least of the three losses
_LOSS = const(4)  # mean |error| of no change,
_LOSS_SAME = const(5)  # of the same change,
_LOSS_OWN = const(7)  # of the own prediction
_SHIFT = const(9)
NORM = const(10)  # 0: `settle` has to come first
_OWN = const(11)
_MU = const(12)
_DELTAS = const(13)
_FAR = const(0x10000000)  # bound of predictions
_ERROR_MAX = const(0x1000000)

_GAIN = const(5248)  # rate of learning, 41 / 1024, in Q17
_COARSE = const(0x40000)  # a norm below it: the shift may be too large by two
_WINDOW = const(16)  # changes that the means follow

# The bits in `work`, an array('i').
AT = const(0)  # whole bytes written
HELD = const(1)  # bits that wait for a whole byte,
FILL = const(2)  # and how many these are, 0 to 7
WORK = const(3)
QUOTIENT_MAX = const(18)  # longer unary parts are escaped


@kernel
def settle(x: int, i: int, total: int, weights: int, order: int, record: object, words: object) -> int:
    """Scale the history of a channel anew and predict its next change with words[weights..] (signed, Q14): MU."""
    n = ptr32(record)
    h = ptr16(words)
    i = _DELTAS
    end = i + order
    total = 0
    while i < end:
        x = n[i]
        if x < 0:
            x = -x
        if x > total:
            total = x
        i += 1
    shift = 0
    while total >= 2048:
        total >>= 1
        shift += 1
    norm = 1
    total = 512
    i = _DELTAS
    while i < end:
        x = n[i] >> shift
        norm += x * x
        total += ((h[weights] ^ 32768) - 32768) * x  # the sign of 16 bits
        weights += 1
        i += 1
    n[_SHIFT] = shift
    n[NORM] = norm
    return int(choose(total >> 10, 0, shift, record))


@kernel
def choose(own: int, least: int, shift: int, record: object) -> int:
    """Keep the own prediction `own` << `shift` of the next change, and predict what erred least of late: MU."""
    n = ptr32(record)
    least = _FAR >> shift
    if own > least:
        own = least
    elif own < -least:
        own = -least
    own <<= shift
    n[_OWN] = own
    least = n[_LOSS_OWN]
    if n[_LOSS] < least:
        least = n[_LOSS]
        own = 0
    if n[_LOSS_SAME] < least:
        own = n[_DELTAS] << 4
    n[_MU] = own
    return own


@kernel
def advance(x: int, i: int, weight: int, weights: int, order: int, change: int, record: object, words: object) -> int:
    """Learn the `change` that came and predict the next one with words[weights..]: MU.  After `settle`."""
    n = ptr32(record)
    h = ptr16(words)
    seen = n[_SEEN]
    n[_SEEN] = seen + 1 if seen < _WINDOW else seen
    seen += 1
    least = _FAR
    gain = change << 4
    i = _LOSS
    while i <= _LOSS_OWN:
        x = gain
        if x < 0:
            x = -x
        if x > _ERROR_MAX:
            x = _ERROR_MAX
        weight = n[i] + ((x << 5) - n[i]) // seen
        n[i] = weight
        if weight < least:
            least = weight
        gain = (change << 4) - n[_OWN]
        if i == _LOSS:
            gain = (change - n[_DELTAS]) << 4
            i -= 1
        i += 2
    n[_SLOW] = least
    shift = n[_SHIFT]
    gain >>= shift
    if (gain + 65536) >> 17:
        gain = 65535 if gain > 0 else -65536
    gain = gain * _GAIN // n[NORM]
    i = _DELTAS
    end = i + order
    x = n[end - 1] >> shift
    norm = n[NORM] - x * x
    weight = change >> shift
    again = 1 if norm < _COARSE and shift > 0 else 0
    if (weight + 2048) >> 12:
        again = 1
        weight = 2047 if weight > 0 else -2048
    n[NORM] = norm + weight * weight
    new = weight
    total = 512
    while i < end:
        x = n[i]
        n[i] = change
        change = x
        x >>= shift
        weight = (h[weights] ^ 32768) - 32768  # the sign of 16 bits
        weight += (gain * x + 64) >> 7
        if (weight + 32768) >> 16:  # beyond 16 bits
            weight = 32767 if weight > 0 else -32768
        h[weights] = weight & 65535
        total += weight * new
        new = x
        weights += 1
        i += 1
    if again:
        return int(settle(0, 0, 0, weights - order, order, record, words))
    return int(choose(total >> 10, 0, shift, record))


@kernel
def put(held: int, fill: int, i: int, value: int, count: int, work: object, buf: object) -> int:
    """Append the low `count` bits (at most 22) of `value`, whose others are zero.  Returns 0."""
    w = ptr32(work)
    b = ptr8(buf)
    held = w[HELD] << count | value
    fill = w[FILL] + count
    i = w[AT]
    while fill > 7:
        fill -= 8
        b[i] = held >> fill
        held &= (1 << fill) - 1
        i += 1
    w[HELD] = held
    w[FILL] = fill
    w[AT] = i
    return 0


@kernel
def put_residual(mean: int, k: int, fill: int, residual: int, work: object, buf: object) -> int:
    """Append a residual (within +-2^28) of which |residual| is `mean` / 512 on average: 1, or 0 after an escape."""
    w = ptr32(work)
    b = ptr8(buf)
    mean = (mean - 1) >> 9
    k = 0
    while mean > 0:
        mean >>= 1
        k += 1
    mean = residual << 1
    if mean < 0:
        mean = -1 - mean
    q = mean >> k
    if q >= QUOTIENT_MAX:
        return int(put(0, 0, 0, (1 << QUOTIENT_MAX) - 1, QUOTIENT_MAX, work, buf))
    mean &= (1 << k) - 1
    fill = w[FILL] + q + 1 + k
    if fill > 29:
        put(0, 0, 0, ((1 << q) - 1) << 1, q + 1, work, buf)
        put(0, 0, 0, mean, k, work, buf)
        return 1
    mean |= ((w[HELD] << q | (1 << q) - 1) << 1) << k
    i = w[AT]
    while fill > 7:
        fill -= 8
        b[i] = (mean >> fill) & 255
        i += 1
    w[HELD] = mean & ((1 << fill) - 1)
    w[FILL] = fill
    w[AT] = i
    return 1
