"""Context mixing of binary decisions, in whole numbers: predictions are mixed as logits, refined, and range coded.

Each decision has two predictions from distributions of the residual and five from hashed contexts.  Two sets of
weights, chosen by different contexts, mix them (M. Mahoney's logistic mixing); an adaptive probability map corrects
the result.  The same function encodes and decodes, so both sides cannot differ.  Every product stays below 2^63.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks.tables import LOGITS, RATES, RATES_AT, SQUASH_AT, STRETCH_AT
from qres_host.native import jit

CONTEXTS: Final = 5
INPUTS: Final = 8  # two distributions, the contexts, a bias
NODES: Final = 64  # kinds of decisions that have weights of their own
NODE_ZERO: Final = 0  # is the residual 0?
NODE_SIGN: Final = 1
NODE_SPLIT: Final = 2  # is it at least of the expected magnitude?
NODE_UP: Final = 3  # is it of this magnitude, the lowest left?  8 nodes
NODE_DOWN: Final = 11  # is it of this magnitude, the highest left?  8 nodes
NODE_BITS: Final = 20  # the bits below the leading one: 2 nodes a magnitude, of 21
SCALES: Final = 16  # first context that chooses weights: magnitude of recent errors
SIGNS: Final = 32  # second one: sign and magnitude of the last error
BINS: Final = 33  # of an adaptive probability map
WEIGHT_MAX: Final = 1 << 22
_DISTRIBUTION_WEIGHT: Final = 16000  # Q16
_CONTEXT_WEIGHT: Final = 9000
_RATE: Final = 24
_FULL: Final = (1 << 40) - 1  # the coder's registers: 40 bits
_MASK: Final = 0xFFFFFFFF

# The coder's state: bounds of the interval, the code read, where the next byte is, where the data ends, 1 to decode.
LOW: Final = 0
HIGH: Final = 1
CODE: Final = 2
AT: Final = 3
END: Final = 4
DECODE: Final = 5
# The scratch of a value: hashes of its contexts, then two logits, then the slots in use, then what is being mixed.
HASH: Final = 0
SLOT: Final = 8
INPUT: Final = 16
SCRATCH: Final = 24


def start_weights(sets: int) -> list[int]:
    """Return the first weights of one set of each node and context, `sets` contexts, flat."""
    one = [_DISTRIBUTION_WEIGHT] * 2 + [_CONTEXT_WEIGHT] * CONTEXTS + [0]
    return one * (NODES * sets)


def start_map(tables: tuple[int, ...]) -> list[int]:
    """Return adaptive probability maps, one a node and scale, that change nothing yet."""
    one = [tables[SQUASH_AT + min(b * 128, LOGITS - 1)] for b in range(BINS)]
    return one * (NODES * SCALES)


@jit
def open_coder(coder: Any, data: Any) -> None:
    """Set the interval to everything; a decoder takes its first five bytes."""
    coder[LOW] = 0
    coder[HIGH] = _FULL
    coder[CODE] = 0
    if coder[DECODE]:
        for _ in range(5):
            _shift_in(coder, data)


@jit
def _shift_in(coder: Any, data: Any) -> None:
    at = coder[AT]
    coder[AT] = at + 1
    coder[CODE] = (coder[CODE] << 8) & _FULL
    if at < coder[END]:
        coder[CODE] |= data[at]


@jit
def code_bit(coder: Any, data: Any, bit: int, probability: int) -> int:
    """Code one bit whose chance of being 1 is `probability` / 65536, within 1 to 65535; return it."""
    low = coder[LOW]
    high = coder[HIGH]
    middle = low + (((high - low) * probability) >> 16)
    if coder[DECODE]:
        bit = 1 if coder[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) >> 32 == 0:
        if coder[DECODE]:
            _shift_in(coder, data)
        else:
            data[coder[AT]] = low >> 32
            coder[AT] += 1
        low = (low << 8) & _FULL
        high = ((high << 8) & _FULL) | 255
    coder[LOW] = low
    coder[HIGH] = high
    return bit


@jit
def close_coder(coder: Any, data: Any) -> None:
    """Write the one byte that settles the rest; a decoder reads zeros after the end."""
    if coder[LOW] > 0:
        data[coder[AT]] = (coder[LOW] >> 32) + 1
        coder[AT] += 1


@jit
def decide(
    coder: Any,
    data: Any,
    tables: Any,
    model: Any,
    work: Any,
    bit: int,
    node: int,
    path: int,
    first: int,
    second: int,
    scale_set: int,
    sign_set: int,
) -> int:
    """Code one decision and learn from it; return the bit.

    `path` names what is asked, `first` and `second` are what two distributions say (Q16), the sets are offsets of the
    weights; model = (contexts, weights by scale, weights by sign, maps, costs).
    """
    contexts, by_scale, by_sign, maps = model[0], model[1], model[2], model[3]
    work[INPUT] = tables[STRETCH_AT + (first >> 4)]
    work[INPUT + 1] = tables[STRETCH_AT + (second >> 4)]
    work[INPUT + 7] = 256
    size = len(contexts) // CONTEXTS
    for i in range(CONTEXTS):
        h = ((path * 0x9E3779B1) + work[HASH + i]) & _MASK
        h ^= h >> 13
        h = ((h + i * 0x42B2AE3D) * 0x27D4EB2F) & _MASK
        slot = i * size + ((h >> 8) & (size - 1))
        work[SLOT + i] = slot
        entry = contexts[slot]
        work[INPUT + 2 + i] = tables[STRETCH_AT + (entry >> 10)] if entry & 63 else 0
    a = (scale_set * NODES + node) * INPUTS
    b = (sign_set * NODES + node) * INPUTS
    dot_a = 0
    dot_b = 0
    for i in range(INPUTS):
        dot_a += by_scale[a + i] * work[INPUT + i]
        dot_b += by_sign[b + i] * work[INPUT + i]
    logit_a = min(max(dot_a >> 16, -2047), 2047)
    logit_b = min(max(dot_b >> 16, -2047), 2047)
    logit = ((logit_a + logit_b) >> 1) + LOGITS // 2
    bin_at = ((scale_set % SCALES) * NODES + node) * BINS + (logit >> 7)
    part = logit & 127
    corrected = (maps[bin_at] * (128 - part) + maps[bin_at + 1] * part) >> 7
    p = min(max((tables[SQUASH_AT + logit] * 5 + corrected * 3) >> 3, 32), 65504)
    bit = code_bit(coder, data, bit, p)
    target = 65535 if bit else 0
    error_a = (target - tables[SQUASH_AT + LOGITS // 2 + logit_a]) * _RATE
    error_b = (target - tables[SQUASH_AT + LOGITS // 2 + logit_b]) * _RATE
    for i in range(INPUTS):
        x = work[INPUT + i]
        by_scale[a + i] = min(max(by_scale[a + i] + ((error_a * x) >> 19), -WEIGHT_MAX), WEIGHT_MAX)
        by_sign[b + i] = min(max(by_sign[b + i] + ((error_b * x) >> 19), -WEIGHT_MAX), WEIGHT_MAX)
    maps[bin_at] += (target - maps[bin_at]) >> 6
    maps[bin_at + 1] += (target - maps[bin_at + 1]) >> 6
    for i in range(CONTEXTS):
        entry = contexts[work[SLOT + i]]
        n = entry & 63
        q = entry >> 6
        q += ((target - q) * tables[RATES_AT + n]) >> 16
        contexts[work[SLOT + i]] = (q << 6) | (n + 1 if n < RATES - 4 else n)
    return bit
