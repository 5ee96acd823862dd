"""`qres bench detect`: the scorer is NAB's, splits hold out, the simulation and the tables are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from qres_host.bench import alarm_peers, detect, detect_sheets, nab, record, skab, splits, storms

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def corpus(folder: Path, files: int = 6) -> Path:
    """A corpus in NAB's layout: noise with a jump in the middle of a labelled window."""
    labels: dict[str, list[list[str]]] = {}
    (folder / "labels").mkdir(parents=True)
    (folder / "data" / "made").mkdir(parents=True)
    for i in range(files):
        x = np.random.default_rng(i).normal(50, 1, 1500)
        x[900:] += 15
        times = [f"2024-01-{1 + t // 288:02d} {t % 288 // 12:02d}:{t % 12 * 5:02d}:00" for t in range(1500)]
        rows = "".join(f"{time},{value:.3f}\n" for time, value in zip(times, x.tolist(), strict=True))
        (folder / "data" / "made" / f"{i}.csv").write_text("timestamp,value\n" + rows)
        labels[f"made/{i}.csv"] = [[times[850] + ".000000", times[999] + ".000000"]]
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(labels))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[nab.File]:
    return nab.load(corpus(tmp_path_factory.mktemp("made") / "nab"))


def one_hot(file: nab.File, *rows: int) -> Any:
    out = np.zeros(len(file.x))
    out[list(rows)] = 1.0
    return out


def test_the_scorer_is_nabs_by_its_definition(files: list[nab.File]) -> None:
    file = files[0]
    assert file.windows == 1 and file.probation == 225
    k = int(np.searchsorted(nab.THRESHOLDS, 1.0))

    def points(*rows: int) -> float:
        return float(nab.table([file], [one_hot(file, *rows)]).points[0, k])

    assert points() == -1 and nab.normalised(-1, 1) == 0  # the null detector
    assert points(850) == pytest.approx(1) and nab.normalised(1, 1) == 100  # the perfect one
    assert points(850, 900, 999) == pytest.approx(1)  # the earliest counts
    assert 0 < points(999) < 0.05
    assert points(400) == pytest.approx(-1.11) and points(100) == -1  # a false alarm; the probation is not scored
    assert -1.06 < points(1010) < -1  # shortly behind a window
    assert points(1499) == pytest.approx(-1.11, abs=1e-4)
    both = nab.table([file], [one_hot(file, 300, 301, 303, 900)])
    assert (both.false[0, k], both.found[0, k]) == (2, 1)


@pytest.mark.skipif(not (DATA / "nab").is_dir(), reason="the NAB corpus is not beside the checkout")
def test_published_scores_are_reproduced() -> None:
    rows = nab.reproduced(nab.load(DATA / "nab"))
    assert len(rows) == len(nab.SINGLE_HITS)
    assert all(float(str(row["error"])) < 1e-12 for row in rows)


def test_what_is_held_out_is_not_seen(files: list[nab.File]) -> None:
    good = nab.table(files, [one_hot(file, 860) for file in files])
    # A candidate that is right on one file and wrong on all others must not be chosen for that one.
    lucky = nab.table(files, [one_hot(file, 850 if i == 0 else 400) for i, file in enumerate(files)])
    train = np.arange(1, len(files))
    assert splits.chosen([lucky, good], train)[0] == 1
    held = splits.held_out(files, [lucky, good], 3)
    assert held.score > 95 and held.found == 1 and held.false_a_day == 0 and held.deviation == pytest.approx(0)
    only_bad = splits.held_out(files, [lucky], 3, limited=True)
    assert only_bad.false_a_day <= splits.held_out(files, [lucky], 3).false_a_day + 1


def test_every_peer_scores_a_jump(files: list[nab.File]) -> None:
    x = files[0].x
    for name, methods in alarm_peers.methods():
        if "river" in name:
            pytest.importorskip("river")
        score = methods[0](x)
        assert score.shape == x.shape and np.isfinite(score).all(), name
        assert score[900:930].max() > 0, name


def test_skab_thresholds_come_from_the_training_rows() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(10, 1, (1100, 8))
    x[700:900] += 4
    run = skab.Run(x, np.arange(1100) // 200 == 3)
    rows = {row["method"]: row for row in skab.rows([run, run])[:2]}
    assert rows["qres default, joint T²"]["f1"] > 0.4
    later = x.copy()
    later[900:] += 100  # what comes later changes nothing before
    assert (skab.ours(later)[:900] == skab.ours(x)[:900]).all()


def test_shapes_are_as_they_must_be() -> None:
    assert [row["as_wanted"] for row in storms.shape_rows(5)] == [1.0] * 5


def test_a_run_without_data_says_what_it_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "KINDS", ("normal",))
    results = detect.start()
    assert {goal.verdict() for goal in detect_sheets.goals(results)} == {"not measured"}
    detect.run(results, None, True, lambda text: None)
    assert [row["part"] for row in results["skipped"]] == ["NAB", "SKAB"] and results["complete"]
    for sheet in detect_sheets.sheets(results):
        assert all(len(row) == len(sheet.head) for row in sheet.rows), sheet.name


def test_the_command_reads_a_corpus_and_writes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "KINDS", ())
    monkeypatch.setattr(alarm_peers, "methods", lambda: iter(()))
    monkeypatch.setattr(storms, "shape_rows", lambda seeds: iter(()))
    corpus(tmp_path / "nab", 4)
    arguments = ["--data", str(tmp_path), "--quick", "--json", "--out", str(tmp_path / "found.json")]
    done = CliRunner().invoke(detect.command, arguments)
    assert done.exit_code == 0, done.output
    found = record.load(tmp_path / "found.json")
    ours = found["nab"][0]
    assert ours["detector"] == "qres default" and ours["held_2"] > 50
    assert found["published"][0]["detector"] == "ARTime"
