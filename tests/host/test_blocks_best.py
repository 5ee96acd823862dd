"""The best level: exact for every int32 matrix, alike with and without Numba; hostile bytes end in CodecError."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from qres.codec import CodecError
from qres_host.blocks import best, ladder
from qres_host.blocks.tables import LOGITS, mixer_tables
from test_blocks import HIGH, LOW, SHAPES, streams, walk


def there_and_back(x: np.ndarray) -> bytes:
    """The encoding, once it has been decoded."""
    data = best.encode(x)
    assert np.array_equal(best.decode(data, *x.shape), x)
    return data


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["walk", "noise", "constant", "extremes"])
def test_every_shape_comes_back(shape: tuple[int, int], kind: str) -> None:
    random = np.random.default_rng(5)
    made = {
        "walk": walk(*shape),
        "noise": random.integers(LOW, HIGH, shape, endpoint=True),
        "constant": np.full(shape, HIGH),
        "extremes": random.choice(np.array([LOW, HIGH]), shape),
    }
    there_and_back(made[kind].astype(np.int32))


@pytest.mark.parametrize("name", streams())
def test_every_way_of_coding_comes_back(name: str) -> None:
    there_and_back(streams()[name])


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 90), st.integers(1, 4))))
def test_any_matrix_comes_back(x: np.ndarray) -> None:
    there_and_back(x)


def test_a_constant_costs_next_to_nothing_and_a_wave_its_noise() -> None:
    assert len(there_and_back(np.full((20000, 1), -7, np.int32))) < 40
    t = np.arange(20000)
    noise = np.random.default_rng(2).normal(0, 4, t.size)
    wave = np.rint(9000 * np.sin(t / 30) + 5000 * np.sin(t / 7) + noise).astype(np.int32)[:, None]
    bound = np.log2(4 * np.sqrt(2 * np.pi * np.e))  # entropy of the noise
    assert bound < 8 * len(there_and_back(wave)) / t.size < 1.25 * bound


def test_a_channel_is_predicted_from_its_neighbour() -> None:
    a = np.cumsum(np.random.default_rng(4).normal(0, 300, 6000)).astype(np.int32)
    pair = np.stack([a, a // 2 + 11], axis=1)
    alone = len(there_and_back(pair[:, :1].copy())) + len(there_and_back(pair[:, 1:].copy()))
    assert len(there_and_back(pair)) < 0.7 * alone


def _digest() -> str:
    made = [best.encode(walk(*shape)) for shape in SHAPES[:7]] + [best.encode(x[:300]) for x in streams().values()]
    return hashlib.sha256(b"".join(made)).hexdigest()


def _plainly(expression: str) -> str:
    """What an expression of this module prints where Numba is switched off."""
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(here), *sys.path]!r}; import test_blocks_best as t; print({expression})"
    environment = {**os.environ, "QRES_NUMBA": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_plain_python_and_numba_write_the_same() -> None:
    assert _plainly("t._digest()") == _digest()


def test_the_format_is_as_it_was() -> None:
    """The coded bytes of version 1 may never change: archives hold them."""
    assert _digest() == "e635dd841f94cb8a04a86eaadd4bf7fa54ade42ab8ce91e12c28cb283f6c0e8d"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 40), st.integers(1, 3))
def test_any_bytes_end_in_data_or_codec_error(data: bytes, rows: int, channels: int) -> None:
    try:
        x = best.decode(bytes((best.ID,)) + data, rows, channels)
    except CodecError:
        return
    assert x.shape == (rows, channels)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_blocks_end_in_data_or_codec_error(data: st.DataObject) -> None:
    x = walk(400, 2)
    good = bytearray(best.encode(x))
    for _ in range(3):
        good[data.draw(st.integers(1, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CodecError):
        best.decode(bytes(good), *x.shape)


def test_a_truncated_block_and_one_too_long_are_refused() -> None:
    x = walk(500, 1)
    data = best.encode(x)
    for cut in (len(data) // 3, len(data) // 2, len(data) - 1):
        with pytest.raises(CodecError):
            best.decode(data[:-cut], *x.shape)
    with pytest.raises(CodecError):
        best.decode(data + b"\0\0", *x.shape)


def test_the_logistic_tables_are_what_they_say() -> None:
    tables = mixer_tables()
    logits = (np.arange(LOGITS) - LOGITS // 2) / 256
    assert np.abs(np.array(tables[:LOGITS]) - np.clip(65536 / (1 + np.exp(-logits)), 16, 65520)).max() <= 1
    chance = (np.arange(LOGITS) + 0.5) / LOGITS
    exact = np.clip(256 * np.log(chance / (1 - chance)), -2048, 2047)
    assert np.abs(np.array(tables[LOGITS : 2 * LOGITS]) - exact).max() <= 5


def test_a_ladder_equals_recursive_least_squares() -> None:
    """The short filter's error, on a signal of 12 poles, is within some per cent of an RLS in floating point."""
    rng = np.random.default_rng(6)
    x = np.zeros(4000)
    for t in range(2, x.size):
        x[t] = 1.9 * x[t - 1] - 0.95 * x[t - 2] + rng.normal(0, 50)
    signal = [round(v) for v in x]
    state = best._array(ladder.start(1), "i8")
    tables, out = best._array(mixer_tables(), "i4"), best._array([0] * 4, "i8")
    errors = []
    for v in signal:
        ladder.predict(state, 0, out, 0)
        errors.append([v - int(p) for p in out])
        ladder.update(state, 0, tables, v)
    least = np.sqrt(np.mean(_rls_errors(x, 2, 1 - 2.0**-6)[500:] ** 2))
    found = np.sqrt(np.mean(np.array(errors)[500:, 0] ** 2.0))
    assert abs(found / least - 1) < 0.05


def _rls_errors(x: np.ndarray, order: int, fading: float) -> np.ndarray:
    """A-priori errors of exponentially weighted recursive least squares."""
    p, w, errors = np.eye(order) * 1e3, np.zeros(order), np.zeros(x.size)
    for t in range(order, x.size):
        u = x[t - order : t][::-1]
        gain = p @ u / (fading + u @ p @ u)
        errors[t] = x[t] - w @ u
        w = w + gain * errors[t]
        p = (p - np.outer(gain, u @ p)) / fading
    return errors


def _largest_state() -> int:
    """The largest number that a ladder keeps or says on hard signals."""
    random = np.random.default_rng(8)
    worst = 0
    for x in (
        random.choice(np.array([LOW, HIGH]), 300),
        random.integers(LOW, HIGH, 300),
        np.where(np.arange(300) % 50, 0, HIGH),
    ):
        state, out, tables = ladder.start(1), [0] * 4, list(mixer_tables())
        for v in np.diff(x).tolist():
            ladder.predict(state, 0, out, 0)
            ladder.update(state, 0, tables, (v << 4) >> 13)  # the shift for deltas of 33 bits
            worst = max(worst, *map(abs, state), *map(abs, out))
    return worst


def test_the_state_of_a_ladder_stays_in_64_bits_on_hard_signals() -> None:
    """In plain Python integers grow without wrapping, so this finds what a compiled loop would get wrong."""
    assert int(_plainly("t._largest_state()")) < 1 << 58
