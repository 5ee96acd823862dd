"""Whole-number roots, products, moments and tests for outliers against what others compute, by the hundred thousand."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import grubbs
import numpy as np
import pytest
from qres import fixed, outliers
from qres.moments import Moments
from qres.stats import Welford
from qres_host import native


def test_isqrt_around_all_squares_of_16_bits_and_many_of_32() -> None:
    source = random.Random(1)
    roots = [*range(1, 1 << 16), *(source.getrandbits(32) for _ in range(60_000)), (1 << 32) - 1]
    for root in roots:
        square = root * root
        assert fixed.isqrt(square) == root == fixed.isqrt(square + 2 * root)
        assert fixed.isqrt(square - 1) == max(root - 1, 0) if root else True
    for value in (source.getrandbits(64) for _ in range(60_000)):
        assert fixed.isqrt(value) == math.isqrt(value)


def test_mul_and_div_are_the_rounded_fractions() -> None:
    source = random.Random(2)
    for _ in range(60_000):
        a, b = (source.getrandbits(bits) - (1 << bits >> 1) for bits in (source.randrange(1, 33), 32))
        assert fixed.mul(a, b) == fixed.sat32(math.floor(Fraction(a * b, 65536)))
        if b:
            assert fixed.div(a, b) == fixed.sat32(math.trunc(Fraction(a << 16, b)))


def signal(seed: int, count: int) -> list[int]:
    """Numbers around some level, some of them far away."""
    rng = np.random.default_rng(seed)
    level, size = (int(rng.integers(0, 1 << int(rng.integers(1, 28)))) for _ in range(2))
    values = np.round(rng.normal(level, size + 1, count)) + (rng.random(count) < 0.01) * (1 << 26)
    return [int(v) for v in np.clip(values, -(1 << 29), (1 << 29) - 1)]


def test_welford_is_exact_after_a_hundred_thousand_samples_and_merges_in_any_split() -> None:
    for seed in range(3):
        values = signal(seed, 100_000)
        n, total, squares = len(values), sum(values), sum(x * x for x in values)
        parts = [Welford() for _ in range(4)]
        for i, x in enumerate(values):
            parts[min(i * 5 // n, 3)].push(x)
        whole = Welford()
        for part in parts:
            whole.merge(part)
        assert whole.n == n and whole.mean() == total // n and whole.spread() == n * squares - total * total


def test_words_are_the_same_sums_and_round_once() -> None:
    add = native.load("moments").add_sample
    for seed in range(6):
        values = signal(seed, 100_000)
        found, exact = Moments(), Welford()
        sums = np.array(found.sums, np.int32)
        for x in values:
            add(x, 0, 0, sums)
            exact.push(x)
        found.sums[:] = type(found.sums)("i", sums.tolist())
        same = found.welford()
        assert (same.n, same.x0, same.s, same.q) == (exact.n, exact.x0, exact.s, exact.q)
        n = len(values)
        assert abs(found.mean_q32() - Fraction(sum(values) << 16, n)) <= Fraction(1, 2)
        m2 = Fraction(exact.spread(), n)
        assert abs(found.m2_q32() - m2) <= Fraction(1, 2)
        if m2 >= n * 64 * 64:
            assert abs(Fraction(found.m2_q32()) / m2 - 1) <= Fraction(1, 10**6)


def test_the_table_of_critical_values_is_that_of_scipy() -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    assert grubbs.table() == outliers._T and len(outliers._T) == 384


def test_grubbs_decides_as_scipy_does() -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    rng = np.random.default_rng(7)
    limits = {n: grubbs.critical(n) for n in grubbs.SIZES}
    found = 0
    for _ in range(12_000):
        n = int(rng.integers(3, 131))
        x = np.round(rng.normal(0, 6000, n) + (rng.random(n) < 0.02) * rng.normal(0, 40_000, n))
        far = np.abs(x - x.mean())
        index = outliers.grubbs([int(value) for value in x])
        assert (index >= 0) == bool(far.max() ** 2 > limits[n] * x.var(ddof=1))
        if index >= 0:
            assert far[index] == far.max()
            found += 1
    assert found > 1000


def test_generalized_esd_is_rosners_procedure() -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    rng = np.random.default_rng(8)
    limits = {n: grubbs.critical(n) for n in grubbs.SIZES}
    for _ in range(1500):
        n = int(rng.integers(10, 80))
        values = [int(v) for v in np.round(rng.normal(0, 1000, n))]
        for i in range(int(rng.integers(0, 6))):
            values[i] += 5000
        kept, taken, last = dict(enumerate(values)), [], 0
        for i in range(8):
            x = np.array(list(kept.values()), float)
            far = np.abs(x - x.mean())
            index = list(kept)[int(far.argmax())]
            taken.append(index)
            if far.max() ** 2 > limits[len(x)] * x.var(ddof=1):
                last = i + 1
            del kept[index]
        assert outliers.generalized_esd(values, 8) == sorted(taken[:last])
