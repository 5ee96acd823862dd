"""Values near samples: always within the bounds, and worth it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from qres_host import blocks
from qres_host.blocks import lossy

LOW, HIGH = -(1 << 31), (1 << 31) - 1


def slow() -> np.ndarray:
    """A slow wave with noise, and a walk."""
    random = np.random.default_rng(1)
    t = np.arange(4000)
    wave = 3000 * np.sin(t / 200) + random.normal(0, 4, t.size)
    return np.stack([np.rint(wave), np.cumsum(random.integers(-3, 4, t.size))], axis=1).astype(np.int32)


def error(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The greatest error of each channel."""
    assert y.dtype == np.int32 and y.shape == x.shape
    return np.abs(x.astype(np.int64) - y).max(axis=0)


@pytest.mark.parametrize("eps", [1, 2, 3, 10, 100, HIGH])
def test_bounded_keeps_the_bound_and_pays(eps: int) -> None:
    x = slow()
    y = lossy.bounded(x, np.array([eps, 2]))
    assert (error(x, y) <= (eps, 2)).all()
    grid = (x[:, :1] + eps) // (2 * eps + 1) if eps < HIGH else x[:, :1]
    assert len(blocks.encode(y[:, :1], "fast")) <= 1.02 * len(blocks.encode(grid, "fast")) + 16


def test_freedom_within_the_bound_is_used() -> None:
    x = slow()[:, 1:]
    grid = ((x + 10) // 21).astype(np.int32)
    assert len(blocks.encode(lossy.bounded(x, np.array([10])), "fast")) < 0.95 * len(blocks.encode(grid, "fast"))


@pytest.mark.parametrize("threshold", [0, 1])
def test_silent_below_two_changes_nothing(threshold: int) -> None:
    x = slow()
    assert np.array_equal(lossy.silent(x, np.array([threshold] * 2)), x)
    assert np.array_equal(lossy.bounded(x, np.array([0, 0])), x)


def test_silence_costs_little() -> None:
    x = slow()[:, :1]
    y = lossy.silent(x, np.array([200]))
    assert error(x, y) < 200
    assert len(blocks.encode(y, "fast")) < 0.2 * len(blocks.encode(x, "fast"))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.int32, st.tuples(st.integers(0, 60), st.just(2)), elements=st.integers(LOW, HIGH)),
    st.tuples(st.integers(0, 5), st.integers(0, 1 << 33)),
)
def test_every_error_is_within_its_bound(x: np.ndarray, eps: tuple[int, int]) -> None:
    limits = np.array(eps)
    for y, bound in ((lossy.bounded(x, limits), limits), (lossy.silent(x, limits), np.maximum(limits - 1, 0))):
        assert y.shape == x.shape and (np.abs(x.astype(np.int64) - y) <= bound).all()


@pytest.mark.parametrize("limits", [[1], [1, -1], [1.0, 2.0]])
def test_other_limits_are_refused(limits: list[float]) -> None:
    with pytest.raises(ValueError, match="one limit for each channel"):
        lossy.bounded(slow(), np.array(limits))


def test_plain_python_and_numba_choose_the_same() -> None:
    root = Path(__file__).resolve().parents[2]
    places = [str(root / "firmware"), str(root / "host"), str(Path(__file__).parent)]
    code = f"import sys; sys.path[:0] = {places!r}; import test_blocks_lossy as t; print(t.chosen())"
    environment = {**os.environ, "QRES_NUMBA": "0"}
    plain = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == chosen()


def chosen() -> str:
    """What both modes choose, as text."""
    x = slow()[:1500]
    return str([lossy.bounded(x, np.array([9, 2])).tolist(), lossy.silent(x, np.array([9, 5])).tolist()])
