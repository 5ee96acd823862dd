"""The predictors on the host: the boards' numbers, the command, genes and cells in files."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from qres import predict
from qres_host import cli, gene, native, predicting, recording
from qres_host.errors import USAGE, QresError


def walk(rows: int = 300, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A walk whose channels share a part of their steps, and what is missing of it."""
    source = np.random.default_rng(3)
    steps = source.integers(-20, 21, (rows, 1)) + source.integers(-9, 10, (rows, channels))
    steps[1:] += steps[:-1] // 2
    return steps.cumsum(0).astype(np.int32), source.random((rows, channels)) < 0.03


@pytest.mark.parametrize("name", predict.NAMES)
def test_machine_code_predicts_what_plain_python_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, missing = walk()
    fast = predicting.run(x, name, missing=missing)
    monkeypatch.setattr(native, "COMPILED", False)
    slow = predicting.run(x, name, missing=missing)
    assert (fast.ahead == slow.ahead).all()
    assert fast.predictor.weights() == slow.predictor.weights()


def test_scores_are_those_of_the_definition() -> None:
    x = np.array([[0, 5], [2, 5], [9, 5], [4, 5]], np.int32)
    missing = np.array([[0, 0], [0, 0], [1, 0], [0, 0]], bool)
    ahead = np.array([[7, 5], [1, 5], [0, 5], [4, 5]])
    first, second = predicting.score(x, ahead, missing)
    assert first.values == 2 and first.rmse == pytest.approx(0.5**0.5) and first.persistence == pytest.approx(2)
    assert second.ratio is None
    assert predicting.mean_ratio([first, second]) == pytest.approx(first.rmse / 2)
    assert predicting.score(x, ahead, missing, begin=3)[0].rmse == 0


def write_csv(path: Path) -> Path:
    """A CSV file with a time, gaps, decimals, a word column."""
    x, missing = walk(200, 2)
    lines = ["time,temp,door,hum"]
    for i, (row, gone) in enumerate(zip(x.tolist(), missing.tolist(), strict=True)):
        cells = ["" if lost else f"{value / 100:.2f}" for value, lost in zip(row, gone, strict=True)]
        lines.append(f"2024-01-01T{i // 60:02}:{i % 60:02}:00,{cells[0]},open,{cells[1]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_recordings_are_numeric_columns_in_steps_with_their_gaps(tmp_path: Path) -> None:
    found = recording.load(str(write_csv(tmp_path / "a.csv")))
    x, missing = walk(200, 2)
    assert found.channels == ("temp", "hum") and found.steps == (0.01, 0.01)
    assert (found.missing == missing).all() and (found.x[~missing] == x[~missing]).all()
    assert recording.load(str(tmp_path / "a.csv"), ["hum"]).x.shape == (200, 1)
    np.save(tmp_path / "b.npy", np.linspace(0, 1, 50))
    assert recording.load(str(tmp_path / "b.npy")).x.shape == (50, 1)
    np.save(tmp_path / "wide.npy", np.zeros((9, 16), np.int16))
    for path, channels in (("a.csv", ["door"]), ("a.csv", ["x"]), ("wide.npy", []), ("none.csv", [])):
        with pytest.raises(QresError):
            recording.load(str(tmp_path / path), channels)


def test_the_command_reports_every_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_csv(tmp_path / "a.csv"))
    out = tmp_path / "ahead.csv"
    assert cli.run(["predict", path, "--predictor", "taaf", "--json", "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == 200 and [row["channel"] for row in summary["channels"]] == ["temp", "hum"]
    lines = out.read_text().splitlines()
    assert lines[0] == "temp,hum" and len(lines) == 201
    assert cli.run(["predict", path, "--channels", "hum"]) == 0
    shown = capsys.readouterr().out
    assert "hum" in shown and "temp" not in shown
    assert cli.run(["predict", str(tmp_path / "none.csv")]) != 0


def test_genes_carry_what_was_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, genes = str(write_csv(tmp_path / "a.csv")), tmp_path / "a.gene"
    assert cli.run(["predict", path, "--export", str(genes)]) == 0
    data = genes.read_bytes()
    assert len(data) == 2 * gene.SIZE
    again = tmp_path / "b.gene"
    assert cli.run(["predict", path, "--gene", str(genes), "--rate", "7", "--skip", "199", "--json"]) == 0
    capsys.readouterr()
    empty = tmp_path / "still.csv"
    empty.write_text("temp,hum\n" + "5,5\n" * 9)
    assert cli.run(["predict", str(empty), "--gene", str(genes), "--export", str(again)]) == 0
    assert again.read_bytes() == data
    genes.write_bytes(data[:-1])
    assert cli.run(["predict", path, "--gene", str(genes)]) == USAGE
    assert cli.run(["predict", path, "--order", "8", "--export", str(again)]) == USAGE


def test_a_gene_is_48_bytes_that_say_what_the_layer_predicts() -> None:
    weights = (30000, -2000, 5)
    data = gene.pack(weights, 41)
    lags, levels = data[:8], np.frombuffer(data[8:40], "<i4")
    assert len(data) == 48 and list(lags) == [1, 2, 3, 4, 0, 0, 0, 0] and levels.sum() == 65536
    x = [100, 40, 90, 10]  # newest first
    changes = [a - b for a, b in itertools.pairwise(x)]
    by_changes = x[0] * 65536 + sum(w * d for w, d in zip(weights, changes, strict=True))
    assert by_changes == sum(int(w) * v for w, v in zip(levels[:4], x, strict=True))
    assert gene.unpack(data, 3) == gene.Gene(weights, 41) and gene.unpack(data, 5).weights == (*weights, 0, 0)


def test_any_bytes_are_a_gene_or_a_gene_error() -> None:
    source = random.Random(4)
    good = gene.pack((1000, -131071, 131071, 7), 512)
    for turn in range(4000):
        data = bytearray(good if turn & 1 else source.randbytes(source.choice((0, 47, 48, 49))))
        if turn & 1:
            data[source.randrange(48)] ^= 1 << source.randrange(8)
        try:
            found = gene.unpack(bytes(data), 4)
        except gene.GeneError:
            continue
        assert all(abs(weight) <= 131071 for weight in found.weights) and 0 <= found.rate <= 512
    for weights in ((), (1,) * 8):
        with pytest.raises(gene.GeneError):
            gene.pack(weights, 41)


def test_a_trained_cell_is_no_worse_and_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, cell = str(write_csv(tmp_path / "a.csv")), tmp_path / "a.cell"
    assert cli.run(["predict", path, "--train", str(cell), "--trials", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == len(cell.read_bytes()) <= 8192 and found["ratio_after"] <= found["ratio_before"]
    shared = ["predict", path, "--skip", "100", "--json", "--cell", str(cell)]
    assert cli.run([*shared, "--predictor", "lstm"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_ratio"] == pytest.approx(found["ratio_after"])
    assert cli.run([*shared, "--predictor", "linear"]) == USAGE
    assert cli.run([*shared, "--predictor", "lstm", "--channels", "hum"]) == USAGE
