"""Tables of `qres bench boards`: medians of the runs, goals, and boots of a real machine."""

from __future__ import annotations

from pathlib import Path

from qres_host.bench import boards, boots


def test_tables_show_medians_and_goals() -> None:
    parallel = [{"boards": n, "cable": "usb", "seconds": s} for n, s in ((1, 10.0), (1, 12.0), (1, 90.0), (16, 30.0))]
    upload = [
        {"way": way, "cable": "usb", "files": 3, "seconds": seconds}
        for way, seconds in ((boards.IMAGE, 2.0), (boards.COPIES, 30.0), (boards.UNCHANGED, 0.2))
    ]
    booted = [{"boot": boots.COLD, "ms": ms} for ms in (10.0, 400.0, 12.0)]
    found = {sheet.name: sheet for sheet in boards.sheets({"parallel": parallel, "upload": upload, "boots": booted})}
    assert [row[2:] for row in found["goals"].rows] == [("2.5", "met"), ("15", "met"), ("12 ms", "met")]
    assert found["parallel"].rows[0] == ("1", "usb", "3", "12.0", "1.00")
    assert [row[0] for row in found["upload"].rows] == [boards.IMAGE, boards.COPIES, boards.UNCHANGED]
    assert found["boots"].rows == [("power-on", "3", "12.0", "400.0")]


def test_nothing_measured_is_no_table() -> None:
    assert not any(sheet.rows for sheet in boards.sheets({"parallel": [], "upload": [], "boots": []}))


def test_boots_of_a_virtual_board_are_timed(tmp_path: Path) -> None:
    rows = boots.rows(tmp_path, 1)
    assert {row["boot"] for row in rows} == {boots.COLD, boots.WAKE}
    assert all(row["ms"] > 0 for row in rows)
