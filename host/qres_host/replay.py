"""`qres replay`: a capture into a database and a summary, or a board's trace against the node, bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from qres_host.capture import SUFFIX, CaptureReader
from qres_host.decoder import Decoder, batches
from qres_host.errors import FAILURE, OK, PARTIAL, USAGE, QresError
from qres_host.keys import KEY_VARIABLE as KEY_VARIABLE
from qres_host.keys import find_key as find_key
from qres_host.keys import parse_key as parse_key
from qres_host.store import Store
from qres_host.traces import Outcome, lines_of_capture, lines_of_file, replay_trace
from qres_host.view import View


def replay_capture(
    path: Path, key: bytes, db: Path | None = None, view: View | None = None, speed: float = 0.0
) -> dict[str, Any]:
    """Decode a capture as a live run would and return its summary; with `db` into a new database.

    `speed` times real time, 0 as fast as possible. Raises QresError for a file that is no capture.
    """
    if db is not None and db.exists():
        raise QresError(f"{db} exists already", "remove it, or name a new file: replaying makes a database anew")
    reader = CaptureReader(path)
    view = view if view is not None else View()
    store = Store(db, reader.started_ms) if db is not None else None
    decoder = Decoder(key, view, store)
    started_s, count = time.monotonic(), 0
    try:
        for records in ([record] for record in reader) if speed else batches(reader):
            count += len(records)
            if speed:
                due_s = started_s + records[0].arrival_ms / 1000 / speed
                time.sleep(max(due_s - time.monotonic(), 0))
            decoder.feed_all(records, wait=True)
    finally:
        decoder.close()
        if store is not None:
            store.close()
    view.freeze()
    totals = view.totals()
    return {"records": count, "damaged_bytes": reader.damaged_bytes, **decoder.counters(), **totals}


def text_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the summary of a replay as lines for people."""
    s = summary
    yield f"records    {s['records']:,} ({s['damaged_bytes']:,} damaged bytes at the tail)"
    yield f"packets    {s['packets']:,} accepted, {s['rejected']:,} rejected, {s['duplicates']:,} copies"
    serial = f"{s['serial_gaps']:,} serial frames, {s['serial_bad']:,} damaged"
    yield f"lost       {s['frames_lost']:,} radio frames, {serial}"
    yield f"samples    {s['samples']:,} rebuilt, {s['samples_lost']:,} missing"
    yield f"streams    {s['streams_exact']:,} of {s['streams']:,} exact"
    if s["bytes_air"]:
        against = f"{s['bytes_raw']:,} as raw int32, {s['bytes_every']:,} sending every sample"
        yield f"bytes      {s['bytes_air']:,} on the air ({s['bytes_data']:,} with samples), against {against}"


EXAMPLE = """\b
Examples:
  qres replay capture/ --key config.json --db again.db
  qres replay trace.jsonl --config config.json
  qres replay capture/ --config config.json --device virtual://jfk-1
"""


@click.command(epilog=EXAMPLE)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--db", type=click.Path(path_type=Path), help="Build this database from the capture.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Replay a board's trace: its config.json."
)
@click.option("--device", default="", help="Whose trace in a capture, when several boards left one.")
@click.option("--speed", type=click.FloatRange(min=0), default=0, help="Times real time; 0: as fast as possible.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    path: Path, db: Path | None, key: str, config_path: Path | None, device: str, speed: float, as_json: bool
) -> int:
    """Replay PATH: a capture (folder or .qcap segment), or a board's trace (.jsonl).

    A trace, also one inside a capture, is repeated step by step when --config is given; the exit code is 1
    when any bit differs. A capture with a damaged tail gives exit code 4.
    """
    if not path.exists():
        raise QresError(f"no such file: {path}", "name a capture folder, a .qcap segment or a .jsonl trace")
    captured, config = path.is_dir() or path.suffix == SUFFIX, _config(config_path)
    if captured and config is None:
        summary = replay_capture(path, find_key(key, path), db, None, speed)
        click.echo(json.dumps(summary) if as_json else "\n".join(text_lines(summary)))
        return PARTIAL if summary["damaged_bytes"] else OK
    lines = lines_of_capture(CaptureReader(path), device) if captured else lines_of_file(path)
    return _show(replay_trace(lines, config, str(path)), as_json)


def _show(outcome: Outcome, as_json: bool) -> int:
    """Print how the replay of a trace went; return the exit code."""
    steps, skipped, difference = outcome
    if as_json:
        found = difference._asdict() if difference is not None else None
        click.echo(json.dumps({"steps": steps, "skipped": skipped, "difference": found}))
    elif difference is None:
        before = f" ({skipped:,} before the first boot skipped)" if skipped else ""
        click.echo(f"{steps:,} steps, identical{before}")
    else:
        click.echo(f"line {difference.line} differs after {steps:,} identical steps")
        click.echo(f"  trace: {difference.expected}\n  now:   {difference.got}")
    return OK if difference is None else FAILURE


def _config(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise QresError(f"cannot read the configuration {path}", str(error), USAGE) from error
    return config if isinstance(config, dict) else None
