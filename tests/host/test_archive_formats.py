"""Files of other formats through archives: arrays, sound, parquet, anything; none grows by more than 64 bytes."""

from __future__ import annotations

import csv
import io
import os
import struct
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres_host import archive, cli
from qres_host.archive import writer

WALK = np.cumsum(np.random.default_rng(3).integers(-9, 10, 5000))


def through(path: Path, *options: str) -> Path:
    """Compress and decompress a file; returns the new one."""
    packed, back = path.with_suffix(".qres"), path.with_name("back" + path.suffix)
    assert cli.run(["compress", "--force", *options, str(path), str(packed)]) == 0
    assert cli.run(["decompress", "--force", str(packed), str(back)]) == 0
    return back


ARRAYS = {
    "vector": WALK.astype("i4"),
    "matrix": WALK.reshape(-1, 5).astype("u2"),
    "fortran": np.asfortranarray(WALK.reshape(-1, 5).astype("f4")),
    "cube": WALK.reshape(10, 100, 5).astype("i8"),
    "wide": WALK.reshape(1, -1).repeat(2, axis=0).astype("i2"),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "nothing wide": np.zeros((3, 0), "i4"),
    "big-endian": WALK.astype(">i4"),
    "flags": WALK % 3 == 0,
    "decimals": np.round(WALK / 100, 2),
    "noise": np.random.default_rng(1).normal(size=300),
    "not a number": np.where(WALK % 50 == 0, np.nan, WALK / 10),
    "dates": WALK.astype("M8[s]"),
    "words": np.array(["a", "bc"]),
    "complex": np.array([1j, 2.0]),
    "dimensions": np.zeros((3,) + (1,) * 39),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_comes_back(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ARRAYS[name])
    back = np.load(through(tmp_path / "x.npy"))
    assert back.dtype == ARRAYS[name].dtype and back.shape == ARRAYS[name].shape
    assert back.tobytes() == ARRAYS[name].tobytes()


def test_npz_comes_back_with_what_is_no_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **ARRAYS)  # type: ignore[arg-type]
    back = np.load(through(tmp_path / "x.npz"))
    assert back.files == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert back[name].dtype == values.dtype and back[name].shape == values.shape, name
        assert back[name].tobytes() == values.tobytes(), name


def test_an_npy_grows_by_its_first_axis(tmp_path: Path) -> None:
    matrix = WALK.reshape(-1, 5).astype("i4")
    np.save(tmp_path / "a.npy", matrix[:600])
    np.save(tmp_path / "b.npy", matrix[600:])
    for name in "ab":
        assert cli.run(["compress", "--append", str(tmp_path / f"{name}.npy"), str(tmp_path / "x.qres")]) == 0
    assert cli.run(["decompress", str(tmp_path / "x.qres"), str(tmp_path / "x.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "x.npy"), matrix)


def sound(width: int, channels: int) -> bytes:
    """A .wav file of a walk."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(44_100)
        values = np.clip(WALK, -100, 100) + (128 if width == 1 else 0)
        raw = values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
        file.writeframes(raw[: len(raw) // channels * channels].tobytes())
    return out.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_comes_back_byte_for_byte(width: int, channels: int, tmp_path: Path) -> None:
    data = sound(width, channels)
    data += b"LIST" + struct.pack("<I", 4) + b"abcd"
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    (tmp_path / "x.wav").write_bytes(data)
    assert through(tmp_path / "x.wav").read_bytes() == data
    with archive.open(tmp_path / "x.qres") as found:
        assert found.origin == "wav" and len(found.columns) == channels
        first = np.clip(WALK, -100, 100)[::channels] + (128 if width == 1 else 0)
        assert np.array_equal(found.read()["c1"], first)


def test_sound_is_continued(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(sound(2, 2))
    for _ in range(2):
        assert cli.run(["compress", "--append", str(tmp_path / "x.wav"), str(tmp_path / "x.qres")]) == 0
    assert cli.run(["decompress", str(tmp_path / "x.qres"), str(tmp_path / "back.wav")]) == 0
    with wave.open(str(tmp_path / "x.wav")) as one, wave.open(str(tmp_path / "back.wav")) as two:
        assert two.readframes(1 << 20) == one.readframes(1 << 20) * 2


def test_sound_that_is_no_pcm_is_kept_as_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for hurt in (sound(2, 1)[:-3], sound(2, 1)[:30], b"RIFF" + bytes(60)):
        (tmp_path / "x.wav").write_bytes(hurt)
        assert through(tmp_path / "x.wav").read_bytes() == hurt
        assert "kept as bytes" in capsys.readouterr().err
        assert cli.run(["compress", "--as", "wav", str(tmp_path / "x.wav"), str(tmp_path / "y.qres")]) == 1


def test_parquet_comes_back(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(
        {
            "time": pyarrow.array(np.arange(1000) * 1000, pyarrow.timestamp("us")),
            "temp": pyarrow.array([None if i % 7 == 0 else i / 4 for i in range(1000)]),
            "count": pyarrow.array([None if i % 9 == 0 else i for i in range(1000)], pyarrow.int16()),
            "word": pyarrow.array([None if i % 5 == 0 else f"w{i % 3}" for i in range(1000)]),
            "flag": pyarrow.array([None if i % 4 == 0 else i % 3 == 0 for i in range(1000)]),
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet")
    back = parquet.read_table(through(tmp_path / "x.parquet"))
    assert back.to_pydict() == table.to_pydict()


def test_parquet_without_pyarrow_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert cli.run(["compress", str(tmp_path / "x.parquet"), str(tmp_path / "x.qres")]) == 1
    assert capsys.readouterr().err == "qres: parquet needs pyarrow: install it with `pip install pyarrow`\n"


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=2000), st.text(alphabet="0123456789.,-\n ab", max_size=200).map(str.encode)))
def test_nothing_grows_by_more_than_64_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "x").write_bytes(data)
    assert cli.run(["compress", str(folder / "x"), str(folder / "y")]) == 0
    assert (folder / "y").stat().st_size <= len(data) + 64
    assert cli.run(["decompress", str(folder / "y"), str(folder / "z")]) == 0
    assert (folder / "z").read_bytes() == data


@pytest.mark.parametrize("size", [0, 1, 70_000, (1 << 22) + 1, 9_000_000])
@pytest.mark.parametrize("suffix", ["", ".bin"])
def test_noise_of_any_length_grows_by_64_bytes_at_most(size: int, suffix: str, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / f"x{suffix}").write_bytes(data)
    assert cli.run(["compress", "--level", "fast", str(tmp_path / f"x{suffix}"), str(tmp_path / "y")]) == 0
    assert (tmp_path / "y").stat().st_size <= size + writer.EXPANSION_MAX
    assert cli.run(["decompress", str(tmp_path / "y"), str(tmp_path / "z")]) == 0
    assert (tmp_path / "z").read_bytes() == data


def test_a_table_of_noise_becomes_bytes_when_it_would_grow(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.frombuffer(os.urandom(8 * 70_000), "<f8"))
    back = through(tmp_path / "x.npy")
    assert back.read_bytes() == (tmp_path / "x.npy").read_bytes()
    assert (tmp_path / "x.qres").stat().st_size <= (tmp_path / "x.npy").stat().st_size + 64


def limits(found: dict[str, Any], given: dict[str, Any]) -> dict[str, float]:
    """The largest error of each column."""
    return {name: float(np.nanmax(np.abs(found[name] - given[name]))) for name in given}


@pytest.mark.parametrize("mode", ["bounded", "silent"])
def test_modes_keep_their_limits(mode: str, tmp_path: Path) -> None:
    at = np.arange(4000)
    given = {
        "time": at * 60,
        "temp": np.round(20 + np.cumsum(np.random.default_rng(4).normal(size=4000)) / 20, 2),
        "noise": np.sin(at / 50) + np.random.default_rng(5).normal(size=4000) / 100,
        "count": at // 7,
    }
    given["noise"][17] = np.nan
    archive.write(tmp_path / "exact.qres", given)
    archive.write(tmp_path / "x.qres", given, mode=mode, limit=0.05)
    with archive.open(tmp_path / "x.qres") as found:
        table = found.read()
    errors = limits(table, given)
    assert errors["time"] == 0 and errors["count"] == 0 and max(errors.values()) <= 0.05 + 1e-12
    assert np.isnan(table["noise"][17]) and np.isnan(table["noise"]).sum() == 1
    if mode == "bounded":
        assert (tmp_path / "x.qres").stat().st_size < (tmp_path / "exact.qres").stat().st_size / 3
    archive.append(tmp_path / "x.qres", given)  # in the mode that it was begun with
    with archive.open(tmp_path / "x.qres") as found:
        again = found.read(rows=slice(4000, 8000))
    assert max(limits(again, given).values()) <= 0.05 + 1e-12


NARROW = {
    "i1": WALK % 256 - 128,
    "u1": np.clip(WALK + 20, 0, 255),
    "i2": 32767 - np.abs(WALK),
    "u2": np.clip(WALK * 300, 0, 65535),
    "u4": 2**32 - 1 - np.abs(WALK),
    "i8": 2**63 - 1 - np.abs(WALK.astype("i8")),
    "u8": 5 - WALK % 9,  # below zero: the greatest there are
    "f2": 65504 - np.abs(WALK) * 32,
}


@pytest.mark.parametrize("mode", ["bounded", "silent"])
@pytest.mark.parametrize("kind", NARROW)
def test_a_limit_holds_at_the_ends_of_a_type(kind: str, mode: str, tmp_path: Path) -> None:
    given = NARROW[kind].astype(kind)
    for limit in (3, 100, 20_000):
        archive.write(tmp_path / "x.qres", {"x": given}, "fast", mode, limit)
        with archive.open(tmp_path / "x.qres") as found:
            back = found.read()["x"]
        assert back.dtype == given.dtype and np.isfinite(back.astype(float)).all()
        assert max(abs(int(a) - int(b)) for a, b in zip(back.tolist(), given.tolist())) <= limit + 16 * (kind == "f2")


def test_a_limit_holds_at_the_ends_of_a_wav_sample(tmp_path: Path) -> None:
    samples = np.clip(np.sin(np.arange(5000) / 20) * 9e6, -(1 << 23), (1 << 23) - 1).astype("<i4")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 3, 8000, 0, "NONE", ""))
        file.writeframes(samples.view("u1").reshape(-1, 4)[:, :3].tobytes())
    back = through(tmp_path / "x.wav", "--mode", "bounded", "--eps", "999")
    with wave.open(str(back)) as file:
        raw = np.frombuffer(file.readframes(5000), "u1").reshape(-1, 3)
    found = np.concatenate((np.zeros((5000, 1), "u1"), raw), axis=1).copy().view("<i4")[:, 0] >> 8
    assert 0 < np.abs(found - samples).max() <= 999


def test_times_durations_and_truth_are_exact_in_all_modes(tmp_path: Path) -> None:
    given = {
        "at": WALK.astype("M8[s]"),
        "seen": WALK.astype("M8[ms]"),
        "took": WALK.astype("m8[s]"),
        "ok": WALK % 3 == 0,
    }
    archive.write(tmp_path / "x.qres", given, mode="bounded", limit=50)
    with archive.open(tmp_path / "x.qres") as found:
        table = found.read()
    assert all((table[name] == given[name]).all() for name in given)


@pytest.mark.parametrize("limit", [0.01, 0.02])
def test_a_limit_holds_for_binary32_that_was_widened(limit: float, tmp_path: Path) -> None:
    given = np.round(131_000 + WALK / 100, 2).astype("f4").astype("f8")
    archive.write(tmp_path / "x.qres", {"x": given}, "fast", "bounded", limit)
    with archive.open(tmp_path / "x.qres") as found:
        assert np.abs(found.read()["x"] - given).max() <= limit + 1e-10


def test_damaged_zip_files_and_foreign_members_are_kept_as_bytes(tmp_path: Path) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, a=WALK)
    flipped = bytearray(packed.getvalue())
    flipped[100] ^= 255
    foreign = io.BytesIO()
    with zipfile.ZipFile(foreign, "w") as members:
        members.writestr("readme.txt", "hello")
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    impossible = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(shape)) + shape + bytes(80)
    files = {"a.npz": b"PK\3\4garbage", "b.npz": bytes(flipped), "c.npz": foreign.getvalue(), "d.npy": impossible}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert through(tmp_path / name).read_bytes() == data


def test_words_of_arrays_become_cells_of_text_and_back(tmp_path: Path) -> None:
    words = ["a,b", 'say "x"', "two\nlines", "plain"]
    archive.write(tmp_path / "x.qres", {"s": np.array(words), "v": np.arange(4)})
    text = tmp_path / "x.csv"
    assert cli.run(["decompress", str(tmp_path / "x.qres"), str(text), "--format", "csv"]) == 0
    assert list(csv.reader(text.open(newline=""))) == [["s", "v"], *([w, str(i)] for i, w in enumerate(words))]
    assert cli.run(["compress", "--append", str(text), str(tmp_path / "y.qres")]) == 0
    with archive.open(tmp_path / "y.qres") as found:
        assert found.read()["s"].tolist() == words


def test_a_missing_time_is_in_no_span(tmp_path: Path) -> None:
    archive.write(
        tmp_path / "x.qres", {"time": np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[us]"), "v": [0, 1, 2]}
    )
    with archive.open(tmp_path / "x.qres") as found:
        assert found.read(end="2024-01-02")["v"].tolist() == [0]
        assert found.read(start="2024-01-02")["v"].tolist() == [2]
        assert np.isnat(found.read()["time"]).sum() == 1


def test_a_limit_in_percent_of_the_range(tmp_path: Path) -> None:
    given = {"a": np.round(np.sin(np.arange(3000) / 99) * 10, 3), "b": np.arange(3000) % 1000}
    archive.write(tmp_path / "x.qres", given, mode="bounded", limit="1%")
    with archive.open(tmp_path / "x.qres") as found:
        errors = limits(found.read(), given)
    assert 0 < errors["a"] <= 0.2 + 1e-12 and errors["b"] <= 9.99


@pytest.mark.parametrize(("kind", "step"), [("f8", 0.01), ("f8", 0.0625), ("f4", 0.01), ("f8", -1)])
def test_floating_point_that_arithmetic_has_touched_is_small(kind: str, step: float, tmp_path: Path) -> None:
    """Counts times a step are decimals but for the last bits; so are float32 that were widened (step -1)."""
    values = (WALK * step).astype(kind) if step > 0 else (WALK / 1000).astype("f4").astype("f8")
    archive.write(tmp_path / "x.qres", {"x": values})
    with archive.open(tmp_path / "x.qres") as found:
        assert found.read()["x"].tobytes() == values.tobytes()
    assert (tmp_path / "x.qres").stat().st_size < len(values) * 7.5 / 8


def test_what_is_too_much_to_say_is_kept_as_bytes_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text(",".join("abcdefg" for _ in range(70_000)) + "\n")
    assert cli.run(["compress", str(tmp_path / "x.csv"), str(tmp_path / "x.qres")]) == 1
    assert "more columns" in capsys.readouterr().err
    np.savez(tmp_path / "x.npz", a=np.zeros(100_000), b=np.random.default_rng(1).bytes(20 << 20))
    assert np.load(through(tmp_path / "x.npz", "--level", "fast")).files == ["a", "b"]
