"""The best level's loop over samples: predict every channel by seven experts, code the residual, learn.

Experts: the last value, a normalised LMS over the channel's own deltas, one over those of its neighbours, and four
predictions of least-squares ladders.  Their mean is weighted by the eighth power of their recent accuracy.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks import ladder, mixer
from qres_host.blocks import residual as res
from qres_host.native import inlined, jit

EXPERTS: Final = 7
EXPERTS_PLAIN: Final = 3  # without the ladders
OWN: Final = 16  # deltas of the channel itself
CROSS: Final = 24  # of the channel and its neighbours
_CROSS_OWN: Final = 5
# Fields of a channel.
ERROR: Final = 0  # mean |error| of each expert, 1/128 LSB
GUESS: Final = 8  # what each says of the next delta, 1/16 LSB
FAST: Final = 16  # mean |error| of the mixture, 1/16 LSB, over about 16 samples
SLOW: Final = 17  # over 64
LAST: Final = 18  # value
DELTA: Final = 19  # and how it differed from the one before
NEAR: Final = 20  # mean |error| over 4 and 32 samples: contexts
FAR: Final = 21
SIGN: Final = 22  # sign and magnitude of the last error, and of the one before
SIGN_BEFORE: Final = 23
CENTRED: Final = 24  # residuals are taken from the prediction (1) or from the last value (0)
SHIFT: Final = 25  # bits by which filters see deltas reduced
USED: Final = 26  # experts, EXPERTS or EXPERTS_PLAIN
OWN_W: Final = 32  # weights, Q16, and deltas they belong to
OWN_D: Final = OWN_W + OWN
CROSS_W: Final = OWN_D + OWN
CROSS_D: Final = CROSS_W + CROSS
FIELDS: Final = CROSS_D + CROSS
_ERROR_MAX: Final = 1 << 30
_GUESS_MAX: Final = 1 << 37
_WEIGHT_MAX: Final = 1 << 21
_LIMIT: Final = 1 << 26
_MIN32: Final = -(1 << 31)
_MAX32: Final = (1 << 31) - 1
_SHARPNESS: Final = (256 << 16) * 89 // 64  # reciprocal of a scale: logits a mean |error|


def start(centred: list[int], experts: list[int], shifts: list[int]) -> list[int]:
    """Return the fields of all channels before their first sample."""
    fields = []
    for c in range(len(shifts)):
        one = [0] * FIELDS
        one[ERROR : ERROR + EXPERTS] = [16 << 8] * EXPERTS
        one[FAST] = one[SLOW] = 16 << 4
        one[NEAR] = one[FAR] = 8 << 4
        one[CENTRED] = centred[c]
        one[USED] = experts[c]
        one[SHIFT] = shifts[c]
        fields += one
    return fields


@jit
def code_series(
    x: Any,
    rows: int,
    channels: int,
    coder: Any,
    data: Any,
    tables: Any,
    model: Any,
    fields: Any,
    filters: Any,
    work: Any,
    costs: Any,
) -> int:
    """Code the row-major matrix `x`, or fill it; return 0, or -1 when what is decoded is no int32.

    costs[c] grows by the bits of channel c, Q12, within a per cent or so; `work` is scratch.
    """
    mixer.open_coder(coder, data)
    for c in range(channels):
        value = 0
        for b in range(31, -1, -1):
            value = (value << 1) | mixer.code_bit(coder, data, (x[c] >> b) & 1, 32768)
        x[c] = value if value <= _MAX32 else value - (1 << 32)
        fields[c * FIELDS + LAST] = x[c]
    for t in range(1, rows):
        for c in range(channels):
            at = t * channels + c
            last = fields[c * FIELDS + LAST]
            mean = _predict(fields, filters, c, channels)
            value = _code_value(coder, data, tables, model, fields, c, mean, x[at], work)
            if value < _MIN32 or value > _MAX32:
                return -1
            x[at] = value
            costs[c] += coder[mixer.COST]
            coder[mixer.COST] = 0
            _learn(fields, filters, tables, c, value - last, mean)
            fields[c * FIELDS + LAST] = value
    if not coder[mixer.DECODE]:
        mixer.close_coder(coder, data)
    return 0


@inlined
def _predict(fields: Any, filters: Any, c: int, channels: int) -> int:
    """Fill GUESS of channel `c`; return the experts' mean."""
    f = c * FIELDS
    shift = fields[f + SHIFT]
    _neighbours(fields, c, channels)
    own = 0
    for i in range(OWN):
        own += fields[f + OWN_W + i] * fields[f + OWN_D + i]
    cross = 0
    for i in range(CROSS):
        cross += fields[f + CROSS_W + i] * fields[f + CROSS_D + i]
    fields[f + GUESS] = 0
    fields[f + GUESS + 1] = own >> 12
    fields[f + GUESS + 2] = cross >> 12
    used = fields[f + USED]
    if used == EXPERTS:
        ladder.predict(filters, c * ladder.STATE, fields, f + GUESS + 3)
    best = fields[f + ERROR]
    for i in range(used):
        fields[f + GUESS + i] = min(max(fields[f + GUESS + i] << shift, -_GUESS_MAX), _GUESS_MAX)
        best = min(best, fields[f + ERROR + i])
    weights = 0
    total = 0
    for i in range(used):
        w = ((best + 4) << 10) // (fields[f + ERROR + i] + 4)
        w = (w * w) >> 10
        w = (w * w) >> 10
        w = (w * w) >> 10
        weights += w
        total += w * fields[f + GUESS + i]
    mean: int = total // weights
    return mean


@inlined
def _neighbours(fields: Any, c: int, channels: int) -> None:
    """Gather what the second LMS sees: own deltas, then those of the channels before, now, and after, a row ago."""
    f = c * FIELDS
    for i in range(_CROSS_OWN):
        fields[f + CROSS_D + i] = fields[f + OWN_D + i]
    n = _CROSS_OWN
    away = 1
    while away < channels and n < CROSS - 1:
        if away <= c:
            other = (c - away) * FIELDS + OWN_D
            fields[f + CROSS_D + n + 1] = fields[other + 1]
            fields[f + CROSS_D + n] = fields[other]
            n += 2
        else:
            fields[f + CROSS_D + n] = fields[(c - away + channels) * FIELDS + OWN_D]
            n += 1
        away += 1


@inlined
def _code_value(
    coder: Any, data: Any, tables: Any, model: Any, fields: Any, c: int, mean: int, value: int, work: Any
) -> int:
    """Code `value` of channel `c`, or read one."""
    f = c * FIELDS
    last = fields[f + LAST]
    centred = fields[f + CENTRED]
    base = min(max(last + ((mean + 8) >> 4), _MIN32), _MAX32) if centred else last
    mean -= (base - last) << 4
    scale = fields[f + FAST]
    size = mean if mean >= 0 else -mean
    near = res.bits_of(fields[f + NEAR])
    sign = fields[f + SIGN]
    expected = res.bits_of((size + scale) >> 4)
    work[res.MEAN] = mean
    work[res.FAST] = _SHARPNESS // (scale + 1)
    work[res.SLOW] = _SHARPNESS // (fields[f + SLOW] + 1)
    work[res.SET] = c * mixer.SCALES + min(near, mixer.SCALES - 1)
    work[res.CENTRED] = centred
    work[res.EXPECTED] = min(expected - 1, res.CLASSES - 2) if expected >= 4 else 0
    direction = res.bits_of(size)
    context = near * 128 + (32 + direction if mean >= 0 else 32 - direction)
    if centred:
        context += (mean & 15) << 20
    salt = c * 0x42B2AE3D
    work[mixer.HASH] = context * 0x45EBCA77 + salt
    context = (res.bits_of(fields[f + FAR]) * 32 + sign) * 64
    rounded = (mean + 8) >> 4
    if -200 < rounded < 200:
        context += (rounded + 200) * 0x10000
    work[mixer.HASH + 1] = context * 0x45EBCA77 + salt
    work[mixer.HASH + 2] = (sign * 64 + fields[f + SIGN_BEFORE]) * 0x45EBCA77 + salt
    work[mixer.HASH + 3] = (last & 0xFFFFFFFF) * 0x369DEA0F + salt
    work[mixer.HASH + 4] = (fields[f + DELTA] & 0xFFFFFFFF) * 0x2C1B3C6D + salt
    coded: int = base + res.code_residual(coder, data, tables, model, work, value - base)
    return coded


@inlined
def _learn(fields: Any, filters: Any, tables: Any, c: int, delta: int, mean: int) -> None:
    """Let channel `c` take the delta that came; `mean` is what was expected, 1/16 LSB."""
    f = c * FIELDS
    shift = fields[f + SHIFT]
    exact = delta << 4
    for i in range(fields[f + USED]):
        error = exact - fields[f + GUESS + i]
        step = min(error if error >= 0 else -error, _ERROR_MAX) * 8 - fields[f + ERROR + i]
        fields[f + ERROR + i] += (step >> 5) + (1 if step > 0 else 0)
    error = exact - mean
    size = min(error if error >= 0 else -error, _ERROR_MAX)
    fields[f + FAST] += ((size - fields[f + FAST]) >> 4) + (1 if size > fields[f + FAST] else 0)
    fields[f + SLOW] += ((size - fields[f + SLOW]) >> 6) + (1 if size > fields[f + SLOW] else 0)
    seen = min(size, 0xFFFFF)
    fields[f + NEAR] += (seen - fields[f + NEAR]) >> 2
    fields[f + FAR] += (seen - fields[f + FAR]) >> 5
    whole = error >> 4
    fields[f + SIGN_BEFORE] = fields[f + SIGN]
    fields[f + SIGN] = 2 * min(res.bits_of(whole if whole >= 0 else -whole), 15) + (1 if whole < 0 else 0)
    reduced = min(max(exact >> shift, -_LIMIT), _LIMIT)
    _lms(fields, f + OWN_W, f + OWN_D, OWN, reduced - (fields[f + GUESS + 1] >> shift), 7)
    _lms(fields, f + CROSS_W, f + CROSS_D, CROSS, reduced - (fields[f + GUESS + 2] >> shift), 5)
    if fields[f + USED] == EXPERTS:
        ladder.update(filters, c * ladder.STATE, tables, reduced)
    for i in range(OWN - 1, 0, -1):
        fields[f + OWN_D + i] = fields[f + OWN_D + i - 1]
    fields[f + OWN_D] = min(max(delta >> shift, -_LIMIT), _LIMIT)
    fields[f + DELTA] = delta


@inlined
def _lms(fields: Any, weights: int, deltas: int, count: int, error: int, slowness: int) -> None:
    """Normalised LMS: move the weights along the deltas, by 2^-slowness of the error."""
    power = 64
    for i in range(count):
        power += fields[deltas + i] * fields[deltas + i]
    gain = (min(max(error, -_LIMIT), _LIMIT) << (12 - slowness)) // (power >> 2)
    for i in range(count):
        step = min(max((gain * fields[deltas + i]) >> 2, -65536), 65536)
        fields[weights + i] = min(max(fields[weights + i] + step, -_WEIGHT_MAX), _WEIGHT_MAX)
