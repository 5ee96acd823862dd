"""Text tables through archives: every byte comes back; what is no table is refused with its line."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qres_host.archive import csvtext, export, writer
from qres_host.archive.archive import Archive
from qres_host.archive.meta import NotThisFormat


def stored(text: bytes, level: str = "fast") -> bytes:
    """The archive of a text table."""
    out = io.BytesIO()
    writer.write_table(out, csvtext.source(lambda: io.BytesIO(text), len(text), level), level)
    return out.getvalue()


def restored(data: bytes) -> bytes:
    """The text table of an archive."""
    return b"".join(export.csv_pieces(Archive(io.BytesIO(data)), lambda _: None))


CASES = {
    "integers": b"a,b\n1,2\n-3,4\n",
    "decimals": b"t,x\n0,1.50\n1,-2.25\n2,0.00\n",
    "trimmed decimals": b"x\n1.0\n2.25\n3.125\n-7.5\n0.0\n",
    "mixed decimals": b"x\n1.50\n2.5\n3.10\n7\n1.00\n",
    "minus zero": b"x\n-0.0\n1.0\n-0\n-1.5\n",
    "gaps": b"x,y\n1,\n,2\n3,NaN\n4,null\n",
    "all gaps": b"x,y\n,1\n,2\n",
    "exponents": b"x\n1e-05\n0.5\n1e+16\n-2.5e-07\n",
    "float32 as text": b"x\n" + b"".join(repr(float(np.float32(i / 1000))).encode() + b"\n" for i in range(999)),
    "needless digits": b"x\n007\n+1\n.5\n5.\n1_000\n 3\n",
    "extremes": b"x\n2147483647\n-2147483648\n9223372036854775807\n-9223372036854775808\n123456789012345678\n",
    "beyond 64 bits": b"x\n18446744073709551616\n-99999999999999999999999\n",
    "times": b"time,x\n2024-02-28T23:59:00Z,1\n2024-02-29T00:00:00Z,2\n2024-03-01T00:00:00Z,3\n",
    "times with fractions": b"x,date\n1,2024-01-01 00:00:00.125\n2,2024-01-01 00:00:01.250\n",
    "times of a zone": b"time\n2024-01-01T00:00:00+02:00\n2024-01-01T00:10:00+02:00\n",
    "days first": b"Date Time,p\n01.01.2009 00:10:00,996.52\n31.12.2009 23:50:00,996.57\n",
    "no such day": b"time\n2023-02-28\n2023-02-29\n2023-13-01\n0000-00-00\n",
    "times step back": b"time,x\n5,1\n3,2\n9,3\n9,4\n1,5\n",
    "words": b"when,state\n1,on\n2,off\n3,on\n4,broken\n",
    "quotes": b'a,"b, c"\n"x,1","say ""hi"""\n1,"two\nlines"\n',
    "semicolons and commas": b"a;b\n1,5;2\n-0,25;3\n",
    "tabs": b"a\tb\n1\t2.5\n",
    "crlf": b"a,b\r\n1,2\r\n3,4\r\n",
    "mixed line ends": b"a,b\r\n1,2\n3,4\r\n",
    "lone carriage returns": b"a,b\n1,2\r\n3,4\n",
    "byte order mark": b"\xef\xbb\xbfa,b\n1,2\n",
    "names in UTF-8": "Zeit,Temperatur (°C),湿度\n1,2.5,3\n".encode(),
    "the same name twice": b"x,x,x_2,\n1,2,3,4\n",
    "no header": b"1,2.5\n2,3.5\n",
    "numbers as names": b"time,1,2\n2024-01-01,5,6\n",
    "no line end": b"a,b\n1,2\n3,4",
    "no line end, crlf": b"a\r\n1\r\n2",
    "header only": b"a,b\n",
    "header without line end": b"a,b",
    "one cell": b"1",
    "one sample": b"x\n42\n",
    "empty cells": b"a\n\n\n1\n\n",
    "constant": b"x\n" + b"7.5\n" * 300,
    "nul bytes": b"a,b\n\x00,1\n2\x00,2\n",
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("level", ["fast", "best"])
def test_text_comes_back_byte_for_byte(name: str, level: str) -> None:
    assert restored(stored(CASES[name], level)) == CASES[name]


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(-9999, 9999, places=2, allow_nan=False).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "NaN", "-0.0", "0", "-", "2024-01-01", "1e5", "00", "x", '"q,q"']),
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=30)),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([",", ";", "\t"]),
)
@example([["", "x"], ["1", "2"]], "\n", ",")
def test_any_rectangle_of_cells_comes_back(rows: list[list[str]], end: str, delimiter: str) -> None:
    text = "".join(delimiter.join(row) + end for row in rows).encode()
    try:
        data = stored(text)
    except NotThisFormat:
        return  # the delimiter that explains the lines best was another one, which does not explain them all
    assert restored(data) == text


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_come_back_or_are_no_table(text: bytes) -> None:
    try:
        data = stored(text)
    except NotThisFormat:
        return
    assert restored(data) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n3\n4,5\n", "line 3 has 1 cells, the first line 2"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, the first line 2"),
        (b"a,b\n1,2\n\n", "line 3 has 1 cells"),
        (b"a,b\n1,2\n3", "line 3 has 1 cells"),
        (b'a,b\n1,2\n"3,4\n', "line 3 has a quote without an end"),
        (b"a\n\xff\n", "not UTF-8"),
        (b"\xe9\n1\n", "line 1 is not UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text: bytes, reason: str) -> None:
    with pytest.raises(NotThisFormat, match=reason):
        stored(text)


def test_blocks_end_at_whole_rows_and_lines_are_counted_across_them() -> None:
    rows = [f"{i},{i * i % 1000 / 10}" for i in range(200_000)]
    text = ("time,x\n" + "\n".join(rows) + "\n").encode()
    data = stored(text)
    assert restored(data) == text
    found = Archive(io.BytesIO(data))
    assert [entry.summary.rows for entry in found.container.entries] == [65536, 65536, 65536, 3392]
    rows[150_000] += ",1"
    with pytest.raises(NotThisFormat, match="line 150002 has 3 cells"):
        stored(("time,x\n" + "\n".join(rows) + "\n").encode())


def test_values_have_types_of_their_own() -> None:
    text = b"time,whole,part,gap,word\n2024-01-01T00:00,1,1.5,,a\n2024-01-01T01:00,2,2.5,7,b\n"
    table = Archive(io.BytesIO(stored(text))).read()
    assert table["time"].tolist() == np.array(["2024-01-01T00:00", "2024-01-01T01:00"], "M8[m]").tolist()
    assert table["whole"].dtype == np.int64 and table["whole"].tolist() == [1, 2]
    assert table["part"].tolist() == [1.5, 2.5]
    assert table["gap"].tolist() == [None, 7]
    assert table["word"].tolist() == ["a", "b"]


def test_numbers_are_the_nearest_floating_point() -> None:
    texts = ["0.1", "123456789.123456789", "-999999999999.999999", "0.000000000000000001", "5.827000141143799"]
    for text in texts:
        assert Archive(io.BytesIO(stored(f"x\n{text}\n".encode()))).read()["x"].tolist() == [float(text)]


def test_units_are_found_in_names() -> None:
    found = Archive(io.BytesIO(stored(b"time (s),temp [degC],plain\n1,2,3\n")))
    assert [(c.name, c.unit) for c in found.columns] == [("time (s)", "s"), ("temp [degC]", "degC"), ("plain", "")]
    assert found.time == found.columns[0]


def test_nanoseconds_since_1970_are_numbers() -> None:
    text = b"time,x\n" + b"".join(b"%d,%d\n" % (1_714_521_600_000_000_000 + i * 10**9, i % 7) for i in range(5000))
    data = stored(text)
    assert restored(data) == text and len(data) < 2500
    table = Archive(io.BytesIO(data)).read(start=1_714_521_600_000_000_000 + 4998 * 10**9)
    assert table["time"].tolist() == [1_714_521_600_000_000_000 + i * 10**9 for i in (4998, 4999)]


def test_words_are_read_without_their_quotes() -> None:
    found = Archive(io.BytesIO(stored(CASES["quotes"])))
    assert found.read()["a"].tolist() == ["x,1", "1"] and found.read()["b, c"].tolist() == ['say "hi"', "two\nlines"]
    rows = [json.loads(row) for row in export.json_rows(found, [0, 1], lambda _: None)]
    assert rows[0] == {"a": "x,1", "b, c": 'say "hi"'}
