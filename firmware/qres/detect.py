"""Detection in O(1) and whole numbers: how rare what a channel does is, measured by its own past.

Three features of a channel: how far a value lies from the level (the sample's own), how far the mean of the last values
does (a shift), and the mean size of the last changes (energy). Each is judged by its logarithm: an upper quantile is
tracked, and the mean excess above it, which is Hill's estimator of a tail. A score is the excess in multiples of that
mean, so a signal that is used to spikes needs a larger one than a smooth signal.

The sample's own score is the entropy that drives the regimes. Shift and energy, with a bonus for values never seen
before and a peak hold that lets an event count once, make the score that raises alarms.
"""

from array import array

from qres.compat import const, kernel, ptr32
from qres.fixed import MAX32, MIN32, ONE, log2_q12

OFFSET_MAX = const(0x7FFFFFF)  # +-2^27 - 1: values count relative to the first one, and stop there
FULL_Q8 = const(1997)  # 7.8 mean excesses: entropy 1
ALARM_Q8 = const(768)  # 3 mean excesses, for one channel
STUCK, SATURATED, MISSING = 1, 2, 4  # faults of a sensor
FAULT_BITS = const(3)
_SCORE_MAX = const(0x3FFFF)
_OWN_LOG = const(4)  # entropies begin at 2^5 samples,
_WARM_LOG = const(5)  # alarms at 2^6
_SPIKES_FROM = const(16)  # residuals
_STUCK_RUN = const(64)  # as many equal values, and four times as many as ever before, once the signal had moved
_IDLE_RUN = const(256)  # as many equal values: nothing changes any more

# Words of the state
_N = const(0)  # samples, and the floor of their logarithm
_LOG = const(1)
_LAST = const(2)  # the last two values
_LEVEL = const(4)  # means: whole part, fraction in 16 bits
_SHORT = const(6)
_ENERGY = const(8)
_HIGH = const(10)  # range of the values
_LOW = const(11)
_PEAK = const(12)
_TAIL = const(13)  # of each feature: quantile and mean excess (log2, Q16), excesses counted
_RUN = const(22)  # equal values in a row, now and at most
_LONGEST = const(23)
_BASE = const(24)  # the first value
WORDS = const(25)

# Tuning: shifts of the means, and how a score is made
TUNING = array(
    "i",
    (
        8,  # level: 2^-8
        5,  # short mean of the values
        8,  # energy: mean of the changes
        8,  # floor of a feature: the range 2^-8
        3,  # the quantile: 1 - 2^-3 ...
        8,  # ... moves by 2^-8 of the mean excess
        8,  # mean excess
        2048,  # least mean excess: 1/32 of a power of two, Q16
        4,  # weights of shift and energy, quarters
        6,
        4,  # a value never seen before: factor,
        10,  # and addend for each range that it lies outside
        8,  # peak hold: what is held, quarters,
        3,  # and its decay, 1/256
    ),
)
_LEVEL_SHIFT = const(0)
_SHORT_SHIFT = const(1)
_ENERGY_SHIFT = const(2)
_FLOOR_SHIFT = const(3)
_QUANTILE = const(4)
_QUANTILE_SHIFT = const(5)
_EXCESS_SHIFT = const(6)
_EXCESS_MIN = const(7)
_SHIFT_WEIGHT = const(8)
_ENERGY_WEIGHT = const(9)
_NEW_FACTOR = const(10)
_NEW_ADDEND = const(11)
_HOLD = const(12)
_DECAY = const(13)

# Words of the work buffer: three features (whole part, fraction in 8 bits), powers of two above the quantile, the
# logarithm of the samples, the scores of shift and energy, and that of the channel
_ABOVE = const(6)
_AGE = const(7)
_SCORES = const(8)
SCORE = const(10)
WORK = const(11)
_WORK = array("i", [0] * WORK)  # of one call


@kernel
def follow(x: int, d: int, j: int, state: object, tuning: object, work: object) -> int:
    """Take a value (within +-OFFSET_MAX) into the short means; the three features go to work[0..5].

    A feature is a whole part and a fraction in 8 bits. Returns the floor of features, Q8. `d` and `j` are work.
    """
    s = ptr32(state)
    p = ptr32(tuning)
    w = ptr32(work)
    if s[_N] < 0xFFFFF:
        s[_N] += 1
        if s[_N] >> s[_LOG] > 1:
            s[_LOG] += 1
    w[_AGE] = s[_LOG]
    w[0] = x - s[_LEVEL]
    w[1] = -s[_LEVEL + 1] >> 8
    j = p[_SHORT_SHIFT]
    if j > s[_LOG]:
        j = s[_LOG]
    d = x - s[_SHORT]
    low = s[_SHORT + 1] + ((d & ((1 << j) - 1)) << (16 - j))
    s[_SHORT] += (d >> j) + (low >> 16)
    s[_SHORT + 1] = low & 0xFFFF
    w[2] = s[_SHORT] - s[_LEVEL]
    w[3] = (s[_SHORT + 1] - s[_LEVEL + 1]) >> 8
    d = x - s[_LAST]  # a way back is no second change
    if d < 0:
        d = -d
    other = x - s[_LAST + 1]
    if other < 0:
        other = -other
    if other < d:
        d = other
    s[_LAST + 1] = s[_LAST]
    s[_LAST] = x
    j = p[_ENERGY_SHIFT]
    if j > s[_LOG]:
        j = s[_LOG]
    d -= s[_ENERGY]
    low = s[_ENERGY + 1] + ((d & ((1 << j) - 1)) << (16 - j))
    s[_ENERGY] += (d >> j) + (low >> 16)
    s[_ENERGY + 1] = low & 0xFFFF
    w[4] = s[_ENERGY]
    w[5] = s[_ENERGY + 1] >> 8
    return (((s[_HIGH] - s[_LOW]) << 2) >> (p[_FLOOR_SHIFT] - 6)) + 1


@kernel
def rarity(x: int, z: int, j: int, at: int, floor: int, state: object, tuning: object, work: object) -> int:
    """Judge the feature in work[x], work[x+1] against tail `at` of the state, then learn it: its score, Q8.

    work[_ABOVE] becomes by how many powers of two the feature lies above its quantile. `z` and `j` are work.
    """
    s = ptr32(state)
    p = ptr32(tuning)
    w = ptr32(work)
    z = w[x]
    guard = 0
    if z > -0x100000 and z < 0x100000:
        z = (z << 8) + w[x + 1]
        guard = 8
    if z < 0:
        z = -z
    z += floor if guard else floor >> 8
    x = z
    j = 0
    if x >> 16:
        x >>= 16
        j = 16
    if x >> 8:
        x >>= 8
        j += 8
    if x >> 4:
        x >>= 4
        j += 4
    if x >> 2:
        x >>= 2
        j += 2
    j += x >> 1
    x = z >> (j - 16) if j > 16 else z << (16 - j)
    z = ((j + 8 - guard) << 16) + (x & 0xFFFF) - s[at]  # log2, Q16, above the quantile
    mean = s[at + 1]
    if mean < p[_EXCESS_MIN]:
        mean = p[_EXCESS_MIN]
    w[_ABOVE] = z >> 16
    j = p[_QUANTILE_SHIFT]
    if j >= w[_AGE]:
        j = w[_AGE] - 1 if w[_AGE] else 0
    x = mean >> j  # a step up is 1 - 2^-quantile of it, one down 2^-quantile
    if z <= 0:
        s[at] -= x >> p[_QUANTILE]
        return 0
    s[at] += x - (x >> p[_QUANTILE])
    x = ((z - x) << 8) // mean if z > x else 0
    if w[_AGE] > _OWN_LOG and z > mean << 3:
        z = mean << 3
    j = 0
    while j < p[_EXCESS_SHIFT] and s[at + 2] >> (j + 1):
        j += 1
    if s[at + 2] < 0xFFFF:
        s[at + 2] += 1
    s[at + 1] += (z - s[at + 1]) >> j
    return x if x < _SCORE_MAX else _SCORE_MAX


@kernel
def judge(x: int, score: int, best: int, state: object, tuning: object, work: object) -> int:
    """Make of the scores of shift and energy that of the channel, Q8, and take the value into the range.

    0 where the peak hold of an earlier event is higher. `score` and `best` are work.
    """
    s = ptr32(state)
    p = ptr32(tuning)
    w = ptr32(work)
    score = (w[_SCORES] * p[_SHIFT_WEIGHT]) >> 2
    best = (w[_SCORES + 1] * p[_ENERGY_WEIGHT]) >> 2
    if score < best:
        score = best
    high = s[_HIGH]
    low = s[_LOW]
    best = x - high if x > high else low - x
    if best > 0:
        span = high - low + 1
        part = best if best < span else span
        if part >> 20:
            score = score * p[_NEW_FACTOR] + ((part >> 8) << 8) // (span >> 8) * p[_NEW_ADDEND]
        else:
            score = score * p[_NEW_FACTOR] + (part << 8) // span * p[_NEW_ADDEND]
        if best > span and w[_AGE] > _WARM_LOG:  # one glitch does no more than double the range
            best = span
        if x > high:
            s[_HIGH] = high + best
        else:
            s[_LOW] = low - best
    if w[_AGE] <= _WARM_LOG:
        score = 0
    if score > _SCORE_MAX:
        score = _SCORE_MAX
    best = s[_PEAK]
    if score > best:
        s[_PEAK] = (score * p[_HOLD]) >> 2
        return score
    s[_PEAK] = best - ((best * p[_DECAY] + 255) >> 8)
    return 0


@kernel
def settle(d: int, j: int, low: int, state: object, tuning: object, work: object) -> int:
    """Move the level towards the value that follow() took, bending what is an outlier. Returns 0; three are work."""
    s = ptr32(state)
    p = ptr32(tuning)
    w = ptr32(work)
    d = w[0]
    if w[_ABOVE] > 2:
        d >>= w[_ABOVE] - 2
    j = p[_LEVEL_SHIFT]
    if j > w[_AGE]:
        j = w[_AGE]
    low = s[_LEVEL + 1] + ((d & ((1 << j) - 1)) << (16 - j))
    s[_LEVEL] += (d >> j) + (low >> 16)
    s[_LEVEL + 1] = low & 0xFFFF
    return 0


@kernel
def observe(x: int, run: int, state: object, tuning: object, work: object) -> int:
    """Judge a value (within +-OFFSET_MAX): the sample's own score, Q8; work[SCORE] becomes the channel's.

    `run` is work.
    """
    s = ptr32(state)
    w = ptr32(work)
    run = s[_RUN]
    if x != s[_LAST]:
        if run > s[_LONGEST]:
            s[_LONGEST] = run
        run = 0
    elif run < 0xFFFF:
        run += 1
    s[_RUN] = run
    w[SCORE] = 0
    if run > _IDLE_RUN or (run == 1 and s[_N] == 0):  # the first value says nothing of changes
        return 0
    run = int(follow(x, 0, 0, state, tuning, work))
    w[_SCORES] = int(rarity(2, 0, 0, _TAIL + 3, run, state, tuning, work))
    w[_SCORES + 1] = int(rarity(4, 0, 0, _TAIL + 6, run, state, tuning, work))
    run = int(rarity(0, 0, 0, _TAIL, run, state, tuning, work))
    w[SCORE] = int(judge(x, 0, 0, state, tuning, work))
    settle(0, 0, 0, state, tuning, work)
    return run if w[_AGE] > _OWN_LOG else 0


@kernel
def surprise(r: int, m: int, j: int, limit: int, at: int, state: object) -> int:
    """1 when the residual `r` (within +-2^28) is a spike, else 0; what is beyond the limit is learned cut to it.

    state[at..at+2]: mean size of residuals, its fraction in 16 bits, their number. `limit` is in mean sizes, Q4; a mean
    size below 0.8 counts as 0.8. `m` and `j` are work.
    """
    s = ptr32(state)
    if r < 0:
        r = -r
    m = s[at]
    j = r
    if m >> 20:
        j >>= 8
    else:
        m = (m << 8) + (s[at + 1] >> 8)
        if m < 204:
            m = 204
    while j >> 18:
        j >>= 4
        m = (m >> 4) + 1
    j = (j << 12) // m
    m = 0
    if j > limit and s[at + 2] >= _SPIKES_FROM:
        m = 1
        r = r // j * limit
    j = 8
    if s[at + 2] < 256:
        s[at + 2] += 1
        while s[at + 2] >> j == 0:
            j -= 1
    r -= s[at]
    low = s[at + 1] + ((r & ((1 << j) - 1)) << (16 - j))
    s[at] += (r >> j) + (low >> 16)
    s[at + 1] = low & 0xFFFF
    return m


def alarm_q8(channels: int) -> int:
    """The score, Q8, from which one of so many channels raises an alarm: 3, and ln(channels) for the more chances."""
    return ALARM_Q8 + (log2_q12(channels) * 11 >> 8)


class Spikes:
    """Which residuals stand out from those before, by channel."""

    STATE = "a:state"

    def __init__(self, channels: int, sigma: int) -> None:
        """A spike is beyond `sigma` (1 to 100) standard deviations, of which one is 1.2533 mean sizes."""
        self.state = array("i", [0] * (3 * channels))
        self.limit = sigma * 20  # Q4

    def push(self, c: int, residual: int) -> int:
        """Judge what of a value was not predicted, any whole number: 1 for a spike, else 0."""
        return surprise(max(-OFFSET_MAX, min(OFFSET_MAX, residual)), 0, 0, self.limit, 3 * c, self.state)


def seed_entropy(residual: int, full_scale: int) -> int:
    """Entropy of the seed profile: |residual| / full scale, Q16.16, at most 1; a full scale of 0 is one of 65,536."""
    return min(ONE, (abs(residual) << 16) // (full_scale or ONE))


class Detector:
    """How unusual the values of one channel are, and the faults of its sensor."""

    STATE = "a:state u:faults"

    def __init__(self, full_scale: int) -> None:
        """`full_scale`: the value, in LSB, at which the sensor saturates; 0 unknown."""
        self.state = array("i", [0] * WORDS)
        self.full_scale = full_scale
        self.score = 0  # of the channel at the last value, Q8; 0 while the peak hold is higher
        self.faults = 0  # STUCK, SATURATED, MISSING

    def push(self, value: "int | None") -> int:
        """Judge a value, int32 or None when it is missing: its entropy, Q16.16."""
        self.score = 0
        if value is None:
            self.faults |= MISSING
            return 0
        s = self.state
        if not s[_N] and not s[_RUN]:
            s[_BASE] = value
        own = observe(max(-OFFSET_MAX, min(OFFSET_MAX, value - s[_BASE])), 0, s, TUNING, _WORK)
        self.score = _WORK[SCORE]
        run, full = s[_RUN], self.full_scale
        stuck = run >= _STUCK_RUN and run > s[_LONGEST] << 2 and s[_HIGH] > s[_LOW]
        inside = MIN32 < value < MAX32 and (not full or abs(value) < full)
        self.faults = (STUCK if stuck else 0) | (0 if inside else SATURATED)
        return min(ONE, (own << 16) // FULL_Q8)
