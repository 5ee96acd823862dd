"""One residual as binary decisions: zero, sign, magnitude class from the expected one on, then the bits below.

The chances that go into the mixer come from two logistic distributions around the predicted value, one that follows
quickly and one that follows slowly.  Positions are in 1/16 LSB, relative to the value that the residual is taken from.
"""

from __future__ import annotations

from typing import Any, Final

from qres_host.blocks.mixer import NODE_BITS, NODE_DOWN, NODE_SIGN, NODE_SPLIT, NODE_UP, NODE_ZERO, code_raw, decide
from qres_host.blocks.tables import LOGITS, SQUASH_AT
from qres_host.native import inlined

CLASSES: Final = 33  # magnitudes 2^k to 2^(k+1) - 1, k below this
_MODELLED: Final = 5  # bits below the leading one that are predicted where exact values repeat
_MODELLED_CENTRED: Final = 2  # the same where residuals are taken from a prediction
_PATH_UP: Final = 1 << 12
_PATH_DOWN: Final = 1 << 13

# What `code_residual` is told, in the scratch of a value.
MEAN: Final = 8  # where the distributions lie
FAST: Final = 9  # reciprocals of their scales
SLOW: Final = 10
SET: Final = 11  # of the mixer's weights
CENTRED: Final = 12
EXPECTED: Final = 13  # the magnitude class to ask for first, 0 for none


@inlined
def bits_of(value: int) -> int:
    """Bits of a whole number from 0 on."""
    n = 0
    while value >= 256:
        value >>= 8
        n += 8
    while value > 0:
        value >>= 1
        n += 1
    return n


@inlined
def _below(tables: Any, edge: int, mean: int, reciprocal: int) -> int:
    """The share of the distribution below `edge`, Q16."""
    z = min(max(((edge - mean) * reciprocal) >> 16, -2047), 2047)
    share: int = tables[SQUASH_AT + LOGITS // 2 + z]
    return share


@inlined
def _beyond(tables: Any, edge: int, mean: int, reciprocal: int, negative: int) -> int:
    """The share farther from 0 than `edge`, on one side."""
    if negative:
        return _below(tables, -edge, mean, reciprocal)
    return 65536 - _below(tables, edge, mean, reciprocal)


@inlined
def _chance(yes: int, no: int) -> int:
    """yes / (yes + no), Q16, never sure."""
    yes = max(yes, 0)
    no = max(no, 0)
    return min(max(((yes + 1) << 16) // (yes + no + 2), 64), 65472)


@inlined
def code_residual(coder: Any, data: Any, tables: Any, model: Any, work: Any, residual: int) -> int:
    """Code `residual`, within +-(2^33 - 1), or read one; return it."""
    mean, fast, slow = work[MEAN], work[FAST], work[SLOW]
    a0, a1 = _below(tables, -8, mean, fast), _below(tables, 8, mean, fast)
    b0, b1 = _below(tables, -8, mean, slow), _below(tables, 8, mean, slow)
    first = min(max(a1 - a0, 64), 65472)
    second = min(max(b1 - b0, 64), 65472)
    sets = work[SET]
    zero = 1 if residual == 0 else 0
    if decide(coder, data, tables, model, work, zero, NODE_ZERO, 0, first, second, sets):
        return 0
    negative = 1 if residual < 0 else 0
    first = _chance(a0, 65536 - a1)
    second = _chance(b0, 65536 - b1)
    negative = decide(coder, data, tables, model, work, negative, NODE_SIGN, 1, first, second, sets)
    magnitude = -residual if residual < 0 else residual
    k = _code_class(coder, data, tables, model, work, negative, bits_of(magnitude) - 1)
    magnitude = _code_bits(coder, data, tables, model, work, negative, k, magnitude)
    return -magnitude if negative else magnitude


@inlined
def _code_class(coder: Any, data: Any, tables: Any, model: Any, work: Any, negative: int, wanted: int) -> int:
    """The magnitude class: above or below the expected one, then one class after the other."""
    mean, fast, slow, sets = work[MEAN], work[FAST], work[SLOW], work[SET]
    expected = work[EXPECTED]
    k: int = expected
    up = 1
    edge = (16 << k) - 8
    a = _beyond(tables, edge, mean, fast, negative)
    b = _beyond(tables, edge, mean, slow, negative)
    if expected > 0:
        first = _chance(a, _beyond(tables, 8, mean, fast, negative) - a)
        second = _chance(b, _beyond(tables, 8, mean, slow, negative) - b)
        up = 1 if wanted >= expected else 0
        path = 2 + 40 * expected + negative * 20
        up = decide(coder, data, tables, model, work, up, NODE_SPLIT, path, first, second, sets)
    if up:
        while k < CLASSES - 1:
            edge = (32 << k) - 8
            a1 = _beyond(tables, edge, mean, fast, negative)
            b1 = _beyond(tables, edge, mean, slow, negative)
            node = NODE_UP + min(k - expected, 7)
            path = _PATH_UP + 3 + k + negative * 40
            it = 1 if wanted == k else 0
            if decide(coder, data, tables, model, work, it, node, path, _chance(a - a1, a1), _chance(b - b1, b1), sets):
                return k
            a = a1
            b = b1
            k += 1
        return k
    a1 = a
    b1 = b
    a_all = _beyond(tables, 8, mean, fast, negative)
    b_all = _beyond(tables, 8, mean, slow, negative)
    k -= 1
    while k > 0:
        edge = (16 << k) - 8
        a = _beyond(tables, edge, mean, fast, negative)
        b = _beyond(tables, edge, mean, slow, negative)
        node = NODE_DOWN + min(expected - 1 - k, 7)
        path = _PATH_DOWN + 3 + k + negative * 40
        first = _chance(a - a1, a_all - a)
        second = _chance(b - b1, b_all - b)
        it = 1 if wanted == k else 0
        if decide(coder, data, tables, model, work, it, node, path, first, second, sets):
            return k
        a1 = a
        b1 = b
        k -= 1
    return 0


@inlined
def _code_bits(coder: Any, data: Any, tables: Any, model: Any, work: Any, negative: int, k: int, magnitude: int) -> int:
    """The bits of a magnitude of class k below its leading one; those far below are as they are."""
    mean, fast, slow, sets = work[MEAN], work[FAST], work[SLOW], work[SET]
    raw = max(k - (_MODELLED_CENTRED if work[CENTRED] else _MODELLED), 0)
    value = 1
    b = k - 1
    while b >= raw:
        bit = (magnitude >> b) & 1
        low = ((value << (b + 1)) << 4) - 8
        half = low + (16 << b)
        top = half + (16 << b)
        a = _beyond(tables, half, mean, fast, negative)
        first = _chance(a - _beyond(tables, top, mean, fast, negative), _beyond(tables, low, mean, fast, negative) - a)
        a = _beyond(tables, half, mean, slow, negative)
        second = _chance(a - _beyond(tables, top, mean, slow, negative), _beyond(tables, low, mean, slow, negative) - a)
        node = NODE_BITS + 2 * min(k, 20) + (0 if b == k - 1 else 1)
        path = 100 + (value << 5) + b + (negative << 28)
        bit = decide(coder, data, tables, model, work, bit, node, path, first, second, sets)
        value = (value << 1) | bit
        b -= 1
    return (value << raw) | code_raw(coder, data, magnitude, raw)
