"""`qres bench codec` as users meet it: a quick run, its JSON and tables, goals, results files, an early end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from qres_host import cli
from qres_host.bench import cli as bench_cli
from qres_host.bench import codec, goals, present, record, report, results, sheet
from qres_host.bench.streams import Stream
from qres_host.errors import QresError
from rich.console import Console


def small_stream() -> Stream:
    """Two channels that change a little."""
    return Stream("room_1", np.cumsum(np.random.default_rng(3).integers(-3, 4, (400, 2)), axis=0).astype(np.int32))


def made(parts: tuple[str, ...] = codec.PARTS) -> results.Results:
    """The results of a quick plan over one small stream."""
    found = codec.start()
    codec.run(codec.Plan([small_stream()], parts, 0.01, quick=True), found, lambda text: None)
    return found


@pytest.fixture(scope="module")
def found() -> results.Results:
    return made()


def test_every_part_has_rows_without_errors(found: results.Results) -> None:
    assert found["complete"]
    assert bench_cli.failures(found) == []
    assert len(found["environment"]["source"]) == 8
    for part in ("streams", "batch", "calls", "packets", "bounded", "seed"):
        assert found[part], part  # type: ignore[literal-required]
    coders = {row["coder"] for row in found["batch"]}
    assert {"qres best", "qres fast", "zlib-9", "LEC", "delta+Rice"} <= coders
    assert not coders & {row["coder"] for row in found["skipped"]}


def test_tables_are_rectangular_and_complete(found: results.Results) -> None:
    sheets = {each.name: each for each in report.sheets(found)}
    assert {"goals", "batch", "coders", "packets", "bounded", "silent", "seed"} <= set(sheets)
    for each in sheets.values():
        assert all(len(row) == len(each.head) for row in each.rows), each.name
    assert sheets["batch"].rows[0][0] == "room_1"
    console = Console(width=140, record=True, quiet=True)
    present.show(report.sheets(found), [], console)


def test_results_survive_their_file(found: results.Results, tmp_path: Path) -> None:
    record.save(found, tmp_path / "deep" / "codec.json")
    again = results.load(tmp_path / "deep" / "codec.json")
    assert again == record.rounded(dict(found))
    assert [s.name for s in report.sheets(again)] == [s.name for s in report.sheets(found)]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"version": 99}')
    with pytest.raises(QresError, match="holds no results"):
        results.load(tmp_path / "x.json")


def row(stream: str, coder: str, bits: float) -> results.Row:
    """A row of the batch part."""
    return {
        "stream": stream,
        "coder": coder,
        "bits": bits,
        "bytes": round(bits * 1000 / 8),
        "encode_mb_s": 8.0,
        "decode_mb_s": 80.0,
    }


def by_name(found: results.Results) -> dict[str, sheet.Goal]:
    """The goals by their names."""
    return {goal.name: goal for goal in goals.goals(found)}


def test_goals_are_computed_from_the_rows() -> None:
    found = results.empty({})
    assert {goal.verdict() for goal in goals.goals(found)} == {"not measured"}
    found["batch"] = [row("a", "qres best", 4), row("a", "pcodec-12", 5), row("a", "zlib-9", 3.9)]
    found["batch"] += [row("b", "qres best", 2), row("b", "pcodec-12", 2), row("b", "zlib-9", 8)]
    names = by_name(found)
    mean = names["best: fewer bits than pcodec-12, geometric mean"]
    assert mean.value == pytest.approx(100 * (1 - math.sqrt(0.8))) and mean.verdict().startswith("missed by 1.44")
    worst = names["best: above the best peer, worst stream"]
    assert worst.value == pytest.approx(100 * (4 / 3.9 - 1)) and worst.note == "a, zlib-9" and worst.met is False
    assert names["best: encode"].value == pytest.approx(2.0) and names["best: encode"].verdict() == "met"


def test_a_best_level_that_is_the_fast_one_meets_no_goal() -> None:
    found = results.empty({})
    found["batch"] = [row("a", "qres best", 4), row("a", "qres fast", 4), row("a", "pcodec-12", 5)]
    names = by_name(found)
    assert names["best: fewer bits than pcodec-12, geometric mean"].verdict() == "not measured"
    assert names["best: encode"].verdict() == "not measured"
    assert names["fast: fewer bits than pcodec-12, geometric mean"].value == pytest.approx(20)


def test_sources_that_change_during_a_run_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["before", "after"])
    monkeypatch.setattr(codec, "source_hash", lambda: next(names))
    mixed = made(("seed",))
    assert mixed["source_changed"] and any("mixed" in line for line in record.warnings(mixed))


def test_packet_goals_take_the_best_of_each_side() -> None:
    found = results.empty({})
    for coder, state, bits in (("qres rice", "swarm", 4.0), ("qres cm", "swarm", 3.0), ("LEC", "stateless", 4.0)):
        found["packets"].append({"stream": "a", "coder": coder, "state": state, "code_bits": bits, "frame_bits": 9})
    assert by_name(found)["packets, swarm: fewer bits than the best stateless peer of each stream"].value == 25
    assert by_name(found)["packets, cold: fewer bits than the best stateless peer of each stream"].value is None


def test_bounded_goal_counts_streams() -> None:
    found = results.empty({})
    for name, ours, theirs in (("a", 1.0, 2.0), ("b", 2.0, 2.0)):
        for share in (0.001, 0.01):
            for coder, bits in (("qres", ours), ("SZ3", theirs)):
                found["bounded"].append(
                    {"stream": name, "mode": "bounded", "share": share, "coder": coder, "bits": bits}
                )
    goal = by_name(found)["bounded: streams where SZ3 takes no more bits"]
    assert goal.value == 1 and goal.note == "b" and goal.met


def test_entropy_of_differences() -> None:
    x = np.array([[0], [1], [1], [2], [2]], np.int32)
    assert codec.delta_entropy(x) == pytest.approx(1.0)


def test_the_command_prints_json_and_keeps_results(tmp_path: Path) -> None:
    np.save(tmp_path / "room.npy", small_stream().x)
    (tmp_path / "chip.json").write_text('[{"coder": "cm", "instructions": 12345}]')
    arguments = [
        "codec",
        "--data",
        str(tmp_path),
        "--part",
        "seed",
        "--quick",
        "--json",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(bench_cli.bench, [*arguments, "--chip", str(tmp_path / "chip.json")])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed == results.load(tmp_path / "out" / "codec.json")
    assert printed["batch"] == [] and printed["seed"] and printed["rv32"][0]["instructions"] == 12345


def test_an_unknown_stream_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "codec", "--streams", "nowhere"]) == 2
    assert "choose from weather_ewr" in capsys.readouterr().err


def test_an_early_end_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: codec.Plan, found: results.Results, say: codec.Say) -> None:
        found["seed"].append(row("slow sine", "zlib-9", 2.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "run", interrupted)
    done = CliRunner().invoke(bench_cli.bench, ["codec"])
    assert "16.00x" in done.stdout and "ended early" in done.stderr


def test_failures_are_told_and_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(plan: codec.Plan, found: results.Results, say: codec.Say) -> None:
        found["batch"] += [{"stream": name, "coder": "x", "error": "it differs"} for name in "ab"]

    monkeypatch.setattr(codec, "run", failing)
    done = CliRunner().invoke(bench_cli.bench, ["codec"], standalone_mode=False)
    assert done.return_value == 1 and "x on a, b: it differs" in done.stdout
