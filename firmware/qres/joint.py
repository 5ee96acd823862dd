"""The joint T-squared of several channels (Hotelling 1947, with a diagonal covariance): small shifts of many at once.

Of each channel the mean of the last values lies some way from its level; that distance, in multiples of its own usual
size, is squared, and the squares are summed. A channel that always wanders therefore counts little.
"""

from array import array

from qres.compat import const, kernel, ptr32
from qres.detect import FULL_Q8, OFFSET_MAX, TUNING, WORK, rarity
from qres.fixed import ONE

TRAINING = 400  # rows whose largest T-squared is the limit
_WARM_LOG = const(5)  # verdicts begin at 2^6 rows
_SHORT_SHIFT = const(4)
_LEVEL_SHIFT = const(9)
_ALARMED = const(3)  # during an alarm the level moves 2^-3 as fast
_AGE = const(7)  # of the work buffer of qres.detect
_LEVEL = const(0)  # words of a channel: means, whole part and fraction in 16 bits
_SHORT = const(2)
_SIZE = const(4)  # of the distance, Q8
_BASE = const(6)  # first value
_WORDS = const(7)


@kernel
def distance(x: int, d: int, j: int, age: int, slow: int, at: int, state: object) -> int:
    """Take a value (within +-2^27): the distance of the short mean from the level, Q8, at most 2^20 whole steps.

    `age` is the floor of the logarithm of the rows; the level moves `slow` powers of two slower. `d`, `j` are work.
    """
    s = ptr32(state)
    x -= s[at + _LEVEL]
    if age > _WARM_LOG:  # one outlier does not move the means far
        d = (((s[at + _SIZE] >> 4) * 12) >> 4) + 1
        if x > d:
            x = d
        elif x < -d:
            x = -d
    j = _SHORT_SHIFT
    if j > age:
        j = age
    d = x + s[at + _LEVEL] - s[at + _SHORT]
    low = s[at + _SHORT + 1] + ((d & ((1 << j) - 1)) << (16 - j))
    s[at + _SHORT] += (d >> j) + (low >> 16)
    s[at + _SHORT + 1] = low & 0xFFFF
    d = s[at + _SHORT] - s[at + _LEVEL]
    low = (s[at + _SHORT + 1] - s[at + _LEVEL + 1]) >> 8
    if d > 0xFFFFF:
        d = 0xFFFFF
    elif d < -0xFFFFF:
        d = -0xFFFFF
    d = (d << 8) + low
    j = _LEVEL_SHIFT
    if j > age:
        j = age
    j += slow
    low = s[at + _LEVEL + 1] + ((x & ((1 << j) - 1)) << (16 - j))
    s[at + _LEVEL] += (x >> j) + (low >> 16)
    s[at + _LEVEL + 1] = low & 0xFFFF
    return d if d > 0 else -d


@kernel
def square(d: int, m: int, j: int, age: int, slow: int, at: int, state: object) -> int:
    """Judge a distance by its usual size, then learn it: the square of their ratio, Q8, at most 2^16."""
    s = ptr32(state)
    m = s[at + _SIZE] + 1
    j = d
    while j >> 24:
        j >>= 4
        m = (m >> 4) + 1
    part = (j << 4) // m
    if part > 256:
        part = 256
    m = (s[at + _SIZE] << 2) + 64 if s[at + _SIZE] < 0x4000000 else d
    if age > _WARM_LOG and d > m:
        d = m
    j = _LEVEL_SHIFT
    if j > age:
        j = age
    j += slow
    d -= s[at + _SIZE]
    m = s[at + _SIZE + 1] + ((d & ((1 << j) - 1)) << (16 - j))
    s[at + _SIZE] += (d >> j) + (m >> 16)
    s[at + _SIZE + 1] = m & 0xFFFF
    return part * part


class Joint:
    """Hotelling's statistic of a row, its limit, and how rare it is."""

    STATE = "a:state a:tail u:rows u:limit u:t2"

    def __init__(self, channels: int) -> None:
        """No row yet."""
        self.state = array("i", [0] * (channels * _WORDS))
        self.tail = array("i", [0, 0, 0])
        self.work = array("i", [0] * WORK)
        self.rows = 0  # at most 2^20
        self.limit = 0  # Q8: the largest T-squared of the first TRAINING rows
        self.t2 = 0  # Q8, of the last row

    def push(self, row: "tuple[int | None, ...]") -> int:
        """Take a row of int32 values, None where one is missing: its entropy, Q16.16."""
        s = self.state
        slow = _ALARMED if self.alarmed() else 0
        age = 0
        self.rows = min(self.rows + 1, 1 << 20)
        while self.rows >> (age + 1):
            age += 1
        total = 0
        for c in range(len(row)):
            value = row[c]
            at = c * _WORDS
            if value is not None:
                if self.rows == 1:
                    s[at + _BASE] = value
                x = max(-OFFSET_MAX, min(OFFSET_MAX, value - s[at + _BASE]))
                total += square(distance(x, 0, 0, age, slow, at, s), 0, 0, age, slow, at, s)
        if age <= _WARM_LOG:
            return 0
        self.t2 = total
        if self.rows <= TRAINING:
            self.limit = max(self.limit, total)
        work = self.work
        work[0], work[1], work[_AGE] = total >> 8, total & 255, age
        score = rarity(0, 0, 0, 0, 1, self.tail, TUNING, work)
        return min(ONE, (score << 16) // FULL_Q8) if self.rows > TRAINING else 0

    def alarmed(self) -> bool:
        """Whether the last row lies beyond the limit that the first TRAINING rows set."""
        return self.rows > TRAINING and self.t2 > self.limit
