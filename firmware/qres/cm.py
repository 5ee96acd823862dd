"""Kernels of the context-mixing coder `cm`: each change of a value as binary decisions in an arithmetic code.

A change is coded as zero or not, its sign, the class of its size (exponential Golomb) and the bits below.  Three
logistic distributions (around the prediction with a fast and a slow scale, around no change) and two adaptive contexts
give each decision's probability; a logistic mixer weighs them online (Mahoney 2005).  Units: predictions in 1/16 LSB,
scales in 1/512 LSB, logits in 1/256.

What costs time on the chip shapes the text: machine code keeps the first three parameters in registers, so `x`, `y` and
`i` come first even where a kernel only uses them as locals; constant indexes cost half of others, so some loops are
unrolled; a power of two takes one instruction less than the number below it; a call costs as much as 20 lines.
"""

from array import array

from qres.compat import const, kernel, ptr16, ptr32
from qres.rangecoder import code

# The scratch buffer `work`, array('i'); the first 6 items are the range coder's.
RATE = const(6)  # of the mixer: shift, 12 or 13
MU = const(7)  # prediction of the change
# For each distribution, three items in a row.  A probability is a whole number of 65536.
_CENTRE = const(8)  # of the distances on the side that is coded
_NEAR = const(11)  # a distance within _FLOOR to _NEAR - 1 is neither sure to be passed nor out of reach
_FLOOR = const(14)
_FAR = const(17)  # right shift of a distance so that it fits 12 bits
_INVERSE = const(20)  # reciprocal of the scale
_DOWN = const(23)  # right shift of their product
_UPPER = const(26)  # probability that the size is at least the lower bound of what is still possible
_MIDDLE = const(29)  # that it is at least the bound of this decision
_LOWER = const(32)  # that it is at least the upper bound
_RISING = const(35)  # of a change of at least 1
_LOGIT = const(38)  # 5: inputs of the mixer
_CONTEXT = const(43)  # 2: indexes into words
WORK = const(45)

# `words`, array('H'): weights of the mixer (Q14, plus 32768), then contexts for all channels, by the usual size of
# changes; for each channel contexts by the last changes.  A context is a probability (Q12) and a count (4 bits).
_INPUTS = const(5)
MIXER = const(35)  # 7 sets of them
SHARED = const(16)
OWN = const(18)
START = (  # of the mixer, Q6: what it comes to on sensors of many kinds
    b"\x18\x16\x01\x06\x09\x2f\x06\x0a\xfa\x0c\x1b\x12\x09\xff\x09\x0f\x17\x06"
    b"\x08\x06\x11\x0f\x04\x0d\x03\x1a\x06\x06\x11\xff\x0b\x03\x07\x01\x10"
)

# `tables`, array('H').
_SQUASH = const(0)  # 129: 65536 / (1 + exp(-x)) for x of -8 to 8
_TEMPO = const(129)  # 16: 65536 * 2 / (2 n + 3)
_LN = const(145)  # 257: 256 ln(2 i + 1)
_LN_16 = const(710)
_TABLES = const(402)
_SURE = const(65513)  # what _SQUASH gives at its ends
_NONE = const(22)

_CLASSES = const(24)  # a change of 2^24 or more is an escape
ESCAPED = const(0x1000000)


@kernel
def decide(x: int, y: int, at: int, bit: int, work: object, words: object, tables: object, buf: object) -> int:
    """Code one decision and learn from it: is the size below the bound that _MIDDLE stands for?  The bit.

    words[at..]: weights of the mixer, words[x] and words[y]: contexts.
    """
    w = ptr32(work)
    h = ptr16(words)
    t = ptr16(tables)
    first = x
    second = y
    w[_CONTEXT] = x
    w[_CONTEXT + 1] = y
    y = w[_MIDDLE]
    x = w[_UPPER] - y
    y -= w[_LOWER]
    x = t[_LN + (x >> 8)] + _LN_16 if x >= 4096 else t[_LN + (x >> 4)]
    x -= t[_LN + (y >> 8)] + _LN_16 if y >= 4096 else t[_LN + (y >> 4)]
    w[_LOGIT] = x
    dot = (h[at] - 32768) * x
    y = w[_MIDDLE + 1]
    x = w[_UPPER + 1] - y
    y -= w[_LOWER + 1]
    x = t[_LN + (x >> 8)] + _LN_16 if x >= 4096 else t[_LN + (x >> 4)]
    x -= t[_LN + (y >> 8)] + _LN_16 if y >= 4096 else t[_LN + (y >> 4)]
    w[_LOGIT + 1] = x
    dot += (h[at + 1] - 32768) * x
    y = w[_MIDDLE + 2]
    x = w[_UPPER + 2] - y
    y -= w[_LOWER + 2]
    x = t[_LN + (x >> 8)] + _LN_16 if x >= 4096 else t[_LN + (x >> 4)]
    x -= t[_LN + (y >> 8)] + _LN_16 if y >= 4096 else t[_LN + (y >> 4)]
    w[_LOGIT + 2] = x
    dot += (h[at + 2] - 32768) * x
    x = h[first] & 65520
    y = 65536 - x
    x = t[_LN + (x >> 8)] + _LN_16 if x >= 4096 else t[_LN + (x >> 4)]
    x -= t[_LN + (y >> 8)] + _LN_16 if y >= 4096 else t[_LN + (y >> 4)]
    w[_LOGIT + 3] = x
    dot += (h[at + 3] - 32768) * x
    x = h[second] & 65520
    y = 65536 - x
    x = t[_LN + (x >> 8)] + _LN_16 if x >= 4096 else t[_LN + (x >> 4)]
    x -= t[_LN + (y >> 8)] + _LN_16 if y >= 4096 else t[_LN + (y >> 4)]
    w[_LOGIT + 4] = x
    dot += (h[at + 4] - 32768) * x
    x = (dot >> 14) + 2048
    x = 4095 if x > 4095 else 1 if x < 1 else x
    y = x >> 5
    x &= 31
    dot = t[y]
    y = (dot + (((t[y + 1] - dot) * x) >> 5)) >> 2
    y = 16360 if y > 16360 else 24 if y < 24 else y
    bit = int(code(bit, y, work, buf))
    adapt(((bit << 14) - y) >> 2, 0, at, work, words, tables)
    return bit


@kernel
def adapt(error: int, x: int, at: int, work: object, words: object, tables: object) -> int:
    """Learn from a decision by the mixer words[at..]: `error` is the outcome less its probability, Q12.  Returns 0.

    What is still possible shrinks by the outcome.
    """
    w = ptr32(work)
    h = ptr16(words)
    t = ptr16(tables)
    rate = w[RATE]
    half = 1 << (rate - 1)
    x = h[at] + ((error * w[_LOGIT] + half) >> rate)
    h[at] = 65535 if x >= 65536 else 1 if x < 1 else x
    at += 1
    x = h[at] + ((error * w[_LOGIT + 1] + half) >> rate)
    h[at] = 65535 if x >= 65536 else 1 if x < 1 else x
    at += 1
    x = h[at] + ((error * w[_LOGIT + 2] + half) >> rate)
    h[at] = 65535 if x >= 65536 else 1 if x < 1 else x
    at += 1
    x = h[at] + ((error * w[_LOGIT + 3] + half) >> rate)
    h[at] = 65535 if x >= 65536 else 1 if x < 1 else x
    at += 1
    x = h[at] + ((error * w[_LOGIT + 4] + half) >> rate)
    h[at] = 65535 if x >= 65536 else 1 if x < 1 else x
    at = w[_CONTEXT]
    x = h[at]
    count = x & 15
    x >>= 4
    if error > 0:
        x += ((4095 - x) * t[_TEMPO + count]) >> 16
    else:
        x -= (x * t[_TEMPO + count]) >> 16
    x = 4091 if x > 4091 else 4 if x < 4 else x
    h[at] = x << 4 | (count + 1 if count < 12 else 12)
    at = w[_CONTEXT + 1]
    x = h[at]
    count = x & 15
    x >>= 4
    if error > 0:
        x += ((4095 - x) * t[_TEMPO + count]) >> 16
    else:
        x -= (x * t[_TEMPO + count]) >> 16
    x = 4091 if x > 4091 else 4 if x < 4 else x
    h[at] = x << 4 | (count + 1 if count < 12 else 12)
    at = _LOWER if error > 0 else _UPPER
    w[at] = w[_MIDDLE]
    w[at + 1] = w[_MIDDLE + 1]
    w[at + 2] = w[_MIDDLE + 2]
    return 0


@kernel
def survival(x: int, y: int, work: object, tables: object) -> int:
    """For each distribution the probability of a change of at least `x` (1/16 LSB), into _MIDDLE.  Returns 0."""
    w = ptr32(work)
    t = ptr16(tables)
    bound = x
    x = w[_CENTRE] - bound
    if x >= w[_NEAR]:
        y = _SURE
    elif x < w[_FLOOR]:
        y = _NONE
    else:
        x = (((x >> w[_FAR]) * w[_INVERSE]) >> w[_DOWN]) + 2048
        y = t[x >> 5]
        y += ((t[(x >> 5) + 1] - y) * (x & 31)) >> 5
    w[_MIDDLE] = y
    x = w[_CENTRE + 1] - bound
    if x >= w[_NEAR + 1]:
        y = _SURE
    elif x < w[_FLOOR + 1]:
        y = _NONE
    else:
        x = (((x >> w[_FAR + 1]) * w[_INVERSE + 1]) >> w[_DOWN + 1]) + 2048
        y = t[x >> 5]
        y += ((t[(x >> 5) + 1] - y) * (x & 31)) >> 5
    w[_MIDDLE + 1] = y
    x = w[_CENTRE + 2] - bound
    if x >= w[_NEAR + 2]:
        y = _SURE
    elif x < w[_FLOOR + 2]:
        y = _NONE
    else:
        x = (((x >> w[_FAR + 2]) * w[_INVERSE + 2]) >> w[_DOWN + 2]) + 2048
        y = t[x >> 5]
        y += ((t[(x >> 5) + 1] - y) * (x & 31)) >> 5
    w[_MIDDLE + 2] = y
    return 0


@kernel
def scale(mean: int, i: int, down: int, work: object, ints: object, means: int) -> int:
    """Set up the distributions by the three mean errors ints[means..]; the class of a usual change."""
    w = ptr32(work)
    n = ptr32(ints)
    i = 0
    while i < 3:
        mean = n[means + i]
        if mean < 8:
            mean = 8
        down = -5
        while mean > 8191:
            mean >>= 4
            down += 4
        while mean > 511:
            mean >>= 1
            down += 1
        w[_INVERSE + i] = 1454080 // mean  # 2 ln 2 times 256 and 4096, over the mean
        mean *= 23  # a quarter of it is where _SQUASH ends, almost: at 8 times the scale
        if down < 0:
            mean >>= 2 - down
            w[_NEAR + i] = mean
            w[_FLOOR + i] = -mean
            w[_FAR + i] = 0
            w[_DOWN + i] = 12 + down
        else:
            mean = mean >> 2 << down
            w[_NEAR + i] = mean
            w[_FLOOR + i] = -mean
            w[_FAR + i] = down
            w[_DOWN + i] = 12
        i += 1
    i = 0
    mean = n[means + 2] >> 9
    while mean > 15:
        mean >>= 4
        i += 4
    while mean > 0:
        mean >>= 1
        i += 1
    return i


@kernel
def symbol(
    work: object, words: object, tables: object, buf: object, own: int, usual: int, d0: int, d1: int, change: int
) -> int:
    """Code `change`, within +-2^24, of a channel whose contexts are words[own..]; the change, or ESCAPED.

    `usual`: what `scale` told; `d0`, `d1`: the last changes.  work[MU] is set.
    """
    w = ptr32(work)
    w[_CENTRE] = -w[MU]
    w[_CENTRE + 1] = -w[MU]
    w[_CENTRE + 2] = 0
    survival(8, 0, work, tables)
    w[_UPPER] = w[_MIDDLE]
    w[_UPPER + 1] = w[_MIDDLE + 1]
    w[_UPPER + 2] = w[_MIDDLE + 2]
    w[_CENTRE] = w[MU]
    w[_CENTRE + 1] = w[MU]
    survival(8, 0, work, tables)
    j = 0
    while j < 3:
        rising = w[_MIDDLE + j]
        w[_RISING + j] = rising
        w[_MIDDLE + j] = rising + w[_UPPER + j]
        w[_UPPER + j] = 65536
        w[_LOWER + j] = 0
        j += 1
    at = own + (1 if d0 == 0 else 0) + (2 if d1 == 0 else 0)
    if int(decide(MIXER + (usual if usual < 3 else 3), at, 0, 1 if change == 0 else 0, work, words, tables, buf)):
        return 0
    w[_MIDDLE] = w[_RISING]
    w[_MIDDLE + 1] = w[_RISING + 1]
    w[_MIDDLE + 2] = w[_RISING + 2]
    at = own + 4 + (0 if d0 == 0 else 1 if d0 > 0 else 2)
    negative = int(decide(MIXER + 4, at, _INPUTS, 1 if change < 0 else 0, work, words, tables, buf))
    if negative:
        w[_CENTRE] = -w[MU]
        w[_CENTRE + 1] = -w[MU]
        j = 0
        while j < 3:
            w[_UPPER + j] -= w[_LOWER + j]
            w[_LOWER + j] = 0
            j += 1
    if change < 0:
        change = -change
    if d0 < 0:
        d0 = -d0
    last = 0
    while d0 > 15:
        d0 >>= 4
        last += 4
    while d0 > 0:
        d0 >>= 1
        last += 1
    size = int(magnitude(usual, last, own + 7, change, work, words, tables, buf))
    return -size if negative and size < ESCAPED else size


@kernel
def magnitude(x: int, y: int, at: int, size: int, work: object, words: object, tables: object, buf: object) -> int:
    """Code a size of at least 1, by contexts words[at..]: its class, then its bits; or ESCAPED.

    The class counts from that of a usual change, `x`, and that of the last one, `y`.
    """
    usual = x
    last = y
    own = at
    first = usual - 3 if usual > 3 else 0  # few are far below the usual one: begin near it
    power = first
    end = _CLASSES
    while power < end:
        survival((32 << power) - 8, 0, work, tables)
        x = power - usual
        at = 3 * _INPUTS
        if x < 0:
            at = 2 * _INPUTS
            if x < -2:
                x = -2
        elif x > 0:
            at = 4 * _INPUTS
            if x > 3:
                x = 3
        x += MIXER + 7
        y = power - last
        if y < -2:
            y = -2
        elif y > 3:
            y = 3
        y += own + 2
        if int(decide(x, y, at, 1 if size < (2 << power) else 0, work, words, tables, buf)) == 0:
            power += 1
        elif power == first and end == _CLASSES:
            end = first
            power = 0
        else:
            break
    if power == _CLASSES:
        return ESCAPED
    bit = 0
    value = 1
    row = power if power < 4 else 4
    place = power
    while place > 0:
        place -= 1
        bit = 1 - ((size >> place) & 1)
        if place < power - 3 and (place > 0 or power > 6):
            bit = int(code(bit, 8192, work, buf))
        else:
            survival(((value * 2 + 1) << (place + 4)) - 8, 0, work, tables)
            at = _INPUTS * (6 if place == 0 else 5)
            x = MIXER + (10 + row if place == power - 1 else 15)
            y = own + (5 + row if place == 0 else 10)
            bit = int(decide(x, y, at, bit, work, words, tables, buf))
        value = value << 1 | (1 - bit)
    return value


def make_tables() -> "array[int]":
    """The `tables` of the kernels."""
    t = array("H", [0] * _TABLES)
    power = 1 << 30  # exp(-i / 8)
    for i in range(65):
        t[64 + i] = min((1 << 46) // ((1 << 30) + power), 65535)
        t[64 - i] = 65536 - (1 << 46) // ((1 << 30) + power) if i else 32768
        power = power * 947573834 >> 30
    t[_LN + 1] = 281
    ln = 281 << 12
    for i in range(2, 257):
        ln += (1 << 20) // i + (1 << 20) // (12 * i**3)  # of 2 atanh(1 / 2 i), as a series
        t[_LN + i] = (ln + 2048) >> 12
    for i in range(16):
        t[_TEMPO + i] = 131072 // (2 * i + 3)
    return t
