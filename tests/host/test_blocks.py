"""Blocks: exact for every int32 matrix, never much longer than raw, and hostile bytes end in data or CodecError."""

from __future__ import annotations

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
from qres_host import blocks
from qres_host.blocks import fit, tokens

LOW, HIGH = -(1 << 31), (1 << 31) - 1
SHAPES = [(1, 1), (2, 1), (2, 3), (3, 2), (64, 1), (192, 2), (193, 2), (700, 3), (9000, 2)]


def walk(rows: int, channels: int, seed: int = 1) -> np.ndarray:
    """A random walk, the channels akin."""
    steps = np.random.default_rng(seed).integers(-9, 10, (rows, channels))
    return np.cumsum(np.cumsum(steps, axis=1), axis=0).astype(np.int32)


def streams() -> dict[str, np.ndarray]:
    """Matrices that reach every way of coding, by name."""
    random = np.random.default_rng(7)
    t = np.arange(3000)
    wave = np.rint(20000 * np.sin(t / 9) + random.normal(0, 3, t.size) * (1 + 30 * (t // 500 % 2)))
    steps = walk(3000, 1)[:, 0]
    return {
        "wave and its echo": np.stack([wave, np.roll(wave, 1) // 3], axis=1).astype(np.int32),
        "whole step": (7 * walk(3000, 2) + 5).astype(np.int32),
        "step that is no integer": np.rint(66.983 * steps).astype(np.int32)[:, None],
        "few values": np.array([-40000, 3, 17, 170001])[random.integers(0, 4, 3000)].astype(np.int32)[:, None],
        "constant and noise": np.stack([np.full(3000, 9), random.integers(LOW, HIGH, 3000)], axis=1).astype(np.int32),
        "extremes": random.choice(np.array([LOW, HIGH]), (3000, 2)).astype(np.int32),
        "ramp through all": np.linspace(LOW, HIGH, 3000).astype(np.int32)[:, None],
        "rare spikes": (walk(3000, 1) + (random.random((3000, 1)) < 0.01) * 1_000_000).astype(np.int32),
    }


def rare() -> np.ndarray:
    """One value, and three times another: frequencies of nearly all and of nearly nothing."""
    return (np.arange(9000) % 4000 == 17).astype(np.int32)[:, None]


def chords() -> np.ndarray:
    """Two channels of many tones, long enough for stretches, with more taps than a short predictor has."""
    random = np.random.default_rng(9)
    t = np.arange(20_000)
    tones = sum(np.sin(t * f) * 900 for f in (0.31, 0.57, 1.1, 1.7, 2.3))
    first = np.rint(tones + random.normal(0, 4, t.size))
    return np.stack([first, np.rint(0.4 * first + random.normal(0, 3, t.size))], axis=1).astype(np.int32)


def there_and_back(x: np.ndarray, level: str = "fast") -> bytes:
    """The encoding, after what every block must keep to."""
    data = blocks.encode(x, level)
    assert len(data) <= 4 * x.size + blocks.EXPANSION_MAX
    y = blocks.decode(data, *x.shape)
    assert y.dtype == np.int32 and np.array_equal(x, y)
    return data


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["walk", "noise", "constant", "extremes"])
def test_every_shape_comes_back(shape: tuple[int, int], kind: str) -> None:
    random = np.random.default_rng(3)
    made = {
        "walk": walk(*shape),
        "noise": random.integers(LOW, HIGH, shape, endpoint=True),
        "constant": np.full(shape, LOW),
        "extremes": random.choice(np.array([LOW, HIGH]), shape),
    }
    there_and_back(made[kind].astype(np.int32))


@pytest.mark.parametrize("name", streams())
def test_every_way_of_coding_comes_back(name: str) -> None:
    there_and_back(streams()[name])


def test_what_is_predictable_is_short() -> None:
    found = {name: 8 * len(there_and_back(x)) / x.size for name, x in streams().items()}
    plain = 8 * len(there_and_back(walk(3000, 1))) / 3000  # 4.25 bits of noise in each value
    assert plain < 4.6
    assert found["whole step"] < 4.9 and found["step that is no integer"] < 4.7 and found["few values"] < 2.3
    assert len(there_and_back(rare())) < 40
    assert found["wave and its echo"] < 5.5 and found["ramp through all"] < 1.5


def test_many_taps_and_those_on_another_channel_make_blocks_short() -> None:
    x = chords()
    alone = there_and_back(x[:, :1])
    assert 8 * len(alone) / len(x) < 4.7  # of which 4.05 are the noise
    assert len(there_and_back(x)) < len(alone) + len(there_and_back(x[:, 1:]))
    kin = fit.Kin()
    plans = [fit.plan(np.ascontiguousarray(v), kin, c) for c, v in enumerate(x.T)]
    assert plans[0].order == 32 and plans[1].other == 0


def test_no_rows_are_a_block() -> None:
    x = np.zeros((0, 3), np.int32)
    assert np.array_equal(blocks.decode(blocks.encode(x, "fast"), 0, 3), x)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 300), st.integers(1, 4)), elements=st.integers(LOW, HIGH)))
def test_any_matrix_comes_back(x: np.ndarray) -> None:
    there_and_back(x)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(3, np.int32), np.zeros((1, 4097), np.int32)])
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="int32 matrix"):
        blocks.encode(bad, "fast")
    with pytest.raises(ValueError, match="level"):
        blocks.encode(np.zeros((1, 1), np.int32), "middling")


def decoded_or_refused(data: bytes, rows: int, channels: int) -> None:
    """Hostile bytes end in a matrix of the right shape or in CodecError."""
    try:
        y = blocks.decode(data, rows, channels)
    except CodecError:
        return
    assert y.shape == (rows, channels) and y.dtype == np.int32


@pytest.mark.parametrize("name", streams())
def test_damaged_bytes_are_data_or_an_error(name: str) -> None:
    x = streams()[name][:400]
    data = blocks.encode(x, "fast")
    random = np.random.default_rng(5)
    for cut in {*range(min(len(data), 90)), *random.integers(0, len(data), 60).tolist()}:
        with pytest.raises(CodecError):
            blocks.decode(data[:cut], *x.shape)
    for _ in range(300):
        broken = bytearray(data)
        for at in random.integers(0, min(len(data), 1 << random.integers(2, 16)), 3).tolist():
            broken[at] = int(random.integers(256))
        decoded_or_refused(bytes(broken), *x.shape)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([0, 1, 3, 77]), st.binary(max_size=300), st.integers(0, 300), st.integers(1, 9))
def test_any_bytes_are_data_or_an_error(coder: int, data: bytes, rows: int, channels: int) -> None:
    decoded_or_refused(bytes((coder,)) + data, rows, channels)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 1200), st.integers(0, 1 << 30), st.sampled_from([12, 13, 14]))
def test_frequencies_fill_their_table(size: int, seed: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    w = (random.integers(0, 16, (3, size)) << random.integers(0, 13, (3, size))) * random.integers(0, 2, (3, size))
    w[1, :] = np.minimum(w[1, :], 1)
    freq = tokens.frequencies(w, bits)
    assert (freq.sum(axis=1) == 1 << bits).all() and (freq >= 0).all()
    assert (freq[w > 0] > 0).all() and (freq[1:][:, 1:] > 0).sum() <= (w[1:] > 0).sum()


@pytest.mark.parametrize(("rows", "channels"), [(-1, 1), (1, 0), (1, 4097), (1 << 23, 1)])
def test_undue_sizes_are_refused(rows: int, channels: int) -> None:
    with pytest.raises(CodecError):
        blocks.decode(b"\0", rows, channels)


def digests() -> str:
    """One line for each stream: its name and a hash of its encoding, decoded on the way."""
    lines = []
    for name, x in {**streams(), "rare": rare(), "chords": chords(), "short": walk(50, 3)}.items():
        lines.append(f"{name} {hashlib.sha256(there_and_back(x)).hexdigest()}")
    return "\n".join(lines)


def test_plain_python_and_numba_write_the_same() -> None:
    root = Path(__file__).resolve().parents[2]
    places = [str(root / "firmware"), str(root / "host"), str(Path(__file__).parent)]
    code = f"import sys; sys.path[:0] = {places!r}; import test_blocks; print(test_blocks.digests())"
    environment = {**os.environ, "QRES_NUMBA": "0"}
    plain = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == digests()
