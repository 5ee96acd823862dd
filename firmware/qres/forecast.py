"""Kernels of the packets' predictor: a channel's own last changes, the news of the channels before it, simple rules.

Both ends run it in step, so it adapts inside a packet.  Units: predictions and errors in 1/16 LSB, means in 1/512 LSB.
Machine code keeps the first three parameters in registers: those that loops change come first.
"""

from qres.compat import const, kernel, ptr16, ptr32

# A channel in `ints`, array('i').
COUNT = const(0)  # values seen, at most order + 1
SEEN = const(1)  # changes that the means hold, at most 255
MEANS = const(2)  # mean |error| over the last 4 values, over the last 24; mean |change| over the last 16
SLOW = const(3)
LOSS = const(4)  # 4: mean |error| of no change (as above), of the same change, of the same bend, of the own prediction
NEWS = const(8)  # last error in scales, Q8, for the channels that follow
_SHIFT = const(9)  # of the history: how far to shift so that each change fits 12 bits
_NORM = const(10)  # sum of the squares of what that gives, and 1
_OWN = const(11)  # prediction from the own history alone
MU = const(12)  # prediction
DELTAS = const(13)  # last changes, newest first

NEIGHBOURS = const(2)  # channels before that give news
_FAR = const(0x10000000)  # bound of predictions
_ERROR_MAX = const(0x1000000)  # errors count up to 2^20 LSB
CHANGE_MAX = const(0xFFFFFF)  # of what the kernels take


@kernel
def predict(
    x: int, i: int, weights: int, at: int, order: int, before: int, stride: int, ints: object, words: object
) -> int:
    """Predict the next change of the channel ints[at..] with words[weights..] (signed, Q14): MU, which it returns.

    The weights are on `order` changes, then on the news of the `before` channels before, `stride` items apart.
    """
    n = ptr32(ints)
    h = ptr16(words)
    top = 0
    i = at + DELTAS
    end = i + order
    while i < end:
        x = n[i]
        if x < 0:
            x = -x
        if x > top:
            top = x
        i += 1
    shift = 0
    while top >= 4096:
        top >>= 1
        shift += 1
    total = 128
    norm = 1
    i = at + DELTAS
    while i < end:
        x = n[i] >> shift
        norm += x * x
        weight = h[weights]
        if weight > 32767:
            weight -= 65536
        total += (weight * x) >> 2
        weights += 1
        i += 1
    total >>= 8
    limit = _FAR >> shift
    if total > limit:
        total = limit
    elif total < -limit:
        total = -limit
    n[at + _SHIFT] = shift
    n[at + _NORM] = norm
    n[at + _OWN] = total << shift
    return int(correct(weights, at, 0, before, stride, ints, words))


@kernel
def correct(weights: int, at: int, news: int, before: int, stride: int, ints: object, words: object) -> int:
    """Add what the news of the channels before say, weighed with words[weights..], then `blend`: MU."""
    n = ptr32(ints)
    h = ptr16(words)
    i = at + NEWS
    while before > 0:
        i -= stride
        weight = h[weights]
        if weight > 32767:
            weight -= 65536
        news += (weight * n[i]) >> 8
        weights += 1
        before -= 1
    total = n[at + _OWN]
    if news != 0:
        mean = n[at + SLOW]
        up = 0
        while mean >= 8192:
            mean >>= 1
            up += 1
        total += ((news * mean) >> 17) << up
        if total > _FAR:
            total = _FAR
        elif total < -_FAR:
            total = -_FAR
    return int(blend(0, 0, at + LOSS, total, at, ints))


@kernel
def blend(share: int, x: int, i: int, own: int, at: int, ints: object) -> int:
    """Weigh the prediction `own` with simple ones by their losses ints[i..] to the power -4: MU, which it returns."""
    n = ptr32(ints)
    best = n[i]
    x = n[i + 1]
    if x < best:
        best = x
    x = n[i + 2]
    if x < best:
        best = x
    x = n[i + 3]
    if x < best:
        best = x
    best += 1
    total = 1
    moved = 0
    shift = n[at + _SHIFT]
    other = 0  # the simple predictions in turn, each a step from the one before it
    step = n[at + DELTAS] << 4
    bend = step - (n[at + DELTAS + 1] << 4)
    back = own - step - bend
    end = i + 4
    while i < end:
        x = n[i] + 1
        i += 1
        if x >> 2 < best:  # else the share is 0
            share = 64
            if x > best:
                share = best
                while x >= 262144:
                    x >>= 1
                    share >>= 1
                share = (share << 10) // x
                share = (share * share) >> 10
                share = (share * share) >> 14
            total += share
            x = (other - own) >> shift
            if x > 2097151:
                x = 2097151
            elif x < -2097151:
                x = -2097151
            moved += share * x
        other += step
        step = bend
        bend = back
        back = 0
    own += (moved // total) << shift
    if own > _FAR:
        own = _FAR
    elif own < -_FAR:
        own = -_FAR
    n[at + MU] = own
    return own


@kernel
def learn(
    weights: int, at: int, order: int, before: int, stride: int, rate: int, change: int, ints: object, words: object
) -> int:
    """Adapt means, weights and history of a channel to its `change`, after `predict`; `rate` in Q10.  Returns 0."""
    n = ptr32(ints)
    h = ptr16(words)
    news = int(standardize(n[at + SLOW], (change << 4) - n[at + MU]))
    n[at + NEWS] = news
    i = at + NEWS
    other = weights + order
    while before > 0:
        i -= stride
        weight = h[other]
        if weight > 32767:
            weight -= 65536
        weight += (news * n[i]) >> 12
        if weight > 8191:
            weight = 8191
        elif weight < -8191:
            weight = -8191
        h[other] = weight & 65535
        other += 1
        before -= 1
    measure(0, 0, 0, at, change, ints)
    follow(weights, 0, 0, order, rate, at, change, ints, words)
    if n[at + COUNT] <= order:
        n[at + COUNT] += 1
    return 0


@kernel
def measure(error: int, x: int, i: int, at: int, change: int, ints: object) -> int:
    """Take the errors of all predictions of a `change` into the running means.  Returns 0."""
    n = ptr32(ints)
    seen = n[at + SEEN]
    if seen < 255:
        n[at + SEEN] = seen + 1
    most = 1 + (seen if seen < 16 else 16)
    change <<= 4
    i = at + LOSS
    end = i + 4
    other = 0  # what they said in turn, each a step from the one before it
    step = n[at + DELTAS] << 4
    bend = step - (n[at + DELTAS + 1] << 4)
    back = n[at + _OWN] - step - bend
    while i < end:
        error = change - other
        if error < 0:
            error = -error
        if error > _ERROR_MAX:
            error = _ERROR_MAX
        x = n[i]
        n[i] = x + ((error << 5) - x) // most
        other += step
        step = bend
        bend = back
        back = 0
        i += 1
    error = change - n[at + MU]
    if error < 0:
        error = -error
    if error > _ERROR_MAX:
        error = _ERROR_MAX
    error <<= 5
    x = n[at + MEANS]
    n[at + MEANS] = x + (error - x) // (1 + (seen if seen < 4 else 4))
    x = n[at + SLOW]
    n[at + SLOW] = x + (error - x) // (1 + (seen if seen < 24 else 24))
    return 0


@kernel
def standardize(mean: int, error: int) -> int:
    """An error in units of the scale `mean`, Q8, within +-1023."""
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
def follow(
    weights: int, i: int, x: int, order: int, rate: int, at: int, change: int, ints: object, words: object
) -> int:
    """Normalised LMS on the last changes, which then move on by one.  Returns 0."""
    n = ptr32(ints)
    h = ptr16(words)
    shift = n[at + _SHIFT]
    x = ((change << 4) - n[at + _OWN]) >> shift
    if x > 131071:
        x = 131071
    elif x < -131071:
        x = -131071
    gain = (x << 10) // n[at + _NORM] if n[at + COUNT] > 1 else 0
    i = at + DELTAS
    end = i + order
    while i < end:
        x = n[i]
        n[i] = change
        change = x
        x = (((gain * (x >> shift)) >> 7) * rate + 4) >> 3
        x += h[weights]
        if h[weights] > 32767:
            x -= 65536
        if x > 32767:
            x = 32767
        elif x < -32767:
            x = -32767
        h[weights] = x & 65535
        weights += 1
        i += 1
    if order == 1:  # the same bend takes two
        n[i] = change
    return 0
