"""Recordings: the weather that the project carries, and files of users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qres_host.errors import QresError
from qres_host.virtual import playback


def test_weather_is_the_recorded_one_with_its_gaps() -> None:
    boards = playback.make_weather(15)
    assert [board.name for board in boards[:4]] == ["ewr-1", "jfk-1", "lga-1", "ewr-2"]
    first = boards[0]
    assert [channel.as_config() for channel in first.channels[:2]] == [
        {"name": "temp", "unit": "degC", "scale": "0.1"},
        {"name": "dewp", "unit": "degC", "scale": "0.1"},
    ]
    # EWR at 06:00Z: 39.02 F, 26.06 F, 59.37 %, 10.35702 mph, 0 in, 1012 hPa
    assert first.row(first.index_at(first.t0_ms)) == (39, -33, 5937, 9, 0, 10120)
    assert first.row(first.index_at(first.t0_ms + 1_799_999)) == first.row(first.index_at(first.t0_ms))
    assert first.row(first.index_at(first.t0_ms + 1_800_000)) != first.row(first.index_at(first.t0_ms))
    assert any(board.missing.any() for board in boards)
    assert len({tuple(board.values[:50, 0]) for board in boards}) == 15


def test_sixty_three_boards_differ_and_repeat_after_a_year() -> None:
    boards = playback.make_weather(63, ("temp",))
    assert len({tuple(board.values[:200, 0]) for board in boards}) == 63
    start = boards[40].index_at(boards[40].t0_ms)
    assert boards[40].row(start) == boards[40].row(start + 8760)


def test_csv_with_time_gaps_and_decimals(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,a,b\n2020-01-01T00:00:00Z,1.5,2\n2020-01-01T00:01:00Z,,1e-3\n2020-01-01T00:03:00Z,-3.25,7\n")
    first, second = playback.load([file])
    assert (first.name, first.period_ms, first.channels[0].scale) == ("a", 60_000, "0.01")
    start = first.index_at(first.t0_ms)
    assert [first.row(start + k) for k in range(4)] == [(150,), (None,), (None,), (-325,)]
    assert [second.row(start + k) for k in range(4)] == [(2000,), (1,), (None,), (7000,)]


def test_one_board_per_file_keeps_all_columns(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text("x,y\n1,2\n3,NaN\n")
    boards = playback.load(files, period_ms=1000)
    assert [(board.name, len(board.channels), board.period_ms) for board in boards] == [("a", 2, 1000), ("b", 2, 1000)]
    assert boards[1].row(boards[1].index_at(boards[1].t0_ms) + 1) == (3, None)


def test_npz_of_integers_and_of_floats(tmp_path: Path) -> None:
    np.savez(tmp_path / "i.npz", x=np.arange(10, dtype=np.int16).reshape(5, 2))
    np.savez(tmp_path / "f.npz", label=np.array("a"), y=np.array([0.1, np.nan, 2], np.float32))
    assert [len(board.values) for board in playback.load([tmp_path / "i.npz"])] == [5, 5]
    (board,) = playback.load([tmp_path / "f.npz"])
    assert board.channels[0].scale == "0.1"
    assert [board.row(board.index_at(board.t0_ms) + k) for k in range(3)] == [(1,), (None,), (20,)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"a,b\n1\n"),
        ("a.csv", b"a\nhello\n"),
        ("a.csv", b"time,a\n5,1\n4,2\n"),
        ("a.csv", b"a\n\xff\xfe\n"),
        ("a.csv", b"a\n0.123456789012\n"),
        ("a.csv", b"time\n1\n2\n"),
        ("a.csv", b"a\ninf\n"),
        ("a.csv", b"time,a\nyesterday,1\n"),
        ("a.npz", b"no archive"),
        ("a.npz", b""),
        ("a.bin", b"x"),
    ],
)
def test_wrong_files_are_one_line_errors(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QresError) as caught:
        playback.load([tmp_path / name])
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.line()


def test_missing_file_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(QresError):
        playback.load([tmp_path / "none.csv"])
    with pytest.raises(QresError):
        playback.make_weather(3, ("snow",))
