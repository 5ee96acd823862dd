"""Kernels of the context-mixing coder `cm`: each change of a value as binary decisions in an arithmetic code.

A change is coded as zero or not, its sign, the class of its size (exponential Golomb) and the bits below.  Three
logistic distributions (around the prediction with a fast and a slow scale, around no change) and two adaptive contexts
give each decision's probability; a logistic mixer weighs them online (Mahoney 2005).  Units: predictions in 1/16 LSB,
scales in 1/512 LSB, logits in 1/256.
"""

from array import array

from qres.compat import const, kernel, ptr16, ptr32
from qres.rangecoder import code

# The scratch buffer `work`, array('i'); the first 6 items are the range coder's.
RATE = const(6)  # of the mixer: shift, 12 or 13
_SET = const(7)  # the mixer's weights for this decision, an index into words
_CONTEXT = const(8)  # 2: indexes into words
_ONE = const(10)  # 3: mass of the outcome 1, 0 to 65536
_OTHER = const(13)  # 3
_UPPER = const(16)  # 3: probability that the size is at least the lower bound of what is still possible
_LOWER = const(19)  # 3: that it is at least the upper bound
_DOWN = const(22)  # 3: right shift of a distance for each distribution; negative: left
_INVERSE = const(25)  # 3: reciprocal of its scale
_LOGIT = const(28)  # 5
_NEGATIVE = const(33)
MU = const(34)  # prediction of the change
WORK = const(35)

# `words`, array('H'): weights of the mixer (signed, Q14), then contexts for all channels, by the usual size of changes;
# for each channel contexts by the last changes.  A context is a probability (Q12) and a count (4 bits).
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
_LN = const(129)  # 128: 256 ln(i)
_TEMPO = const(257)  # 16: 65536 * 2 / (2 n + 3)
_TABLES = const(273)

_CLASSES = const(24)  # a change of 2^24 or more is an escape
ESCAPED = const(0x1000000)


@kernel
def decide(work: object, words: object, tables: object, buf: object, bit: int) -> int:
    """Code one decision under the mixed probability, and learn from it; the bit."""
    w = ptr32(work)
    h = ptr16(words)
    t = ptr16(tables)
    dot = 0
    for i in range(_INPUTS):
        if i < 3:
            x = w[_ONE + i]
            y = w[_OTHER + i]
        else:
            x = h[w[_CONTEXT + i - 3]] >> 4
            y = 4096 - x
        x = x + 1 if x > 0 else 1
        y = y + 1 if y > 0 else 1
        power = 0
        while x > 1023:
            x >>= 4
            power += 4
        if x > 255:
            x >>= 2
            power += 2
        if x > 127:
            x >>= 1
            power += 1
        while y > 1023:
            y >>= 4
            power -= 4
        if y > 255:
            y >>= 2
            power -= 2
        if y > 127:
            y >>= 1
            power -= 1
        logit = t[_LN + x] - t[_LN + y] + ((power * 45426) >> 8)
        w[_LOGIT + i] = logit
        weight = h[w[_SET] + i]
        if weight > 32767:
            weight -= 65536
        dot += weight * logit
    z = (dot >> 14) + 2048
    if z > 4095:
        z = 4095
    elif z < 1:
        z = 1
    p = (t[z >> 5] * (32 - (z & 31)) + t[(z >> 5) + 1] * (z & 31)) >> 7
    if p < 24:
        p = 24
    elif p > 16360:
        p = 16360
    bit = int(code(work, buf, bit, p))
    adapt(work, words, tables, ((bit << 14) - p) >> 2)
    return bit


@kernel
def adapt(work: object, words: object, tables: object, error: int) -> int:
    """Learn from a decision: `error` is the outcome less its probability, Q12.  Returns 0."""
    w = ptr32(work)
    h = ptr16(words)
    t = ptr16(tables)
    at = w[_SET]
    half = 1 << (w[RATE] - 1)
    for i in range(_INPUTS):
        weight = h[at + i]
        if weight > 32767:
            weight -= 65536
        weight += (error * w[_LOGIT + i] + half) >> w[RATE]
        if weight > 32767:
            weight = 32767
        elif weight < -32767:
            weight = -32767
        h[at + i] = weight & 65535
    for i in range(2):
        at = w[_CONTEXT + i]
        count = h[at] & 15
        p = h[at] >> 4
        if error > 0:
            p += ((4095 - p) * t[_TEMPO + count]) >> 16
        else:
            p -= (p * t[_TEMPO + count]) >> 16
        if p < 4:
            p = 4
        elif p > 4091:
            p = 4091
        if count < 12:
            count += 1
        h[at] = p << 4 | count
    return 0


@kernel
def part(work: object, tables: object, bound: int) -> int:
    """Split what is still possible at a change of `bound` (1/16 LSB) in the direction that _NEGATIVE tells.

    _ONE is for each distribution the probability of what lies below it, _OTHER of the rest.  Returns 0.
    """
    w = ptr32(work)
    t = ptr16(tables)
    mu = w[MU]
    if w[_NEGATIVE]:
        mu = -mu
    for j in range(3):
        x = -bound
        if j < 2:
            x += mu
        down = w[_DOWN + j]
        if down >= 0:
            x >>= down
        elif x < 4096 and x > -4096:
            x <<= -down
        if x > 4095:
            x = 4095
        elif x < -4095:
            x = -4095
        x = ((x * w[_INVERSE + j]) >> 12) + 2048
        if x > 4095:
            x = 4095
        elif x < 1:
            x = 1
        low = t[x >> 5]
        middle = low + (((t[(x >> 5) + 1] - low) * (x & 31)) >> 5)
        w[_ONE + j] = w[_UPPER + j] - middle
        w[_OTHER + j] = middle - w[_LOWER + j]
    return 0


@kernel
def scale(work: object, ints: object, means: int) -> int:
    """Set up the distributions by the three mean errors ints[means..]; the class of a usual change."""
    w = ptr32(work)
    n = ptr32(ints)
    mean = 0
    for j in range(3):
        mean = n[means + j]
        if mean < 8:
            mean = 8
        down = -5
        while mean > 511:
            mean >>= 1
            down += 1
        w[_DOWN + j] = down
        w[_INVERSE + j] = 1454080 // mean  # 2 ln 2 times 256 and 4096, over the mean
    size = 0
    mean = n[means + 2] >> 9
    while mean > 0:
        mean >>= 1
        size += 1
    return size


@kernel
def symbol(
    work: object, words: object, tables: object, buf: object, own: int, usual: int, d0: int, d1: int, change: int
) -> int:
    """Code `change`, within +-2^24, of a channel whose contexts are words[own..]; the change, or ESCAPED.

    `usual`: what `scale` told; `d0`, `d1`: the last changes.  work[MU] is set.
    """
    w = ptr32(work)
    for side in range(2):
        for j in range(3):
            w[_LOGIT + j] = w[_OTHER + j]
            w[_UPPER + j] = 65536
            w[_LOWER + j] = 0
        w[_NEGATIVE] = side
        part(work, tables, 8)
    for j in range(3):
        w[_UPPER + j] = w[_LOGIT + j]
        w[_LOWER + j] = w[_OTHER + j]
        w[_OTHER + j] += w[_UPPER + j]
        w[_ONE + j] = 65536 - w[_OTHER + j]
    w[_SET] = 0
    w[_CONTEXT] = MIXER + (usual if usual < 3 else 3)
    w[_CONTEXT + 1] = own + (1 if d0 == 0 else 0) + (2 if d1 == 0 else 0)
    if int(decide(work, words, tables, buf, 1 if change == 0 else 0)):
        return 0
    for j in range(3):
        w[_ONE + j] = w[_LOWER + j]
        w[_OTHER + j] = w[_UPPER + j]
    w[_SET] = _INPUTS
    w[_CONTEXT] = MIXER + 4
    w[_CONTEXT + 1] = own + 4 + (0 if d0 == 0 else 1 if d0 > 0 else 2)
    w[_NEGATIVE] = int(decide(work, words, tables, buf, 1 if change < 0 else 0))
    for j in range(3):
        if w[_NEGATIVE]:
            w[_UPPER + j] = w[_LOWER + j]
        w[_LOWER + j] = 0
    if change < 0:
        change = -change
    if d0 < 0:
        d0 = -d0
    last = 0
    while d0 > 0:
        d0 >>= 1
        last += 1
    size = int(magnitude(work, words, tables, buf, own + 7, usual, last, change))
    return -size if w[_NEGATIVE] and size < ESCAPED else size


@kernel
def keep(work: object, below: int) -> int:
    """What is still possible after a decision of `part`: the side `below` the bound, or the other.  Returns 0."""
    w = ptr32(work)
    for j in range(3):
        if below:
            w[_LOWER + j] = w[_UPPER + j] - w[_ONE + j]
        else:
            w[_UPPER + j] = w[_LOWER + j] + w[_OTHER + j]
    return 0


@kernel
def grade(
    work: object, words: object, tables: object, buf: object, own: int, usual: int, last: int, power: int, size: int
) -> int:
    """Code whether a size is of class `power` or below, that is, below 2 to the power + 1; 1 or 0."""
    w = ptr32(work)
    part(work, tables, (32 << power) - 8)
    away = power - usual
    w[_SET] = _INPUTS * (2 if away < 0 else 3 if away == 0 else 4)
    w[_CONTEXT] = MIXER + 7 + (-2 if away < -2 else 3 if away > 3 else away)
    away = power - last
    w[_CONTEXT + 1] = own + 2 + (-2 if away < -2 else 3 if away > 3 else away)
    below = int(decide(work, words, tables, buf, 1 if size < (2 << power) else 0))
    keep(work, below)
    return below


@kernel
def magnitude(
    work: object, words: object, tables: object, buf: object, own: int, usual: int, last: int, size: int
) -> int:
    """Code a size of at least 1: its class, relative to the `usual` and the `last` one, then its bits; or ESCAPED."""
    w = ptr32(work)
    power = usual - 3 if usual > 3 else 0  # few are far below the usual one: begin near it
    if int(grade(work, words, tables, buf, own, usual, last, power, size)):
        bound = power
        power = 0
        while power < bound and int(grade(work, words, tables, buf, own, usual, last, power, size)) == 0:
            power += 1
    else:
        power += 1
        while power < _CLASSES and int(grade(work, words, tables, buf, own, usual, last, power, size)) == 0:
            power += 1
        if power == _CLASSES:
            return ESCAPED
    value = 1
    row = power if power < 4 else 4
    place = power
    bit = 0
    while place > 0:
        place -= 1
        bit = 1 - ((size >> place) & 1)
        if place < power - 3 and (place > 0 or power > 6):
            bit = int(code(work, buf, bit, 8192))
        else:
            part(work, tables, ((value * 2 + 1) << (place + 4)) - 8)
            w[_SET] = _INPUTS * (6 if place == 0 else 5)
            w[_CONTEXT] = MIXER + (10 + row if place == power - 1 else 15)
            w[_CONTEXT + 1] = own + (5 + row if place == 0 else 10)
            bit = int(decide(work, words, tables, buf, bit))
            keep(work, bit)
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
    ln = 0
    for i in range(1, 128):
        t[_LN + i] = (ln + 2048) >> 12
        ln += (2 << 20) // (2 * i + 1) + (2 << 20) // (3 * (2 * i + 1) ** 3)
    for i in range(16):
        t[_TEMPO + i] = 131072 // (2 * i + 3)
    return t
