"""`qres bench predict`: what it measures, and its goals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from qres_host import cli
from qres_host.bench import predict, predict_peers, predict_sets, predict_sheets


def test_a_quick_run_gives_every_model_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chip = tmp_path / "chip.json"
    chip.write_text(json.dumps([{"coder": "linear of 1", "instructions": 1}, {"coder": "taaf", "instructions": 99999}]))
    arguments = ["--quick", "--sets", "weather_ewr", "--chip", str(chip), "--json", "--out", str(tmp_path)]
    assert cli.run(["bench", "predict", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] and json.loads((tmp_path / "predict.json").read_text())["models"]
    ratios = {row["model"]: row["ratio"] for row in found["models"]}
    assert ratios["qres persistence"] == pytest.approx(1) and ratios["qres mix"] < 1
    assert set(predict_peers.peers()[0]) <= set(ratios)
    goals = {goal.name: goal.met for goal in predict_sheets.goals(found)}
    assert goals["taaf: instructions a sample of four channels"] is False
    assert goals["mix: on every recording"] and goals["spike gate: cross-modal multiplications skipped"]
    assert all(len(row) == len(sheet.head) for sheet in predict_sheets.sheets(found) for row in sheet.rows)


def test_offline_peers_find_the_law_of_a_series() -> None:
    source = np.random.default_rng(1)
    d = np.zeros((2000, 2))
    for t in range(1, 2000):
        d[t] = 0.6 * d[t - 1] + source.normal(0, 1, 2)
    x = d.cumsum(0)
    spread = np.diff(x, axis=0).std()
    for name in ("AR, offline", "VAR, offline", "RLS, float"):
        off = predict_peers.peers()[0][name](x)[1000:] - x[1000:]
        assert off.std() == pytest.approx(1, rel=0.1) and off.std() < 0.85 * spread, name


def test_recordings_of_a_folder_have_their_gaps(tmp_path: Path) -> None:
    x = np.array([[1, -200], [-200, 5], [3, 6]] * 40, np.int32)
    np.savez(tmp_path / "airq_uci8.npz", x=x)
    found, skipped = predict_sets.load(tmp_path, ("airq_uci8",))
    assert found[0].missing.sum() == 80 and found[0].filled().min() >= 1 and found[0].seen
    assert all(row["reason"] for row in skipped)


def test_the_gate_off_attends_to_all_and_never_to_none() -> None:
    x = np.cumsum(np.random.default_rng(2).integers(-20, 21, (200, 3)), axis=0).astype(np.int32)
    one = predict_sets.Set("walk", x, np.zeros(x.shape, bool), False)
    rows = {name: predict.ours(one, name) for name in ("taaf", "taaf always", "taaf never")}
    assert 0 < rows["taaf"][0]["crossed_percent"] < 60
    assert rows["taaf always"][1].spiking == 3 and rows["taaf never"][1].spiking == 0
