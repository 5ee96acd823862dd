"""Files of every version of the format stay readable for ever: tests/vectors/archive/ against their formulas.

A file is never replaced. Those of a new version are written once, by running this test with QRES_WRITE_VECTORS=1, which
writes only what is not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import source
from qres_host import archive

FOLDER = source.ROOT / "tests" / "vectors" / "archive"
ROWS = 700


def table() -> dict[str, np.ndarray[Any, Any]]:
    """A table with a column of every form and storage; the same on every machine, because it is made of integers."""
    at = np.arange(ROWS, dtype=np.int64)
    noise = at * 48271 % 2147483647 % 2001 - 1000
    walk = np.cumsum(noise % 9 - 4)
    return {
        "time": at * 60_000 + 1_700_000_000_000 + (at > 300) * 7_000,
        "walk": walk.astype(np.int32),
        "mirror": (500 - 2 * walk + noise % 3).astype(np.int16),
        "lattice": walk // 5 * 40,
        "decimal": walk / 100,
        "touched": walk * 0.01,
        "widened": (walk / 100).astype(np.float32).astype(np.float64),
        "gaps": np.where(at % 41 == 0, np.nan, walk / 10),
        "bits": (at * 0x1E3779B97F4A7C15 % (1 << 52) + (1023 << 52)).view(np.float64),
        "wide": at * 0x9E3779B97F4A7C1 * (1 - at % 2 * 2),
        "far": 10**15 + walk,
        "rising": at**3 * 1000 + walk,
        "constant": np.full(ROWS, -7, np.int8),
        "extreme": np.where(at % 2 == 0, -(2**31), 2**31 - 1).astype(np.int32),
        "word": np.array([f"w{i}" for i in (noise % 5).tolist()], dtype=object),
    }


MEMORY = {"int16": "i2", "int32": "i4", "int64:2": "i8", "float64": "f8", "bytes": "i4"}
NAMES = [f"v1-{level}" for level in ("fast", "best")]


def write(path: Path, level: str) -> None:
    """Write a golden archive, a part of it as an append."""
    whole = table()
    archive.write(path, {k: v[:500] for k, v in whole.items()}, level=level, units={"decimal": "degC"})
    archive.append(path, {k: v[500:] for k, v in whole.items()}, level=level)


def packed(level: str) -> dict[str, bytes]:
    """The walk in memory, by hint."""
    return {hint: archive.compress(raw(hint), hint, level) for hint in MEMORY}


def raw(hint: str) -> bytes:
    """The bytes that a hint is about."""
    return table()["walk"].astype("<" + MEMORY[hint]).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_golden_files_are_read(name: str) -> None:
    path, memory = FOLDER / f"{name}.qres", FOLDER / f"{name}-memory.txt"
    level = name.rpartition("-")[2]
    if os.environ.get("QRES_WRITE_VECTORS") and not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        write(path, level)
        memory.write_text("".join(f"{hint} {data.hex()}\n" for hint, data in packed(level).items()))
    if not path.exists():
        pytest.skip("this version's files are not written yet")
    with archive.open(path) as found:
        back, whole = found.read(), table()
        assert found.complete and found.columns[4].unit == "degC" and len(found.container.entries) == 2
    assert list(back) == list(whole)
    for column, values in whole.items():
        assert np.array_equal(back[column], values, equal_nan=values.dtype.kind == "f"), column
    for line in memory.read_text().splitlines():
        hint, _, data = line.partition(" ")
        assert archive.decompress(bytes.fromhex(data)) == raw(hint), hint


@pytest.mark.parametrize("level", ["fast", "best"])
def test_the_formulas_go_through_todays_code(level: str, tmp_path: Path) -> None:
    write(tmp_path / "x.qres", level)
    with archive.open(tmp_path / "x.qres") as found:
        back = found.read()
    for column, values in table().items():
        assert np.array_equal(back[column], values, equal_nan=values.dtype.kind == "f"), column
    for hint, data in packed(level).items():
        assert archive.decompress(data) == raw(hint)
