"""The 48-byte gene of the reference: a linear predictor of one channel, to exchange with programs that know it.

Eight lags (u8, 0: unused), eight weights (i32, Q16.16), a bias (i32, Q16.16) and a learning rate (i32, Q16.16), little
endian: value[t] = sum(weight * value[t - lag]) + bias. A board predicts changes, so its genes have weights that sum to
one and no bias, and only such ones can be taken.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from qres.kernels import WEIGHT_MAX

SIZE = 48
LAGS = 8
ORDER_MAX = LAGS - 1  # changes reach one value less far back than values
_FORM = struct.Struct("<8B8iii")
_ONE = 65536


class GeneError(ValueError):
    """Bytes that are no gene, or one that is no predictor of changes."""


class Gene(NamedTuple):
    """`weights` of the last changes, newest first, Q16.16 within +-2; learning `rate` Q10, 0 to 512."""

    weights: tuple[int, ...]
    rate: int


def pack(weights: Sequence[int], rate: int) -> bytes:
    """The gene of a linear layer's weights of one channel; GeneError for more than seven."""
    if not 1 <= len(weights) <= ORDER_MAX:
        raise GeneError(f"a gene holds up to {ORDER_MAX} lags of changes, not {len(weights)}")
    values = [b - a for a, b in itertools.pairwise([-_ONE, *weights, 0])]
    count = len(values)
    lags = [*range(1, count + 1), *[0] * (LAGS - count)]
    return _FORM.pack(*lags, *values, *[0] * (LAGS - count), 0, rate << 6)


def unpack(data: bytes, order: int) -> Gene:
    """Read a gene for `order` lags of changes; GeneError, whatever the bytes are, for what cannot be taken."""
    if len(data) != SIZE:
        raise GeneError(f"a gene has {SIZE} bytes, not {len(data)}")
    fields = _FORM.unpack(data)
    lags, weights, (bias, rate) = fields[:LAGS], fields[LAGS : 2 * LAGS], fields[2 * LAGS :]
    used = [(lag, weight) for lag, weight in zip(lags, weights, strict=True) if lag]
    if any(weight for lag, weight in zip(lags, weights, strict=True) if not lag) or len(dict(used)) < len(used):
        raise GeneError("its lags are not distinct, or a weight has none")
    if bias or sum(weight for _, weight in used) != _ONE:
        raise GeneError("it has a bias, or weights that do not sum to one: it does not predict changes")
    if any(lag > order + 1 for lag, _ in used):
        raise GeneError(f"it reaches further back than {order} changes")
    if not 0 <= rate <= _ONE // 2:
        raise GeneError("its learning rate is not from 0 to 0.5")
    by_lag = dict(used)
    changes = [-sum(by_lag.get(lag, 0) for lag in range(i + 2, order + 2)) for i in range(order)]
    if any(abs(weight) > WEIGHT_MAX for weight in changes):
        raise GeneError("a weight exceeds 2")
    return Gene(tuple(changes), rate >> 6)
