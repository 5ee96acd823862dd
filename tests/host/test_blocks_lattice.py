"""Lattices: found where they pay, exact there and back, small, and hostile bytes end in CodecError."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres.codec import CodecError
from qres_host.blocks import lattice
from qres_host.blocks.varint import Reader

STEPS = np.cumsum(np.random.default_rng(2).integers(-5, 6, 4000))


def found(column: np.ndarray) -> lattice.Lattice:
    """The lattice of the column, checked there and back, through its bytes."""
    made = lattice.find(column.astype(np.int64))
    assert made is not None
    reader = Reader(made.pack())
    again = lattice.unpack(reader, column.size)
    assert reader.at == len(reader.data)
    assert np.array_equal(again.undo(made.apply(column.astype(np.int64))), column)
    return made


@pytest.mark.parametrize("step", [2, 1000, 123457])
def test_whole_steps(step: int) -> None:
    column = STEPS * step - 77
    made = found(column)
    assert made.shift == 0 and len(made.pack()) < 12
    assert np.abs(np.diff(made.apply(column))).max() == 5


@pytest.mark.parametrize("step", [2.5, 3.2708, 66.983, 1001.0061, 70000.7123])
@pytest.mark.parametrize("rounded", [np.rint, np.floor, np.ceil])
def test_steps_that_are_no_integers(step: float, rounded: np.ufunc) -> None:
    column = rounded(STEPS * step + 1.31).astype(np.int64)
    made = found(column)
    assert made.shift and len(made.pack()) < 20
    assert np.abs(np.diff(made.apply(column))).max() == 5


@pytest.mark.parametrize("spread", [1 << 12, 1 << 30])
def test_few_values(spread: int) -> None:
    random = np.random.default_rng(4)
    values = np.unique(random.integers(-spread, spread, 90))
    column = values[random.integers(0, values.size, 4000)]
    made = found(column)
    assert np.array_equal(made.values, values)
    assert len(made.pack()) < values.size * 4 + 16


@pytest.mark.parametrize("step", [10, 100, 5000])
@pytest.mark.parametrize("others", [1, 60, 800])
def test_steps_that_most_values_keep(step: int, others: int) -> None:
    random = np.random.default_rng(8)
    column = np.cumsum(random.integers(-3000, 3001, 4000)) * step - 77
    column[random.choice(column.size, others, replace=False)] += random.integers(1, step, others)
    made = found(column)
    assert made.step == step and np.count_nonzero(made.rests) == others
    bound = others * (np.log2(step) + np.log2(column.size / others) + 1.5)  # which ones, and how far they are off
    assert 8 * len(made.pack()) < 1.2 * bound + 8 * 30


def test_a_remainder_that_values_repeat_is_not_coded_twice() -> None:
    column = np.repeat(STEPS[:400] * 100 + np.where(np.arange(400) % 8, 0, 37), 10)
    assert not getattr(lattice.find(column), "rests", lattice.NONE).size


def test_no_lattice_where_it_would_not_pay() -> None:
    random = np.random.default_rng(6)
    for column in (STEPS, random.integers(-(1 << 31), 1 << 31, 4000), np.full(9, 4), np.arange(1)):
        assert lattice.find(column.astype(np.int64)) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 50))
def test_any_bytes_are_a_lattice_or_an_error(data: bytes, rows: int) -> None:
    try:
        made = lattice.unpack(Reader(data), rows)
        values = made.undo(np.arange(-3, rows - 3))
    except CodecError:
        return
    assert values.dtype == np.int64 and values.size == rows and np.abs(values).max(initial=0) <= 1 << 31
