"""A board's trace run again: every event through the node, every action and snapshot compared, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from qres import trace
from qres.config import ConfigError
from qres.events import BOOT
from qres.node import Node
from qres.snapshot import SnapshotError

from qres_host import wire
from qres_host.capture import CaptureReader
from qres_host.errors import USAGE, QresError

NumberedLine = tuple[int, bytes]


class Difference(NamedTuple):
    """The first step of a trace that came out otherwise: line number, what was said, what is so now."""

    line: int
    expected: str
    got: str


class Outcome(NamedTuple):
    """`steps` that came out the same, `skipped` lines before the first boot, the first difference or None."""

    steps: int
    skipped: int
    difference: Difference | None


def replay_trace(lines: list[NumberedLine], config: dict[str, Any] | None, where: str) -> Outcome:
    """Run a trace through the node again. `where` names it in messages.

    The first line may be {"config": {...}}; else `config` counts. What stands before the first boot or restored
    snapshot is skipped: nobody knows the state it began in. Raises QresError for lines that are no trace.
    """
    if lines:
        config, lines = _own_config(lines, config)
    if config is None:
        remedy = "give the board's config.json as --config"
        raise QresError(f"{where} does not name the board's configuration", remedy, USAGE)
    node: Node | None = None
    steps, skipped, blob, restored = 0, 0, b"", False
    for number, line in lines:
        try:
            what, *rest = trace.decode(line)
        except ValueError as error:
            raise QresError(f"{where}, line {number} is no trace line", str(error)) from error
        if what == "restore":
            part, count, piece = rest
            blob = piece if part == 0 else blob + piece
            if part + 1 == count:
                node, restored = _make(config), True
                _restore(node, blob, f"{where}, line {number}")
            continue
        event = rest[0]
        if event[0] == BOOT and not restored:
            node = _make(config)  # a boot forgets all that no snapshot brings back
        restored = False
        if node is None:
            skipped += 1
            continue
        actions = node.step(event)
        got = trace.encode(event, actions, node.snapshot(False))
        if not trace.same(line, got):
            return Outcome(steps, skipped, Difference(number, line.decode("utf-8", "replace"), got.decode()))
        steps += 1
    return Outcome(steps, skipped, None)


def lines_of_file(path: Path) -> list[NumberedLine]:
    """Return the non-empty lines of a trace file with their numbers. Raises QresError when it is none."""
    try:
        lines = [(n, s) for n, s in enumerate(path.read_bytes().split(b"\n"), 1) if s.strip()]
        json.loads(lines[0][1])
    except OSError as error:
        raise QresError(f"cannot read {path}", str(error.strerror)) from error
    except (ValueError, IndexError) as error:
        remedy = "name a capture folder, a .qcap segment, or a trace of JSON lines"
        raise QresError(f"{path} is neither a capture nor a trace", remedy) from error
    return lines


def lines_of_capture(records: CaptureReader, device: str = "") -> list[NumberedLine]:
    """Return the trace that one device wrote into a capture, numbered by its trace frames.

    Raises QresError when there is none, or several and `device` names none of them.
    """
    found: dict[str, list[bytes]] = {}
    deframers: dict[str, wire.Deframer] = {}
    for record in records:
        deframer = deframers.setdefault(record.device, wire.Deframer())
        for item in deframer.feed(record.data) if record.data else deframer.close():
            if isinstance(item, wire.Frame) and item.type == wire.TRACE:
                found.setdefault(record.device, []).append(item.payload)
    if not found:
        raise QresError(f"{records.path} holds no trace", 'set "trace": true in the board\'s config.json')
    if len(found) > 1 and device not in found:
        raise QresError(f"{len(found)} boards left a trace", f"choose by --device: {', '.join(sorted(found))}", USAGE)
    return list(enumerate(found.get(device) or next(iter(found.values())), 1))


def _own_config(
    lines: list[NumberedLine], config: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, list[NumberedLine]]:
    """Return the configuration to use and the lines after it."""
    try:
        first = json.loads(lines[0][1])
    except ValueError:
        return config, lines
    if isinstance(first, dict) and isinstance(first.get("config"), dict):
        return first["config"], lines[1:]
    return config, lines


def _make(config: dict[str, Any]) -> Node:
    try:
        return Node(config)
    except ConfigError as error:
        raise QresError(f"the configuration is not usable: {error}", "give the board's own config.json") from error


def _restore(node: Node, blob: bytes, where: str) -> None:
    try:
        node.restore(blob)
    except SnapshotError as error:
        raise QresError(f"{where}: a snapshot that does not fit", f"{error}; is it this board's config?") from error
