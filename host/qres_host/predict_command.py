"""`qres predict`: how well the boards' predictors do on a recording, and weights in and out of files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from qres import predict as predictors
from rich.console import Console
from rich.table import Table

from qres_host import gene, predicting, recording
from qres_host.archive.commands import progress
from qres_host.errors import OK, USAGE, QresError
from qres_host.predicting import Score
from qres_host.recording import Recording

EXAMPLE = """\b
Examples:
  qres predict room.csv --predictor taaf           error of each channel beside the last value's
  qres predict room.csv --out ahead.csv --json     what was predicted, row by row; the summary for programs
  qres predict room.csv --export room.gene         the weights that were learned, 48 bytes a channel
  qres predict room.csv --train room.cell          a cell for the predictor lstm, trained on the recording
"""


@click.command(epilog=EXAMPLE)
@click.argument("recorded", metavar="IN")
@click.option("--predictor", "name", default="linear", show_default=True, type=click.Choice(predictors.NAMES))
@click.option("--channels", default="", help="Only these columns, separated by commas.")
@click.option("--order", default=predicting.ORDER, show_default=True, type=click.IntRange(1, 16), help="Lags.")
@click.option(
    "--rate", default=predicting.RATE, show_default=True, type=click.IntRange(0, 512), help="Of learning, in 1/1024."
)
@click.option(
    "--skip", default=0, show_default=True, type=click.IntRange(0), help="Rows that are learned, not counted."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the predictions to this CSV file.")
@click.option("--gene", "genes", type=click.Path(path_type=Path), help="Start from genes, 48 bytes a channel.")
@click.option("--export", type=click.Path(path_type=Path), help="Write what was learned as genes, 48 bytes a channel.")
@click.option("--cell", type=click.Path(path_type=Path), help="Weights of the cell of lstm.")
@click.option("--train", "trained", type=click.Path(path_type=Path), help="Train a cell of lstm and write it.")
@click.option("--trials", default=60, show_default=True, type=click.IntRange(1), help="Cells that --train tries.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def predict(
    recorded: str,
    name: str,
    channels: str,
    order: int,
    rate: int,
    skip: int,
    out: Path | None,
    genes: Path | None,
    export: Path | None,
    cell: Path | None,
    trained: Path | None,
    trials: int,
    as_json: bool,
) -> int:
    """Predict each row of a recording from those before it, as a board does, and show the error.

    IN is csv, npy, npz or parquet, `-` for standard input. The measure is the root mean square error over that of
    predicting the last value: below 1 is better.
    """
    table = recording.load(recorded, [part.strip() for part in channels.split(",") if part.strip()])
    if trained:
        return _train(table, trained, trials, as_json)
    predictor = predictors.make(name, len(table.channels), order, rate)
    if genes:
        rate = _take_genes(predictor, genes, order)
    if cell:
        _take_cell(predictor, cell)
    with progress(name, len(table.x)) as watch:
        result = predicting.run(table.x, missing=table.missing, predictor=predictor, watch=watch)
    scores = predicting.score(table.x, result.ahead, table.missing, skip)
    if out:
        _write_csv(out, table, result.ahead)
    if export:
        _write(export, _genes(predictor, order, rate))
    summary = summarize(name, table, scores)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _show(summary)
    return OK


def summarize(name: str, table: Recording, scores: list[Score]) -> dict[str, Any]:
    """Errors of each channel in its own unit, the ratio to persistence, and the mean ratio."""
    rows = []
    for channel, step, gone, one in zip(table.channels, table.steps, table.missing.T, scores, strict=True):
        rows.append(
            {
                "channel": channel,
                "values": one.values,
                "missing": int(gone.sum()),
                "rmse": one.rmse * step,
                "persistence_rmse": one.persistence * step,
                "ratio": one.ratio,
            }
        )
    return {
        "predictor": name,
        "rows": len(table.x),
        "channels": rows,
        "mean_ratio": predicting.mean_ratio(scores),
    }


def _show(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("channel", "RMSE", "of the last value", "ratio"):
        table.add_column(title, justify="left" if title == "channel" else "right")
    for row in summary["channels"]:
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.4f}"
        table.add_row(row["channel"], f"{row['rmse']:.5g}", f"{row['persistence_rmse']:.5g}", ratio)
    mean = summary["mean_ratio"]
    table.add_row("mean", "", "", "-" if mean is None else f"{mean:.4f}")
    Console().print(table)


def _train(table: Recording, path: Path, trials: int, as_json: bool) -> int:
    with progress("training", trials) as watch:
        cell, before, after = predicting.train(table.x, table.missing, trials, watch)
    _write(path, cell)
    found = {"cell": str(path), "bytes": len(cell), "ratio_before": before, "ratio_after": after}
    text = f"{path}: {len(cell)} bytes; error over persistence {before:.4f} before, {after:.4f} after"
    click.echo(json.dumps(found) if as_json else text)
    return OK


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise QresError(f"cannot read {path}", error.strerror or str(error), USAGE) from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise QresError(f"cannot write {path}", error.strerror or str(error), USAGE) from error


def _take_genes(predictor: Any, path: Path, order: int) -> int:
    """Start from the genes in a file: the learning rate of the first."""
    data = _read(path)
    count = len(predictor.linear.last)
    if len(data) != count * gene.SIZE:
        raise QresError(f"{path} has {len(data)} bytes", f"give {gene.SIZE} for each of {count} channels", USAGE)
    try:
        found = [gene.unpack(data[at : at + gene.SIZE], order) for at in range(0, len(data), gene.SIZE)]
    except gene.GeneError as error:
        raise QresError(f"{path}: {error}", "give genes that predict changes, or another --order", USAGE) from error
    predictor.linear.set_weights([weight for one in found for weight in one.weights])
    predictor.linear.rate = found[0].rate
    return found[0].rate


def _genes(predictor: Any, order: int, rate: int) -> bytes:
    weights = predictor.linear.weights()
    try:
        return b"".join(gene.pack(weights[at : at + order], rate) for at in range(0, len(weights), order))
    except gene.GeneError as error:
        raise QresError(str(error), f"use --order {gene.ORDER_MAX} or less", USAGE) from error


def _take_cell(predictor: Any, path: Path) -> None:
    if not hasattr(predictor, "set_cell"):
        raise QresError("only the predictor lstm has a cell", "add --predictor lstm", USAGE)
    try:
        predictor.set_cell(_read(path))
    except ValueError as error:
        remedy = f"train one on as many channels: it has {len(predictor.cell)} bytes"
        raise QresError(f"{path} is no cell for this recording", remedy, USAGE) from error


def _write_csv(path: Path, table: Recording, ahead: np.ndarray[Any, Any]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(table.channels)
            digits = [max(0, round(-np.log10(step))) for step in table.steps]
            for row in ahead.tolist():
                lines.writerow(
                    [f"{value * step:.{places}f}" for value, step, places in zip(row, table.steps, digits, strict=True)]
                )
    except OSError as error:
        raise QresError(f"cannot write {path}", error.strerror or str(error), USAGE) from error
