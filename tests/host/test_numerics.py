"""Numbers against exact ones: every input of the elementary functions, and random shares, as the host compiles them."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from numpy.typing import NDArray
from qres import elementary
from qres.elementary import EXP, EXPS, SIGMOID, TANH
from qres_host import native
from qres_host.bench.exact import END, ONE, exponentials, sigmoids, tanhs, worst_ulp

KERNELS = native.load("elementary")


def computed(kind: int, x: NDArray[np.int32]) -> list[int]:
    """What the kernel makes of `x`."""
    values = np.ascontiguousarray(x, np.int32).copy()
    KERNELS.activate(0, 0, 0, kind, len(values), values, np.array(EXPS, np.int32))
    return [int(value) for value in values]


@pytest.fixture(scope="module")
def powers() -> list[int]:
    """e^-t for every magnitude from 0 to 20, in Q192."""
    return exponentials()


def test_exp_is_within_051_ulp_of_every_value(powers: list[int]) -> None:
    found = computed(EXP, -np.arange(END + 1))
    assert worst_ulp(found, powers) <= 0.51
    assert found == sorted(found, reverse=True) and found[0] == 65536


def test_sigmoid_is_within_051_ulp_of_every_value_and_monotone(powers: list[int]) -> None:
    above, below = (computed(SIGMOID, sign * np.arange(END + 1)) for sign in (1, -1))
    truth = sigmoids(powers)
    assert worst_ulp(above, truth) <= 0.51
    assert worst_ulp(below, (ONE - value for value in truth)) <= 0.51
    assert below[::-1] + above[1:] == sorted(below + above[1:])


def test_tanh_is_within_051_ulp_of_every_value_and_odd(powers: list[int]) -> None:
    above, below = (computed(TANH, sign * np.arange(END // 2 + 1)) for sign in (1, -1))
    assert worst_ulp(above, tanhs(powers[::2])) <= 0.51
    assert above == [-value for value in below] == sorted(above)


def test_beyond_the_tried_magnitudes_nothing_changes() -> None:
    for x in (END, END + 1, 1 << 24, 0x7FFFFFFF, 1 << 40):
        assert elementary.exp(-x) == elementary.sigmoid(-x) == 0
        assert elementary.sigmoid(x) == elementary.tanh(x) == -elementary.tanh(-x) == 65536


def test_softmax_is_within_one_ulp_and_sums_to_one(powers: list[int]) -> None:
    rng = np.random.default_rng(4)
    greatest = 0.0
    exps = np.array(EXPS, np.int32)
    for _ in range(20_000):
        scale = 1 << int(rng.integers(4, 21))
        values = rng.integers(-scale, scale + 1, int(rng.integers(1, 17)))
        made = values.astype(np.int32)
        KERNELS.shares(0, 0, 0, len(made), made, exps)
        assert made.sum() == 65536 and made.min() >= 0
        order = np.argsort(values, kind="stable")
        assert (np.diff(made[order])[np.diff(values[order]) > 0] >= 0).all()
        weights = [powers[t] if t <= END else 0 for t in (int(values.max()) - values).tolist()]
        total = sum(weights)
        for share, weight in zip(made.tolist(), weights, strict=True):
            greatest = max(greatest, abs(share * total - (weight << 16)) / total)
    assert greatest < 1


def test_softmax_of_numbers_of_any_size() -> None:
    assert elementary.softmax([-0x80000000, 0x7FFFFFFF]) == [0, 65536]
    assert elementary.softmax([7] * 3) == [21846, 21845, 21845]
    for count in (0, 17):
        with pytest.raises(ValueError):
            elementary.softmax([0] * count)


def test_vector_and_scalar_forms_agree() -> None:
    values = array("i", range(-90000, 90000, 3001))
    for kind, function in ((SIGMOID, elementary.sigmoid), (TANH, elementary.tanh)):
        made = array("i", values)
        elementary.activate(0, 0, 0, kind, len(made), made, EXPS)
        assert list(made) == [function(x) for x in values]
