"""`qres replay`: a capture into a database and a summary, or a board's trace against the node, bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from qres import trace
from qres.config import ConfigError
from qres.events import BOOT
from qres.node import Node
from qres.snapshot import SnapshotError

from qres_host.capture import SUFFIX, CaptureReader
from qres_host.collector import Decoder
from qres_host.errors import FAILURE, OK, PARTIAL, USAGE, QresError
from qres_host.keys import KEY_VARIABLE as KEY_VARIABLE
from qres_host.keys import find_key as find_key
from qres_host.keys import parse_key as parse_key
from qres_host.store import Store
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
    started_s, records = time.monotonic(), 0
    try:
        for record in reader:
            records += 1
            if speed:
                due_s = started_s + record.arrival_ms / 1000 / speed
                time.sleep(max(due_s - time.monotonic(), 0))
            decoder.feed(record, wait=True)
    finally:
        if store is not None:
            store.close()
    view.freeze()
    totals = view.totals()
    return {"records": records, "damaged_bytes": reader.damaged_bytes, **decoder.counters(), **totals}


class Difference(NamedTuple):
    """The first step of a trace that came out otherwise: line number, what was said, what is so now."""

    line: int
    expected: str
    got: str


def replay_trace(path: Path, config: dict[str, Any] | None = None) -> tuple[int, Difference | None]:
    """Run a board's trace through the node again: (steps that agree, the first difference or None).

    The first line may be {"config": {…}}; else `config` counts. Raises QresError for a file that is no trace.
    """
    lines = _lines(path)
    first = json.loads(lines[0][1])
    if isinstance(first, dict) and isinstance(first.get("config"), dict):
        config = first["config"]
        lines = lines[1:]
    if config is None:
        remedy = "give the board's config.json as --config"
        raise QresError(f"{path} does not name the board's configuration", remedy, USAGE)
    try:
        node = Node(config)
    except ConfigError as error:
        raise QresError(f"the configuration is not usable: {error}", "give the board's own config.json") from error
    steps, blob, restored = 0, b"", False
    for number, line in lines:
        try:
            what, *rest = trace.decode(line)
        except ValueError as error:
            raise QresError(f"{path}, line {number} is no trace line", str(error)) from error
        if what == "restore":
            part, count, piece = rest
            blob = piece if part == 0 else blob + piece
            if part + 1 == count:
                node, restored = Node(config), True
                _restore(node, blob, f"{path}, line {number}")
            continue
        event = rest[0]
        if event[0] == BOOT and not restored:
            node = Node(config)  # a boot forgets all that no snapshot brings back
        restored = False
        actions = node.step(event)
        got = trace.encode(event, actions, node.snapshot(True))
        if not trace.same(line, got):
            return steps, Difference(number, line.decode("utf-8", "replace"), got.decode())
        steps += 1
    return steps, None


def _restore(node: Node, blob: bytes, where: str) -> None:
    try:
        node.restore(blob)
    except SnapshotError as error:
        raise QresError(f"{where}: a snapshot that does not fit", f"{error}; is it this board's config?") from error


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Return the non-empty lines of a trace with their numbers."""
    try:
        lines = [(n, s) for n, s in enumerate(path.read_bytes().split(b"\n"), 1) if s.strip()]
        json.loads(lines[0][1])
    except OSError as error:
        raise QresError(f"cannot read {path}", str(error.strerror)) from error
    except (ValueError, IndexError) as error:
        remedy = "name a capture folder, a .qcap segment, or a trace of JSON lines"
        raise QresError(f"{path} is neither a capture nor a trace", remedy) from error
    return lines


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
"""


@click.command(epilog=EXAMPLE)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--db", type=click.Path(path_type=Path), help="Build this database from the capture.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A trace's board: its config.json.")
@click.option("--speed", type=click.FloatRange(min=0), default=0, help="Times real time; 0: as fast as possible.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(path: Path, db: Path | None, key: str, config_path: Path | None, speed: float, as_json: bool) -> int:
    """Replay PATH: a capture (folder or .qcap segment), or a board's trace (.jsonl).

    A trace is repeated step by step; the exit code is 1 when any bit differs. A capture with a damaged
    tail gives exit code 4.
    """
    if not path.exists():
        raise QresError(f"no such file: {path}", "name a capture folder, a .qcap segment or a .jsonl trace")
    if path.is_dir() or path.suffix == SUFFIX:
        summary = replay_capture(path, find_key(key, path), db, None, speed)
        click.echo(json.dumps(summary) if as_json else "\n".join(text_lines(summary)))
        return PARTIAL if summary["damaged_bytes"] else OK
    steps, difference = replay_trace(path, _config(config_path))
    if as_json:
        click.echo(json.dumps({"steps": steps, "difference": difference and difference._asdict()}))
    elif difference is None:
        click.echo(f"{steps:,} steps, identical")
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
