"""`qres detect` and its Python API: a board's verdicts, bit for bit, beside the rows of a table."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qres.detect import ALARM_Q8, Detector, alarm_q8, seed_entropy
from qres.fixed import ONE
from qres.joint import Joint
from qres.regime import Machine
from qres_host import detecting, plotting, predicting
from qres_host.cli import run

STEP = 700  # row at which the signal of `table` jumps


def signal(rows: int = 1200, channels: int = 1, seed: int = 5) -> Any:
    x = np.random.default_rng(seed).normal(5000, 40, (rows, channels))
    x[STEP:] += 900
    return x.astype(np.int32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "room.csv"
    rows = [f"2024-01-01 {i // 60 % 24:02d}:{i % 60:02d}:00,{v / 100:.2f},{int(i >= STEP)}\n"
            for i, (v,) in enumerate(signal().tolist())]  # fmt: skip
    path.write_text("timestamp,value,anomaly\n" + "".join(rows))
    return path


def test_the_verdicts_are_those_of_a_board() -> None:
    x = signal(900, 3)
    missing = np.random.default_rng(1).random(x.shape) < 0.02
    found = detecting.run(x, missing=missing)
    detectors, together, machine = [Detector(0) for _ in range(3)], Joint(3), Machine("default")
    for i, row in enumerate(x.tolist()):
        values = [None if gone else v for v, gone in zip(row, missing[i], strict=True)]
        entropy = max([together.push(tuple(values)), *(d.push(v) for d, v in zip(detectors, values, strict=True))])
        assert [d.score / 256 for d in detectors] == found.score[i].tolist()
        assert entropy / ONE == pytest.approx(found.entropy[i], abs=1e-7)
        assert machine.push(entropy) == found.regime[i]
        assert bool(found.alarm[i]) == (together.alarmed() or any(d.score >= alarm_q8(3) for d in detectors))


def test_the_seed_profile_is_residual_over_range() -> None:
    x = signal(300)
    found = detecting.run(x, profile="seed", full_scale=[1000])
    ahead = predicting.run(x, "linear").ahead
    expected = [seed_entropy(int(v - a), 1000) / ONE for v, a in zip(x[:, 0], ahead[:, 0], strict=True)]
    assert np.allclose(found.entropy[predicting.ORDER + 1 :], expected[predicting.ORDER + 1 :], atol=1e-7)


def test_a_step_is_an_alarm_and_a_storm() -> None:
    found = detecting.run(signal())
    assert found.alarm[STEP : STEP + 20].any() and found.alarm[:STEP].sum() <= 2
    assert (found.regime[STEP + 5 : STEP + 40] == 2).all() and not found.regime[:STEP].any()
    assert detecting.threshold(1) == ALARM_Q8 / 256 < detecting.threshold(8)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no profile"):
        detecting.run(signal(), profile="mine")
    with pytest.raises(ValueError, match="shape"):
        detecting.run(np.zeros(5, np.int32))
    empty = detecting.run(np.zeros((0, 2), np.int32))
    assert empty.score.shape == (0, 2) and empty.regime.shape == (0,)


def test_the_table_comes_back_with_three_columns(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert run(["detect", str(table), "--out", str(out)]) == 0
    assert "1,200 rows of 1 channel" in capsys.readouterr().out
    before, after = table.read_text().splitlines(), out.read_text().splitlines()
    assert after[0] == before[0] + ",score,alarm,regime"
    assert all(b.startswith(a + ",") for a, b in zip(before, after, strict=True))
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert rows[STEP + 10]["regime"] == "Storm" and rows[10]["regime"] == "Calm"
    assert sum(int(row["alarm"]) for row in rows[STEP : STEP + 20]) >= 1
    assert run(["detect", str(table), "--out", str(out)]) == 2  # exists already
    assert "--force" in capsys.readouterr().err


def test_labels_are_never_seen(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", str(table), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["channels"] == ["value"] and told["rows"] == 1200 and sum(told["regimes"].values()) == pytest.approx(1)
    blind = tmp_path / "blind.csv"
    blind.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().splitlines()) + "\n")
    assert run(["detect", str(blind), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_semicolons_and_chosen_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "valve.csv", tmp_path / "out.csv"
    rows = [f"2020-03-09 10:{i // 60:02d}:{i % 60:02d};{a / 1000:.3f};{b / 10:.1f};0.0" for i, (a, b) in
            enumerate(signal(600, 2).tolist())]  # fmt: skip
    path.write_text("datetime;Current;Volume Flow RateRMS;anomaly\n" + "\n".join(rows) + "\n")
    assert run(["detect", str(path), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["channels"] == ["Current", "Volume Flow RateRMS"]
    assert out.read_text().splitlines()[0].endswith("anomaly;score;alarm;regime")
    assert run(["detect", str(path), "--column", "Current", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["channels"] == ["Current"]
    assert run(["detect", str(path), "--column", "Nothing"]) == 2
    assert "choose from Current" in capsys.readouterr().err


def test_a_pipe_and_what_is_no_table(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "qres_host.cli", "detect", "-", "--out", "-"]
    done = subprocess.run(command, input=table.read_bytes(), capture_output=True, check=True)
    assert done.stdout.startswith(b"timestamp,value,anomaly,score,alarm,regime\n") and not done.stderr
    text = tmp_path / "words.txt"
    text.write_text("no table\n")
    for arguments in ([str(text)], [str(tmp_path / "absent.csv")], [str(tmp_path)], [str(table), "--plot", "x.doc"]):
        assert run(["detect", *arguments]) in (1, 2)
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("name", "head"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_pictures(table: Path, tmp_path: Path, name: str, head: bytes) -> None:
    pytest.importorskip("matplotlib")
    for profile in detecting.PROFILES:
        path = tmp_path / f"{profile}-{name}"
        assert run(["detect", str(table), "--profile", profile, "--plot", str(path)]) == 0
        assert path.read_bytes().startswith(head)


def test_without_matplotlib_the_remedy_is_told(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["detect", str(table), "--plot", "x.png"]) == 1
    assert "qres[plot]" in capsys.readouterr().err
    assert plotting.SUFFIXES
