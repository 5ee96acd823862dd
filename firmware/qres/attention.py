"""Attention in integers: over the modalities of a node that just spiked, and over predictors by what they lost.

Units as in `qres.regression`: standardized changes Q8, predictions Q12, weights Q16.16.  Arguments said to be work may
have any value.  Imported only by predictors that need it.
"""

from qres.compat import const, kernel, ptr32

SPIKE_Q4 = const(36)  # square of the deviations that are a spike: 1.5, Q4
INNOVATION_MAX = const(2047)  # eight scales, and eight deviations
VARIANCE_START = const(0x800000)  # one scale squared, Q23
_NONE = const(-0x3FFFFFFF)  # as MISSING: constants of other modules do not fold
_WEIGHT_MAX = const(0xFFFF)
_AHEAD_MAX = const(0xFFF0)


@kernel
def spikes(i: int, e: int, v: int, count: int, errors: object, variances: object, z: object) -> int:
    """z[i] = errors[i] in standard deviations, Q8, where it is a spike, else 0; then the variances learn.

    Errors are Q8 or MISSING, variances Q23 over about 128 samples; a surprise counts as five deviations at most.  `i`,
    `e` and `v` are work.  Returns how many spiked.
    """
    x = ptr32(errors)
    s = ptr32(variances)
    o = ptr32(z)
    found = 0
    i = 0
    while i < count:
        e = x[i]
        o[i] = 0
        if e != _NONE:
            if e > INNOVATION_MAX:
                e = INNOVATION_MAX
            elif e < -INNOVATION_MAX:
                e = -INNOVATION_MAX
            v = s[i] >> 7
            square = e * e
            if square << 4 > SPIKE_Q4 * v:
                root = 0
                bit = 1024
                while bit:
                    if (root + bit) * (root + bit) <= v:
                        root += bit
                    bit >>= 1
                if root < 1:
                    root = 1
                e = (e << 8) // root
                if e > INNOVATION_MAX:
                    e = INNOVATION_MAX
                elif e < -INNOVATION_MAX:
                    e = -INNOVATION_MAX
                o[i] = e
                found += 1
            v = v * 25 + 1
            if square > v:
                square = v
            if square > 0x3FFFFF:
                square = 0x3FFFFF
            s[i] += ((square << 7) - s[i] + 64) >> 7
        i += 1
    return found


@kernel
def attend(i: int, at: int, e: int, count: int, z: object, who: object, logits: object) -> int:
    """List the modalities that spiked: their numbers, and their |z| as Q16.16 logits of a softmax.

    `i`, `at` and `e` are work.  Returns how many they are.
    """
    x = ptr32(z)
    w = ptr32(who)
    o = ptr32(logits)
    at = 0
    i = 0
    while i < count:
        e = x[i]
        if e != 0:
            if e < 0:
                e = -e
            w[at] = i
            o[at] = e << 8
            at += 1
        i += 1
    return at


@kernel
def cross(
    i: int,
    j: int,
    total: int,
    count: int,
    spiking: int,
    z: object,
    who: object,
    shares: object,
    weights: object,
    ahead: object,
) -> int:
    """Add to each of `count` predictions what the spiking modalities say, weighted by their shares of attention.

    Row i of the weights is what modality i means for each.  The shares become shares * z, Q12.  `i`, `j` and `total`
    are work.  Returns 0.
    """
    x = ptr32(z)
    n = ptr32(who)
    a = ptr32(shares)
    w = ptr32(weights)
    y = ptr32(ahead)
    i = 0
    while i < spiking:
        a[i] = (a[i] * x[n[i]]) >> 12
        i += 1
    j = 0
    while j < count:
        total = 0
        i = 0
        while i < spiking:
            total += ((w[n[i] * count + j] >> 2) * a[i]) >> 10  # 2^14 * 2^15 >> 10, 15 times: below 2^23
            i += 1
        total = y[j] + ((total + 8) >> 4)
        if total > _AHEAD_MAX:
            total = _AHEAD_MAX
        elif total < -_AHEAD_MAX:
            total = -_AHEAD_MAX
        y[j] = total
        j += 1
    return 0


@kernel
def credit(
    i: int,
    at: int,
    moved: int,
    count: int,
    spiking: int,
    rate: int,
    who: object,
    gated: object,
    errors: object,
    weights: object,
) -> int:
    """Normalised LMS for the weights of `cross`: `gated` is what it made of the shares; `rate` Q16, up to 1,311.

    `i`, `at` and `moved` are work.  Returns 0.
    """
    n = ptr32(who)
    a = ptr32(gated)
    e = ptr32(errors)
    w = ptr32(weights)
    norm = 410
    i = 0
    while i < spiking:
        norm += (a[i] * a[i]) >> 12
        i += 1
    gain = (rate << 12) // norm
    j = 0
    while j < count:
        error = e[j]
        if error != _NONE:
            if error > INNOVATION_MAX:
                error = INNOVATION_MAX
            elif error < -INNOVATION_MAX:
                error = -INNOVATION_MAX
            i = 0
            while i < spiking:
                at = n[i] * count + j
                moved = w[at] + (((((error * a[i]) >> 12) * gain) + 128) >> 8)
                if moved > _WEIGHT_MAX:
                    moved = _WEIGHT_MAX
                elif moved < -_WEIGHT_MAX:
                    moved = -_WEIGHT_MAX
                w[at] = moved
                i += 1
        j += 1
    return 0


@kernel
def account(i: int, k: int, at: int, count: int, experts: int, changes: object, ahead: object, losses: object) -> int:
    """Discounted squared error of `experts` predictors, over about 128 samples, of `count` channels; Q12.

    ahead[k * count + i] is what expert k said of channel i, losses[i * experts + k] what it lost.  `i`, `k` and `at`
    are work.  Returns 0.
    """
    y = ptr32(changes)
    p = ptr32(ahead)
    s = ptr32(losses)
    i = 0
    while i < count:
        if y[i] != _NONE:
            at = i
            k = i * experts
            last = k + experts
            while k < last:
                error = ((p[at] + 8) >> 4) - y[i]
                if error > INNOVATION_MAX:
                    error = INNOVATION_MAX
                elif error < -INNOVATION_MAX:
                    error = -INNOVATION_MAX
                s[k] += ((error * error) >> 4) - ((s[k] + 64) >> 7)
                at += count
                k += 1
        i += 1
    return 0


@kernel
def judge(k: int, loss: int, least: int, first: int, experts: int, losses: object, logits: object) -> int:
    """Logits (Q16.16) of `experts` predictors from losses[first..]: 64 for each loss of what the first one lost.

    The first is the baseline, persistence.  `k`, `loss` and `least` are work.  Returns 0.
    """
    s = ptr32(losses)
    o = ptr32(logits)
    least = s[first]
    k = 1
    while k < experts:
        if s[first + k] < least:
            least = s[first + k]
        k += 1
    base = s[first]
    shift = 0
    while base >= 0x80000:
        base >>= 1
        shift += 1
    if base < 1:
        base = 1
    k = 0
    while k < experts:
        loss = (s[first + k] - least) >> shift
        if loss > base >> 2:
            loss = base >> 2
        o[k] = -((loss << 12) // base) << 10
        k += 1
    return 0


@kernel
def blend(
    k: int, total: int, at: int, channel: int, count: int, experts: int, shares: object, ahead: object, out: object
) -> int:
    """out[channel] = sum over experts of shares[k] * ahead[k * count + channel]; `k`, `total` and `at` are work.

    Returns 0.
    """
    a = ptr32(shares)
    p = ptr32(ahead)
    o = ptr32(out)
    total = 2048
    at = channel
    k = 0
    while k < experts:
        total += (a[k] >> 2) * (p[at] >> 2)
        at += count
        k += 1
    o[channel] = total >> 12
    return 0
