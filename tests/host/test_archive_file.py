"""The file: cut anywhere, appended to, damaged, hostile; and tables of arrays bit for bit."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres.codec import CodecError
from qres_host import archive, cli
from qres_host.archive import arrays, block, container, general, look, writer
from qres_host.archive.archive import Archive
from qres_host.archive.fields import Fields
from qres_host.archive.meta import META_MAX, Column, Meta, unpack

ROWS = 50


def table(first: int = 0, rows: int = ROWS) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of a table with a clock, a walk, floating point and words."""
    at = np.arange(first, first + rows)
    return {
        "time": at.astype(np.int64) * 60 + 1_700_000_000,
        "temp": np.round(20 + np.sin(at / 7) * 5, 2),
        "noise": np.sin(at * 12.9898) * 43758.5453,
        "word": np.array([f"w{i % 5}" for i in at], dtype=object),
    }


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows: int = 10) -> None:
    """Make blocks of a few rows."""
    monkeypatch.setattr(arrays, "block_rows", lambda columns, level: rows)


def same(a: Any, b: Any) -> bool:
    """Whether two tables are equal bit for bit."""
    return list(a) == list(b) and all(np.array_equal(np.asarray(a[k]), np.asarray(b[k])) for k in a)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of five blocks."""
    small_blocks(monkeypatch)
    archive.write(tmp_path / "x.qres", table(), level="fast", units={"temp": "degC"})
    return tmp_path / "x.qres"


def test_what_is_written_is_read(path: Path) -> None:
    with archive.open(path) as found:
        assert (found.rows, found.origin, found.complete, found.lost, found.ordered) == (ROWS, "table", True, 0, True)
        assert found.columns[1] == Column("temp", "degC", "<f8") and found.time == found.columns[0]
        assert same(found.read(), table())
        assert [len(part["temp"]) for part in found] == [10] * 5
        assert list(found.verify()) == [10] * 5


def test_parts_by_time_row_and_column(path: Path) -> None:
    whole = table()
    with archive.open(path) as found:
        start, end = float(whole["time"][13]), float(whole["time"][31])
        assert same(found.read(start, end), {k: v[13:31] for k, v in whole.items()})
        assert same(found.read(rows=slice(8, 22), columns=["temp"]), {"temp": whole["temp"][8:22]})
        assert list(found.read(columns=["word", "temp"])) == ["word", "temp"]
        assert found.read(rows=slice(-3, None), columns=["word"])["word"].tolist() == ["w2", "w3", "w4"]
        assert [len(v) for v in found.read(0, 1).values()] == [0, 0, 0, 0]
        decoded = [entry.offset for entry, _ in found.chunks(start, end)]
        assert len(decoded) == 3  # of five blocks
        with pytest.raises(ValueError, match="no column 'nothing'"):
            found.read(columns=["nothing"])
        with pytest.raises(ValueError, match="is no time"):
            found.read(start="yesterday")


def test_a_table_without_time_refuses_times(tmp_path: Path) -> None:
    archive.write(tmp_path / "x.qres", {"a": np.arange(3)})
    with archive.open(tmp_path / "x.qres") as found, pytest.raises(ValueError, match="no time column"):
        found.read(start=1)


def test_a_file_cut_at_any_byte_gives_all_whole_blocks(path: Path) -> None:
    data, whole = path.read_bytes(), table()
    ends = [entry.offset + entry.size for entry in Archive(io.BytesIO(data)).container.entries]
    begin = Archive(io.BytesIO(data)).container.start
    for cut in range(len(data)):
        if cut < begin:
            with pytest.raises(CodecError):
                Archive(io.BytesIO(data[:cut]))
            continue
        found = Archive(io.BytesIO(data[:cut]))
        rows = 10 * sum(end <= cut for end in ends)
        assert (found.rows, found.complete) == (rows, False)
        assert found.lost == cut - max([end for end in ends if end <= cut], default=begin)
        if rows:
            assert same(found.read(), {k: v[:rows] for k, v in whole.items()})


def test_an_append_cut_at_any_byte_loses_only_what_was_torn(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    archive.append(path, table(ROWS, 20), level="fast")
    data, whole = path.read_bytes(), table(0, ROWS + 20)
    assert data.startswith(before)  # nothing that was there is ever touched
    assert same(archive.open(path).read(), whole)
    ends = [entry.offset + entry.size for entry in Archive(io.BytesIO(data)).container.entries]
    for cut in range(len(before), len(data)):
        (tmp_path / "cut.qres").write_bytes(data[:cut])
        rows = 10 * sum(end <= cut for end in ends)
        with archive.open(tmp_path / "cut.qres") as found:
            assert (found.rows, found.complete) == (rows, cut == len(before))
        # And it can be continued where it was torn.
        if cut % 7 == 0:
            archive.append(tmp_path / "cut.qres", table(rows, ROWS + 20 - rows), level="fast")
            with archive.open(tmp_path / "cut.qres") as found:
                assert found.complete and same(found.read(), whole)


def test_many_appends_make_one_table(path: Path) -> None:
    for i in range(5, 12):
        archive.append(path, table(10 * i, 10), level="fast")
    with archive.open(path) as found:
        assert found.complete and len(found.container.entries) == 12 and same(found.read(), table(0, 120))


def test_a_failed_append_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    real, calls = block.encode, []

    def interrupted(*arguments: Any) -> bytes:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(block, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archive.append(path, table(ROWS, 30))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"time": np.arange(3)}, "4 columns, the input 1"),
        ({"time": np.arange(3), "temp": np.arange(3.0), "noise": np.arange(3.0), "x": np.array(["a"] * 3)}, "'word'"),
        ({"time": np.arange(3), "temp": np.arange(3), "noise": np.arange(3.0), "word": np.array(["a"] * 3)}, "<f8"),
    ],
)
def test_other_columns_are_not_appended(path: Path, columns: Any, reason: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=reason):
        archive.append(path, columns)
    assert path.read_bytes() == before


def test_a_flipped_bit_is_noticed_and_costs_one_block(path: Path) -> None:
    data, whole = path.read_bytes(), table()
    entries = Archive(io.BytesIO(data)).container.entries
    for at in range(0, len(data), 3):
        hurt = bytearray(data)
        hurt[at] ^= 1 << at % 8
        try:
            found = Archive(io.BytesIO(bytes(hurt)))
        except CodecError:
            assert at < entries[0].offset
            continue
        rows = 0
        for i in range(5):
            try:
                part = found.read(rows=slice(10 * i, 10 * i + 10))
            except CodecError:
                continue
            assert not len(part["time"]) or int(part["time"][0]) in whole["time"]
            rows += len(part["time"])
        assert rows >= ROWS - 10, at


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and payload of each record of a file."""
    fields, out = Fields(data, len(container.MAGIC) + 1), []
    while fields.at < len(data):
        out.append((fields.byte(), fields.string(len(data))))
        fields.take(4)
    return out


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 9), st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 4))
def test_hostile_records_with_valid_sums_end_in_data_or_the_error(which: int, at: int, junk: bytes, cut: int) -> None:
    found = records(WHOLE)
    which %= len(found)
    out = bytearray(container.MAGIC + bytes((container.VERSION,)))
    for i, (kind, payload) in enumerate(found):
        if i == which:
            raw = bytearray(general.unpack(Fields(payload)) if kind == container.META else payload)
            at %= len(raw)
            raw[at : at + cut] = junk
            payload = general.pack(bytes(raw), "fast") if kind == container.META else bytes(raw)
        out += container.record(kind, payload)
    with suppress(CodecError):
        opened = Archive(io.BytesIO(bytes(out)))
        look.describe(opened)
        for part in opened.blocks():
            assert len({len(values) for values in part.values()}) <= 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4), st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
def test_hostile_blocks_end_in_data_or_the_error(which: int, at: int, junk: bytes) -> None:
    payload = bytearray(PAYLOADS[which])
    at %= len(payload)
    payload[at : at + len(junk)] = junk
    try:
        summary, chunks = block.decode(bytes(payload), 4)
        for chunk, column in zip(chunks, ("<i8", "<f8", "<f8", "")):
            arrays.values(chunk, column)
            arrays.values(chunk, "")
            chunk.glyphs()
        block.moments(chunks[0], True)
        assert all(chunk.rows == summary.rows for chunk in chunks)
    except CodecError:
        pass


def payloads() -> list[bytes]:
    """Blocks of all forms."""
    out = []
    for rows in (0, 1, 2, 40, 300):
        columns = list(table(0, rows).values())
        if rows > 1:
            columns[1] = columns[1].copy()
            columns[1][1] = np.nan
        out.append(block.encode(block.Summary(rows), arrays.chunks_of(columns, 0, rows), "fast", 0))
    return out


def whole() -> bytes:
    """A file of two batches of blocks."""
    out = io.BytesIO()
    for first in (0, 40):
        columns = list(table(first, 40).values())
        if not first:
            meta = Meta(6, [Column(name, kind=kind) for name, kind in zip("tabc", ("<i8", "<f8", "<f8", ""))], 0)
            out.write(container.begin(meta.pack()))
            appender = container.Appender(out, out.tell())
        chunks = arrays.chunks_of(columns, 0, 40)
        summary = block.summarise(40, block.moments(chunks[0], False))
        appender.add(summary, block.encode(summary, chunks, "fast", 0))
        appender.finish()
    return out.getvalue()


PAYLOADS = payloads()
WHOLE = whole()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_no_archive_or_one(junk: bytes) -> None:
    for head in (b"", container.MAGIC + b"\1", container.begin(Meta(1, [Column("x")], 0).pack())):
        try:
            found = Archive(io.BytesIO(head + junk))
            for _ in found.blocks():
                pass
        except CodecError:
            pass


@pytest.mark.parametrize(
    "payload",
    [
        block.Summary(1 << 40).pack() + b"\0\0\0",
        block.Summary(1 << 22).pack() + bytes((2 | 0 << 5, 8)) + b"\1" + b"\xff\xff\xff\xff\x0f\1x",
        block.Summary(1 << 22).pack() + bytes((3,)) + b"\2" + b"\xff\xff\xff\xff\x0f\1x",
        block.Summary(10).pack() + b"\x20\0" + b"\0\0" + b"\xff\xff\x03",
        block.Summary(10).pack() + b"\xe0\0",
        block.Summary(10).pack() + b"\x0f",
    ],
)
def test_huge_counts_are_refused_before_memory_is_taken(payload: bytes) -> None:
    with pytest.raises(CodecError):
        block.decode(payload, 1)


def test_declared_lengths_beyond_the_limits_are_refused() -> None:
    with pytest.raises(CodecError):
        unpack(b"\1" + b"\xff\xff\xff\xff\x0f" + b"\1x")
    with pytest.raises(CodecError):
        general.expand(general.DEFLATE, general.deflate(bytes(META_MAX)), 10)
    with pytest.raises(CodecError):
        general.expand(general.LZMA, b"", 10)


def test_versions_coders_and_records_from_the_future_are_named(path: Path) -> None:
    data = path.read_bytes()
    with pytest.raises(CodecError, match="format version 2"):
        Archive(io.BytesIO(data[:6] + b"\2" + data[7:]))
    start = Archive(io.BytesIO(data)).container.start
    assert Archive(io.BytesIO(data[:start] + container.record(0x85, b"new") + data[start:])).rows == ROWS
    with pytest.raises(CodecError, match="kind 5"):
        _ = Archive(io.BytesIO(data[:start] + container.record(5, b"new") + data[start:])).rows


def test_an_index_that_lies_is_not_believed(path: Path) -> None:
    data = path.read_bytes()
    found = Archive(io.BytesIO(data)).container
    entries = [entry._replace(summary=entry.summary._replace(rows=99)) for entry in found.entries]
    lying = data[: found.last_index] + container.pack_index(entries, found.last_index, -1)
    with pytest.raises(CodecError, match="not what the index says"):
        Archive(io.BytesIO(lying)).read()
    body = bytearray(data)
    body[-4:] = struct.pack("<I", crc32(b""))
    assert Archive(io.BytesIO(bytes(body))).rows == ROWS  # found by scanning


KINDS = ["?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", "<u8", ">i8", "<f2", "<f4", ">f4", "<f8", ">f8"]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=400), st.integers(0, 3))
def test_arrays_of_any_bits_come_back(kind: str, data: bytes, mood: int) -> None:
    plain = np.dtype(kind)
    if kind == "?":
        values = np.frombuffer(bytes(b & 1 for b in data), "?")
    else:
        values = np.frombuffer(data[: len(data) // plain.itemsize * plain.itemsize], plain)
    if mood == 1 and plain.kind == "f":
        values = np.round(np.nan_to_num(values.astype("f8"), posinf=1, neginf=2) % 100, 2).astype(plain)
    if mood == 2:
        values = np.sort(values)
    out = io.BytesIO()
    writer.write_table(out, arrays.table({"x": values}, {}, None, "fast"), "fast")
    back = Archive(io.BytesIO(out.getvalue())).read()["x"]
    assert back.dtype == plain and back.tobytes() == values.tobytes()


def test_wide_integers_gaps_and_dates_come_back(tmp_path: Path) -> None:
    columns = {
        "u": np.array([0, 2**64 - 1, 2**63, 5], np.uint64),
        "i": np.array([-(2**63), 2**63 - 1, 0, -1], np.int64),
        "far": np.array([10**15, 10**15 + 7, 10**15 + 3, 10**15], np.int64),
        "ns": np.array(["2024-01-01", "2024-01-02T03:04:05.678901234", "NaT", "1700-01-01"], "M8[ns]"),
        "span": np.array([1, -5, 2**40, 0], "m8[us]"),
        "gap": np.ma.MaskedArray([1, 2, 3, 4], [False, True, True, False]),
        "nan": np.array([1.5, np.nan, -0.0, np.inf]),
    }
    archive.write(tmp_path / "x.qres", columns)
    with archive.open(tmp_path / "x.qres") as found:
        back = found.read()
    for name in ("u", "i", "far", "ns", "span", "nan"):
        assert back[name].dtype == columns[name].dtype and back[name].tobytes() == columns[name].tobytes(), name
    assert back["gap"].tolist() == [1, None, None, 4]


@pytest.mark.parametrize(
    "table", [{"x": np.zeros((2, 2))}, {"x": np.zeros(2), "y": np.zeros(3)}, {"x": np.array([1j])}]
)
def test_what_is_no_table_is_refused(tmp_path: Path, table: Any) -> None:
    with pytest.raises(ValueError):
        archive.write(tmp_path / "x.qres", table)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", ["h", "s", "ms", "ns"])
def test_dates_of_arrays_are_found_by_iso_text(unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    when = np.datetime64("2024-05-01T00:00:00", unit) + np.arange(50) * np.timedelta64(1, "h").astype(f"m8[{unit}]")
    archive.write(tmp_path / "x.qres", {"x": np.arange(50), "hour": when})
    with archive.open(tmp_path / "x.qres") as found:
        assert found.time == found.columns[1]
        for start in ("2024-05-02T00:00", "2024-05-02T00:00:00Z", when[24]):
            assert found.read(start, "2024-05-02T03:00:00")["x"].tolist() == [24, 25, 26]


def test_zones_of_a_question_count(tmp_path: Path) -> None:
    text = "".join(f"2024-05-01T{hour:02}:00:00+02:00,{hour}\n" for hour in range(24))
    (tmp_path / "x.csv").write_text("time,x\n" + text)
    assert cli.run(["compress", str(tmp_path / "x.csv"), str(tmp_path / "x.qres")]) == 0
    with archive.open(tmp_path / "x.qres") as found:
        assert found.read("2024-05-01T10:00", "2024-05-01T12:00")["x"].tolist() == [10, 11]
        assert found.read("2024-05-01T10:00Z", "2024-05-01T12:00+00:00")["x"].tolist() == [12, 13]
