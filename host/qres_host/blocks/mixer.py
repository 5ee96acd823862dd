"""Context mixing of binary decisions, in whole numbers: predictions are mixed as logits, refined, and range coded.

Each decision has two predictions from distributions of the residual and five from hashed contexts.  Weights
chosen by the scale of recent errors mix them (M. Mahoney's logistic mixing), and an adaptive probability map corrects
the result.  The same function encodes and decodes, so both sides cannot differ.  Every product stays below 2^63.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks.tables import COSTS_AT, LOGITS, RATES, RATES_AT, SQUASH_AT, STRETCH_AT
from qres_host.native import inlined

CONTEXTS: Final = 5
INPUTS: Final = 8  # two distributions, the contexts, a bias
NODES: Final = 64  # kinds of decisions that have weights of their own
NODE_ZERO: Final = 0  # is the residual 0?
NODE_SIGN: Final = 1
NODE_SPLIT: Final = 2  # is it at least of the expected magnitude?
NODE_UP: Final = 3  # is it of this magnitude, the lowest left?  8 nodes
NODE_DOWN: Final = 11  # is it of this magnitude, the highest left?  8 nodes
NODE_BITS: Final = 20  # the bits below the leading one: 2 nodes a magnitude, of 21
SCALES: Final = 16  # sets of weights, chosen by the magnitude of recent errors
BINS: Final = 33  # of an adaptive probability map
WEIGHT_MAX: Final = 1 << 22
_DISTRIBUTION_WEIGHT: Final = 16000  # Q16
_CONTEXT_WEIGHT: Final = 9000
_RATE: Final = 24
_FULL: Final = (1 << 40) - 1  # the coder's registers: 40 bits
_MASK: Final = 0xFFFFFFFF

# The coder's state: bounds of the interval, the code read, where the next byte is, where the data ends, 1 to decode,
# bits spent (Q12, about).
LOW: Final = 0
HIGH: Final = 1
CODE: Final = 2
AT: Final = 3
END: Final = 4
DECODE: Final = 5
COST: Final = 6
CODER: Final = 8
# The scratch of a value: hashes of its five contexts, then what `residual` is told.
HASH: Final = 0
FOLD: Final = 5  # 32 less the bits of a context's number
SCRATCH: Final = 16


def start_weights() -> list[int]:
    """Return the first weights of a channel: for each scale and node, of each input."""
    return ([_DISTRIBUTION_WEIGHT] * 2 + [_CONTEXT_WEIGHT] * CONTEXTS + [0]) * (NODES * SCALES)


def start_map(tables: tuple[int, ...]) -> list[int]:
    """Return adaptive probability maps, one a node and scale, that change nothing yet."""
    one = [tables[SQUASH_AT + min(b * 128, LOGITS - 1)] for b in range(BINS)]
    return one * (NODES * SCALES)


@inlined
def open_coder(coder: Any, data: Any) -> None:
    """Set the interval to everything; a decoder takes its first five bytes."""
    coder[LOW] = 0
    coder[HIGH] = _FULL
    coder[CODE] = 0
    if coder[DECODE]:
        for _ in range(5):
            _shift_in(coder, data)


@inlined
def _shift_in(coder: Any, data: Any) -> None:
    at = coder[AT]
    coder[AT] = at + 1
    coder[CODE] = (coder[CODE] << 8) & _FULL
    if at < coder[END]:
        coder[CODE] |= data[at]


@inlined
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
    coder[LOW] = low
    coder[HIGH] = high
    if (low ^ high) >> 32 == 0:
        _shift(coder, data)
    return bit


@inlined
def _shift(coder: Any, data: Any) -> None:
    """Move out the bytes that are settled."""
    low = coder[LOW]
    high = coder[HIGH]
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


@inlined
def code_raw(coder: Any, data: Any, value: int, count: int) -> int:
    """Code the low `count` bits of `value`, all alike probable, from the highest on; return them."""
    result = 0
    coder[COST] += count << 12
    while count > 0:
        n = count if count < 12 else 12
        low = coder[LOW]
        span = coder[HIGH] - low + 1
        if span < 1 << 24:  # too narrow to be cut in 2^n: bit by bit
            n = 1
            result = (result << 1) | code_bit(coder, data, (value >> (count - 1)) & 1, 32768)
        else:
            part = (value >> (count - n)) & ((1 << n) - 1)
            if coder[DECODE]:
                part = (((coder[CODE] - low + 1) << n) - 1) // span
            coder[LOW] = low + ((span * part) >> n)
            coder[HIGH] = low + ((span * (part + 1)) >> n) - 1
            _shift(coder, data)
            result = (result << n) | part
        count -= n
    return result


@inlined
def close_coder(coder: Any, data: Any) -> None:
    """Write the one byte that settles the rest; a decoder reads zeros after the end."""
    data[coder[AT]] = (coder[LOW] >> 32) + 1
    coder[AT] += 1


@inlined
def _slot(hashed: int, fold: int, context: int) -> int:
    """Where a context keeps what it knows of this decision."""
    h = hashed & _MASK
    h ^= h >> 13
    h = ((h + context * 0x42B2AE3D) * 0x27D4EB2F) & _MASK
    return (h >> fold) * CONTEXTS + context


@inlined
def _opinion(tables: Any, entry: int) -> int:
    """The logit that a context's entry stands for; 0 when it is new."""
    logit: int = tables[STRETCH_AT + (entry >> 10)] if entry & 63 else 0
    return logit


@inlined
def _after(tables: Any, entry: int, target: int) -> int:
    """The entry of a context once the bit is known: probability (Q16) << 6 | how often it was asked."""
    n = entry & 63
    p: int = entry >> 6
    p += ((target - p) * tables[RATES_AT + n]) >> 16
    return (p << 6) | (n + 1 if n < RATES - 4 else n)


@inlined
def _moved(weight: int, step: int) -> int:
    return min(max(weight + (step >> 19), -WEIGHT_MAX), WEIGHT_MAX)


@inlined
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
    choice: int,
) -> int:
    """Code one decision and learn from it; return the bit.

    `path` names what is asked, `first` and `second` are what two distributions say (Q16), `choice` is the set of
    weights; model = (contexts, weights, maps).  Loops are written out: names are kept in registers, items are not.
    """
    contexts, weights, maps = model[0], model[1], model[2]
    fold = work[FOLD]
    h = path * 0x9E3779B1
    s0, s1, s2 = _slot(h + work[0], fold, 0), _slot(h + work[1], fold, 1), _slot(h + work[2], fold, 2)
    s3, s4 = _slot(h + work[3], fold, 3), _slot(h + work[4], fold, 4)
    e0, e1, e2, e3, e4 = contexts[s0], contexts[s1], contexts[s2], contexts[s3], contexts[s4]
    a, b = tables[STRETCH_AT + (first >> 4)], tables[STRETCH_AT + (second >> 4)]
    x0, x1, x2 = _opinion(tables, e0), _opinion(tables, e1), _opinion(tables, e2)
    x3, x4 = _opinion(tables, e3), _opinion(tables, e4)
    w = (choice * NODES + node) * INPUTS
    dot = weights[w] * a + weights[w + 1] * b + weights[w + 2] * x0 + weights[w + 3] * x1 + weights[w + 4] * x2
    dot += weights[w + 5] * x3 + weights[w + 6] * x4 + (weights[w + 7] << 8)
    logit = min(max(dot >> 16, -2047), 2047) + LOGITS // 2
    mixed = tables[SQUASH_AT + logit]
    m = ((choice % SCALES) * NODES + node) * BINS + (logit >> 7)
    part = logit & 127
    corrected = (maps[m] * (128 - part) + maps[m + 1] * part) >> 7
    p = min(max((mixed * 5 + corrected * 3) >> 3, 32), 65504)
    bit = code_bit(coder, data, bit, p)
    coder[COST] += tables[COSTS_AT + ((p if bit else 65536 - p) >> 4)]
    target = 65535 if bit else 0
    error = (target - mixed) * _RATE
    weights[w] = _moved(weights[w], error * a)
    weights[w + 1] = _moved(weights[w + 1], error * b)
    weights[w + 2] = _moved(weights[w + 2], error * x0)
    weights[w + 3] = _moved(weights[w + 3], error * x1)
    weights[w + 4] = _moved(weights[w + 4], error * x2)
    weights[w + 5] = _moved(weights[w + 5], error * x3)
    weights[w + 6] = _moved(weights[w + 6], error * x4)
    weights[w + 7] = _moved(weights[w + 7], error << 8)
    maps[m] += (target - maps[m]) >> 6
    maps[m + 1] += (target - maps[m + 1]) >> 6
    contexts[s0], contexts[s1] = _after(tables, e0, target), _after(tables, e1, target)
    contexts[s2], contexts[s3] = _after(tables, e2, target), _after(tables, e3, target)
    contexts[s4] = _after(tables, e4, target)
    return bit
