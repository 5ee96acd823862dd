"""Exact references for the integer functions of the firmware, as whole numbers with many fractional bits."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

Q = 192
"""Fractional bits: a chain of 2^21 rounded products loses fewer than 22 of them."""
ONE = 1 << Q
END = 20 << 16
"""Magnitudes in Q16.16 up to which functions are tried one by one; beyond they do not change."""


def exponentials() -> list[int]:
    """e^-t for t = 0, 1, ... END in 1/65536, Q192."""
    with localcontext() as context:
        context.prec = 80
        ratio = int((Decimal(-1) / 65536).exp() * ONE)
    values = [ONE]
    for _ in range(END):
        values.append(values[-1] * ratio >> Q)
    return values


def sigmoids(e: Iterable[int]) -> list[int]:
    """1 / (1 + e^-t) for given e^-t, Q192."""
    return [(ONE << Q) // (ONE + each) for each in e]


def tanhs(e: Iterable[int]) -> list[int]:
    """tanh t for given e^-2t, Q192."""
    return [((ONE - each) << Q) // (ONE + each) for each in e]


def worst_ulp(found: Iterable[int], truth: Iterable[int]) -> float:
    """Greatest distance of Q16.16 numbers from exact ones in Q192, in units of the last place."""
    return max(abs((value << (Q - 16)) - true) for value, true in zip(found, truth, strict=True)) / (1 << (Q - 16))
