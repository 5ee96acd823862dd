"""Bytes in memory: any bytes come back and hardly grow, any bytes decode or raise the one error."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qres.codec import CodecError
from qres_host import archive, blocks
from qres_host.archive import compact

HINTS = [
    "",
    "bytes",
    "int8",
    "uint8",
    "int16",
    "uint16:3",
    "int32",
    "int32:4",
    "uint32",
    "int64",
    "uint64:2",
    "float16",
    "float32:2",
    "float64",
]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(HINTS), st.sampled_from(["fast", "best"]))
@example(b"", "int32", "fast")
@example(b"\xff", "", "best")
def test_any_bytes_come_back_and_hardly_grow(data: bytes, hint: str, level: str) -> None:
    packed = archive.compress(data, hint, level)
    assert archive.decompress(packed) == data
    assert len(packed) <= len(data) + 1


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("size", [100_003, 1_000_000])
def test_noise_of_several_pieces(hint: str, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    packed = archive.compress(data, hint)
    assert archive.decompress(packed) == data and len(packed) <= size + 1


@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "u8", "f4", "f8"])
def test_samples_shrink_whether_hinted_or_not(kind: str) -> None:
    walk = np.cumsum(np.random.default_rng(5).integers(-4, 5, 200_000))
    data = (walk / 4 if kind[0] == "f" else np.abs(walk)).astype("<" + kind).tobytes()
    name = {"i": "int", "u": "uint", "f": "float"}[kind[0]] + str(8 * int(kind[1]))
    for hint in (name, ""):
        packed = archive.compress(data, hint)
        assert archive.decompress(packed) == data
        assert len(packed) < 200_000 * 6 / 8, (hint, len(packed))


@pytest.mark.parametrize("hint", ["int24", "int32:0", "int32:5000", "int32:x", "bytes:2", "text"])
def test_unknown_hints_are_refused(hint: str) -> None:
    with pytest.raises(ValueError, match="no such usage"):
        archive.compress(b"1234", hint)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 0x1F), st.binary(max_size=60))
def test_any_bytes_decode_or_raise_the_one_error(tag: int, junk: bytes) -> None:
    with suppress(CodecError):
        archive.decompress(bytes((tag,)) + junk, limit=1 << 20)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(HINTS[1:]), st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4))
def test_damaged_bytes_decode_or_raise_the_one_error(hint: str, at: int, junk: bytes) -> None:
    packed = bytearray(archive.compress(np.arange(96, dtype="<i4").tobytes(), hint))
    at %= len(packed)
    packed[at : at + len(junk)] = junk
    with suppress(CodecError):
        archive.decompress(bytes(packed), limit=1 << 20)


def test_lengths_are_checked_first() -> None:
    for tag in (1, 2, 0x14, 0x1A):
        with pytest.raises(CodecError):
            archive.decompress(bytes((tag,)) + b"\xff\xff\xff\xff\x07\1\0")
    with pytest.raises(CodecError):
        archive.decompress(archive.compress(bytes(1000), "int32"), limit=999)
    with pytest.raises(CodecError, match="newer"):
        archive.decompress(b"\x77")
    with pytest.raises(CodecError):
        archive.decompress(b"")


def test_a_short_block_has_few_bytes_of_header() -> None:
    samples = np.arange(64, dtype=np.int32).reshape(-1, 1)
    assert len(archive.compress(samples.tobytes(), "int32")) <= len(blocks.encode(samples, "fast")) + 4
    assert compact.compress(os.urandom(64))[0] == 0
