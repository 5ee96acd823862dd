"""`qres bench numerics`: a quick run meets its goals, its tables are whole, and it survives its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from qres_host import cli
from qres_host.bench import cli as bench_cli
from qres_host.bench import numerics, numerics_sheets, numerics_stats, record
from qres_host.bench.coder import absent


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    results = numerics.start()
    numerics.run(results, 5000, lambda text: None)
    return results


def test_every_part_has_rows_and_meets_its_goals(found: dict[str, Any]) -> None:
    assert found["complete"]
    for part in ("functions", "moments", "bias", "masking"):
        assert found[part], part
    names = [row["function"] for row in found["functions"]]
    assert names == ["exp", "sigmoid", "tanh", "softmax", "mul", "div", "isqrt"]
    for goal in numerics_sheets.goals(found):
        assert goal.met or (goal.value is None and absent("scipy", "scipy")), goal


def test_tables_are_rectangular(found: dict[str, Any]) -> None:
    sheets = {sheet.name: sheet for sheet in numerics_sheets.sheets(found)}
    assert {"goals", "functions", "moments", "bias", "masking"} <= set(sheets)
    for sheet in sheets.values():
        assert all(len(row) == len(sheet.head) for row in sheet.rows), sheet.name
    assert {goal.verdict() for goal in numerics_sheets.goals(numerics.start())} == {"not measured"}


def test_without_guard_bits_a_mean_is_biased(found: dict[str, Any]) -> None:
    for row in found["bias"]:
        assert row["none_ulp"] == 2 ** row["k"] - 1
        assert row["k8_ulp"] < 1 / 256 < 0.9 < row["k_ulp"]


def test_what_is_not_installed_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics_stats, "absent", lambda package, module: f"{package} is not installed")
    results = numerics.start()
    numerics_stats.run(results, 1000, lambda text: None)
    assert [row["peer"] for row in results["skipped"]] == ["river", "SciPy"]
    assert results["grubbs"] == [] and {row["river_ns"] for row in results["bias"]} == {None}
    assert [sheet.name for sheet in numerics_sheets.sheets(results)][-1] == "skipped"


def test_the_command_prints_json_and_keeps_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "POINTS", 20_000)
    (tmp_path / "chip.json").write_text('[{"coder": "exp of 1", "instructions": 296, "helpers": 8}]')
    arguments = ["numerics", "--quick", "--json", "--out", str(tmp_path), "--chip", str(tmp_path / "chip.json")]
    done = CliRunner().invoke(bench_cli.bench, arguments)
    assert done.exit_code == 0, done.output
    kept = record.load(tmp_path / "numerics.json")
    assert json.loads(done.stdout) == kept and kept["rv32"][0]["helpers"] == 8
    assert numerics_sheets.chip_sheet(kept).rows == [("exp of 1", "296", "8")]


def test_an_early_end_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(results: dict[str, Any], points: int, say: numerics.Say) -> None:
        results["bias"] += numerics_stats.bias_rows()[:1]
        raise KeyboardInterrupt

    monkeypatch.setattr(numerics, "run", interrupted)
    done = CliRunner().invoke(bench_cli.bench, ["numerics"])
    assert "Forgetting means" in done.stdout and "incomplete" in done.stdout and "ended early" in done.stderr


def test_help_lists_every_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in bench_cli.COMMANDS)
