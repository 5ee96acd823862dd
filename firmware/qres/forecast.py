"""Kernels of the packets' predictor: a channel's own last changes, the news of the channels before it, simple rules.

Both ends run it in step, so it adapts inside a packet.  Units: predictions and errors in 1/16 LSB, means in 1/512 LSB.
"""

from qres.compat import const, kernel, ptr16, ptr32

# A channel in `ints`, array('i').
COUNT = const(0)  # values seen, at most order + 1
SEEN = const(1)  # changes that the means hold, at most 255
MEANS = const(2)  # mean |error| over the last 4 values, over the last 24; mean |change| over the last 16
SLOW = const(3)
LOSS = const(5)  # 4: mean |error| of the own prediction, of none, of the same change again, of the same bend
NEWS = const(9)  # last error in scales, Q8, for the channels that follow
_SHIFT = const(10)  # of the history: how far to shift so that each change fits 12 bits
_OWN = const(11)  # prediction from the own history alone
MU = const(12)  # prediction
DELTAS = const(13)  # last changes, newest first

NEIGHBOURS = const(2)  # channels before that give news
_FAR = const(0x10000000)  # bound of predictions
_ERROR_MAX = const(0x1000000)  # errors count up to 2^20 LSB
CHANGE_MAX = const(0xFFFFFF)  # of what the kernels take


@kernel
def predict(ints: object, words: object, at: int, weights: int, order: int, before: int, stride: int) -> int:
    """Predict the next change of the channel ints[at..] with words[weights..] (signed, Q14): MU, which it returns.

    The weights are on `order` changes, then on the news of the `before` channels before, `stride` items apart.
    """
    n = ptr32(ints)
    h = ptr16(words)
    top = 0
    for i in range(order):
        size = n[at + DELTAS + i]
        if size < 0:
            size = -size
        if size > top:
            top = size
    shift = 0
    while top >= 4096:
        top >>= 1
        shift += 1
    total = 128
    for i in range(order):
        weight = h[weights + i]
        if weight > 32767:
            weight -= 65536
        total += (weight * (n[at + DELTAS + i] >> shift)) >> 2
    total >>= 8
    limit = _FAR >> shift
    if total > limit:
        total = limit
    elif total < -limit:
        total = -limit
    n[at + _SHIFT] = shift
    n[at + _OWN] = total << shift
    news = 0
    for i in range(before):
        weight = h[weights + order + i]
        if weight > 32767:
            weight -= 65536
        news += (weight * n[at - (i + 1) * stride + NEWS]) >> 8
    mean = n[at + SLOW]
    up = 0
    while mean >= 8192:
        mean >>= 1
        up += 1
    total = n[at + _OWN] + (((news * mean) >> 17) << up)
    if total > _FAR:
        total = _FAR
    elif total < -_FAR:
        total = -_FAR
    return int(blend(ints, at, total))


@kernel
def blend(ints: object, at: int, own: int) -> int:
    """Weigh the prediction `own` with simple ones by their losses to the power -4: MU, which it returns."""
    n = ptr32(ints)
    best = n[at + LOSS]
    for j in range(1, 4):
        if n[at + LOSS + j] < best:
            best = n[at + LOSS + j]
    total = 1
    moved = 0
    for j in range(4):
        a = best + 1
        b = n[at + LOSS + j] + 1
        while b >= 262144:
            b >>= 1
            a >>= 1
        share = (a << 10) // b
        share = (share * share) >> 10
        share = (share * share) >> 14
        total += share
        if j > 0:
            other = 0
            if j == 2:
                other = n[at + DELTAS] << 4
            elif j == 3:
                other = (2 * n[at + DELTAS] - n[at + DELTAS + 1]) << 4
            other = (other - own) >> n[at + _SHIFT]
            if other > 2097151:
                other = 2097151
            elif other < -2097151:
                other = -2097151
            moved += share * other
    x = own + ((moved // total) << n[at + _SHIFT])
    if x > _FAR:
        x = _FAR
    elif x < -_FAR:
        x = -_FAR
    n[at + MU] = x
    return x


@kernel
def learn(
    ints: object, words: object, at: int, weights: int, order: int, before: int, stride: int, rate: int, change: int
) -> int:
    """Adapt means, weights and history of a channel to its `change`, after `predict`; `rate` in Q10.  Returns 0."""
    n = ptr32(ints)
    h = ptr16(words)
    news = int(standardize(ints, at, (change << 4) - n[at + MU]))
    for i in range(before):
        weight = h[weights + order + i]
        if weight > 32767:
            weight -= 65536
        weight += (news * n[at - (i + 1) * stride + NEWS]) >> 12
        if weight > 8191:
            weight = 8191
        elif weight < -8191:
            weight = -8191
        h[weights + order + i] = weight & 65535
    n[at + NEWS] = news
    if n[at + COUNT] > 1:
        follow(ints, words, at, weights, order, rate, ((change << 4) - n[at + _OWN]) >> n[at + _SHIFT])
    measure(ints, at, change)
    i = stride - DELTAS - 1
    while i > 0:
        n[at + DELTAS + i] = n[at + DELTAS + i - 1]
        i -= 1
    n[at + DELTAS] = change
    if n[at + COUNT] <= order:
        n[at + COUNT] += 1
    return 0


@kernel
def measure(ints: object, at: int, change: int) -> int:
    """Take the errors of all predictions of a `change` into the running means.  Returns 0."""
    n = ptr32(ints)
    seen = n[at + SEEN]
    for j in range(7):
        error = change << 4
        most = 16
        if j == 0:
            error -= n[at + MU]
            most = 4
        elif j == 1:
            error -= n[at + MU]
            most = 24
        elif j == 3:
            error -= n[at + _OWN]
        elif j == 5:
            error -= n[at + DELTAS] << 4
        elif j == 6:
            error -= (2 * n[at + DELTAS] - n[at + DELTAS + 1]) << 4
        if error < 0:
            error = -error
        if error > _ERROR_MAX:
            error = _ERROR_MAX
        if seen < most:
            most = seen
        n[at + MEANS + j] += ((error << 5) - n[at + MEANS + j]) // (most + 1)
    if seen < 255:
        n[at + SEEN] = seen + 1
    return 0


@kernel
def standardize(ints: object, at: int, error: int) -> int:
    """An error in units of the channel's slow scale, Q8, within +-1023."""
    n = ptr32(ints)
    mean = n[at + SLOW]
    if mean < 64:
        mean = 64
    up = 5
    while mean > 4095:
        mean >>= 1
        up -= 1
    sign = 1
    if error < 0:
        sign = -1
        error = -error
    if up >= 0:
        if error > 65535:
            error = 65535
        error <<= up
    else:
        error >>= -up
    if error > 65535:
        error = 65535
    error = (error << 8) // mean
    if error > 1023:
        error = 1023
    return sign * error


@kernel
def follow(ints: object, words: object, at: int, weights: int, order: int, rate: int, error: int) -> int:
    """Normalised LMS on the last changes: `error` in 1/16 of the shifted unit.  Returns 0."""
    n = ptr32(ints)
    h = ptr16(words)
    if error > 131071:
        error = 131071
    elif error < -131071:
        error = -131071
    norm = 1
    for i in range(order):
        d = n[at + DELTAS + i] >> n[at + _SHIFT]
        norm += d * d
    gain = (error << 10) // norm
    for i in range(order):
        weight = h[weights + i]
        if weight > 32767:
            weight -= 65536
        weight += (((gain * (n[at + DELTAS + i] >> n[at + _SHIFT])) >> 7) * rate + 4) >> 3
        if weight > 32767:
            weight = 32767
        elif weight < -32767:
            weight = -32767
        h[weights + i] = weight & 65535
    return 0
