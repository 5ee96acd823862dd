"""The best level's loop over samples: predict every channel by eight experts, code the residual, learn.

Experts: the last value, a normalised LMS over the channel's own deltas, one over those of its neighbours, and five
predictions of least-squares ladders.  Their mean is weighted by the eighth power of their recent accuracy.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks import ladder, mixer
from qres_host.blocks import residual as res
from qres_host.native import jit

EXPERTS: Final = 8
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


def start(channels: int, centred: list[int], shifts: list[int]) -> list[int]:
    """Return the fields of all channels before their first sample."""
    fields = []
    for c in range(channels):
        one = [0] * FIELDS
        one[ERROR : ERROR + EXPERTS] = [16 << 8] * EXPERTS
        one[FAST] = one[SLOW] = 16 << 4
        one[NEAR] = one[FAR] = 8 << 4
        one[CENTRED] = centred[c]
        one[SHIFT] = shifts[c]
        fields += one
    return fields


@jit
def code_series(
    x: Any, rows: int, channels: int, coder: Any, data: Any, tables: Any, model: Any, fields: Any, filters: Any, bits: Any
) -> int:
    """Code the row-major matrix `x`, or fill it; return 0, or -1 when what is decoded is no int32.

    bits[c] counts what channel c took, 1/256 bit, with an error of some per cent.
    """
    work = [0] * mixer.SCRATCH if False else bits[channels:]
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
            base = c * FIELDS
            mean = _predict(fields, filters, c, channels)
            value = _code_value(coder, data, tables, model, fields, base, c, mean, x[at], work)
            if value < _MIN32 or value > _MAX32:
                return -1
            x[at] = value
            _learn(fields, filters, tables, c, value - fields[base + LAST], mean)
            fields[base + LAST] = value
    if not coder[mixer.DECODE]:
        mixer.close_coder(coder, data)
    return 0
