"""`qres detect`: a table with score, alarm and regime beside each row, a summary, a picture."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray
from qres.regime import NAMES

from qres_host import detecting, recording
from qres_host.archive import csvtext, fit, inputs
from qres_host.archive.commands import one_line, output, progress
from qres_host.archive.meta import CSV, Column, Meta
from qres_host.detecting import Detection
from qres_host.errors import OK, USAGE, QresError
from qres_host.recording import Recording

LABELS = ("anomaly", "changepoint", "label", "is_anomaly")
"""Columns of public benchmarks that say what is to be found: never a channel."""
ADDED = ("score", "alarm", "regime")
EXAMPLE = """\b
Examples:
  qres detect room.csv --out room-judged.csv
  qres detect valve.csv --column Pressure --column Current --plot valve.svg
  cat log.csv | qres detect - --out - | tail
  qres detect room.csv --json
"""


@click.command(epilog=EXAMPLE)
@click.argument("source", metavar="IN")
@click.option("--out", "target", metavar="OUT", help="Write IN's rows with score, alarm and regime; - is a pipe.")
@click.option("--profile", type=click.Choice(detecting.PROFILES), default="default", show_default=True, help="Regimes.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Only this channel; may be repeated.")
@click.option("--plot", metavar="FILE", help="Draw signal, score and regimes: .png, .svg or .pdf.")
@click.option("--force", is_flag=True, help="Overwrite OUT and the picture.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def detect(
    source: str,
    target: str | None,
    profile: str,
    columns: tuple[str, ...],
    plot: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Judge every row of the table IN as a board does: how rare it is, whether it is an alarm, and the regime.

    IN is csv, npy, npz or parquet with a numeric column a channel, or - for a pipe. Columns of times and of labels
    (anomaly, changepoint, label) are no channels. Rows are judged by those before them alone.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if target == "-" and as_json:
        raise QresError("both the table and the JSON want standard output", "name a file with --out", USAGE)
    if plot and Path(plot).exists() and not force:
        raise QresError(f"{plot} exists already", "name another file, or overwrite it with --force", USAGE)
    if plot:
        from qres_host import plotting

        plotting.check(plot)
    with one_line(target or source), inputs.taken(source) as given:
        table = recording.of(given, columns or _channels(given))
        with progress(given.name, len(table.x)) as told:
            found = detecting.run(table.x, missing=table.missing, profile=profile, watch=told)
        if target:
            with output(target, force) as file:
                write(given, found, file)
        times = plotting.times_of(given) if plot else None
    if plot:
        with one_line(plot):
            plotting.draw(plot, table, found, profile, times, f"{Path(given.name).name}, profile {profile}")
    if target != "-":
        click.echo(json.dumps(summary(table, found, profile)) if as_json else told_of(table, found, given.name))
    return OK


def _channels(given: inputs.Input) -> list[str]:
    """The numeric columns that are no labels; none named when there are no labels."""
    everything = recording.of(given).channels
    chosen = [name for name in everything if name.strip().lower() not in LABELS]
    return chosen or list(everything)


def write(given: inputs.Input, found: Detection, file: BinaryIO) -> None:
    """Write the rows of a table, as they stand, with the columns ADDED behind them."""
    table = inputs.table(given, None, "fast")
    assert table is not None  # it was read before
    meta = table.meta
    own = meta.origin == CSV
    layout = csvtext.layout_of(meta.details if own else b"")
    heads = Meta(meta.origin, [*meta.columns, *map(Column, ADDED)], meta.time, details=meta.details)
    file.write(csvtext.header(heads, empty=False))
    score = np.round(found.score.max(axis=1).astype(np.float64), 2)
    names, at = np.array(NAMES), 0
    for chunks, _ in table.read():
        rows = slice(at, at + chunks[0].rows)
        added = [
            fit.from_strings([f"{value:g}" for value in score[rows]]),
            fit.from_array(found.alarm[rows].astype(np.int64)),
            fit.from_strings(names[found.regime[rows]].tolist()),
        ]
        for text in csvtext.rows_text([*chunks, *added], layout):
            file.write(text)
        at = rows.stop


def summary(table: Recording, found: Detection, profile: str) -> dict[str, Any]:
    """What was found, for programs: alarms as row numbers, counted from 0; shares of rows in each regime."""
    return {
        "rows": len(table.x),
        "channels": list(table.channels),
        "profile": profile,
        "alarms": _begins(found.alarm),
        "missing": int(table.missing.sum()),
        "storms": _begins(found.regime == 2),
        "regimes": {name: round(float((found.regime == i).mean()), 6) for i, name in enumerate(NAMES)},
    }


def _begins(mask: NDArray[np.bool_]) -> list[int]:
    edges: list[int] = np.flatnonzero(mask & ~np.concatenate(([False], mask[:-1]))).tolist()
    return edges


def told_of(table: Recording, found: Detection, name: str) -> str:
    """What was found, for people."""
    alarms = _begins(found.alarm)
    share = " ".join(f"{n} {(found.regime == i).mean():.1%}" for i, n in enumerate(NAMES))
    lines = [
        f"{name}: {_count(len(table.x), 'row')} of {_count(len(table.channels), 'channel')}, "
        f"{_count(len(alarms), 'alarm')}, {_count(len(_begins(found.regime == 2)), 'storm')}",
        share,
    ]
    if alarms:
        lines.append("alarms at rows " + _some(alarms))
    if table.missing.any():
        lines.append(_count(int(table.missing.sum()), "value") + " missing")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _some(rows: Sequence[int], most: int = 12) -> str:
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(str(row + 1) for row in rows[:most]) + more
