"""`qres monitor`: the boards live in the terminal, their words below; or one JSON object per update."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from qres_host.collector import Collector, Line
from qres_host.devices import require
from qres_host.errors import OK, TIMEOUT, QresError
from qres_host.history import KERNEL_NAMES
from qres_host.keys import KEY_VARIABLE, key_for
from qres_host.view import View

REFRESH_S = 0.25
ONCE_S = 30.0  # --once waits so long for a first word
SETTLE_S = 1.0  # and so much longer for the rest of it
WIDE = 120  # columns from which a MAC is shown in full
_URGENT = ("lost", "late", "awake", "asleep", "gateway")  # order in which boards are kept on a small screen
_STATE_STYLE = {"lost": "bold red", "late": "yellow", "awake": "green", "asleep": "dim", "gateway": "cyan"}
_REGIME_STYLE = {"Calm": "green", "PreStorm": "yellow", "Storm": "bold red"}
_DASH = "-"


def ago(then_ms: int | None, now_ms: int) -> str:
    """Return how long ago that was: "12 s", "5 min", "3 h", "2 d"; "-" for never."""
    if then_ms is None:
        return _DASH
    seconds = max(now_ms - then_ms, 0) // 1000
    for limit, unit in ((120, 1), (7200, 60), (172_800, 3600)):
        if seconds < limit:
            return f"{seconds // unit} {({1: 's', 60: 'min', 3600: 'h'})[unit]}"
    return f"{seconds // 86_400} d"


def percent(permille: int | None) -> str:
    """Return per mille as a percentage, "-" when unknown."""
    return _DASH if permille is None else f"{permille / 10:.0f} %"


def saved(air: int, every: int) -> str:
    """Return the share of bytes saved against sending each sample at once, "-" before there is one."""
    return f"{100 - 100 * air / every:.0f} %" if every and air else _DASH


def fleet_table(fleet: dict[str, Any], rows: int, wide: bool) -> Table:
    """Return the table of the boards, at most `rows` of them, the most urgent first to stay."""
    boards = fleet["boards"]
    kept = sorted(range(len(boards)), key=lambda i: _URGENT.index(boards[i]["state"]))[:rows]
    hidden = len(boards) - len(kept)
    table = Table(expand=True, pad_edge=False, caption=f"and {hidden} more" if hidden else None)
    for name in ("board", "MAC", "state", "regime"):
        table.add_column(name, no_wrap=True)
    for name in ("trust", "battery", "seen", "samples", "saved", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for i in sorted(kept):
        b = boards[i]
        sent = b["packets"] + b["lost"]
        seen = ago(b["last_seen_ms"], fleet["now_ms"])
        table.add_row(
            b["name"] or _DASH,
            b["mac"] if wide else b["mac"][-8:],
            Text(b["state"], _STATE_STYLE[b["state"]]),
            Text(b["regime"] or _DASH, _REGIME_STYLE.get(b["regime"], "")),
            percent(b["reputation_permille"]),
            percent(b["battery_permille"]),
            seen if seen == _DASH else f"{seen} ago",
            f"{b['samples']:,}",
            saved(b["bytes_air"], b["bytes_every"]),
            f"{100 * b['lost'] / sent:.1f} %" if sent else _DASH,
        )
    return table


def headline(fleet: dict[str, Any]) -> Text:
    """Return one line about the whole swarm."""
    swarm, t = fleet["swarm"], fleet["totals"]
    clock = time.strftime("%Y-%m-%d %H:%M", time.gmtime(fleet["now_ms"] / 1000)) if fleet["now_ms"] else _DASH
    parts = [
        f"swarm {clock}",
        f"epoch {swarm['epoch']}, {percent(swarm['agreement_permille'])} agree",
        f"{t['streams_exact']} of {t['streams']} streams exact",
        f"saved {saved(t['bytes_air'], t['bytes_every'])}",
        f"lost {t['frames_lost']}, refused {t['rejected']}",
    ]
    builds = {b["build"] for b in fleet["boards"] if b["build"]}
    if len(builds) > 1:
        parts.append(f"{len(builds)} applications: {', '.join(sorted(builds))}")
    slow = [b["name"] or b["mac"] for b in fleet["boards"] if b["kernels"] == KERNEL_NAMES[2]]
    if slow:
        parts.append(f"kernels failed their self-test on {', '.join(slow)}")
    unlike = [f"{b['name'] or b['mac']} ({', '.join(b['unlike'])})" for b in fleet["boards"] if b["unlike"]]
    if unlike:
        parts.append(f"unlike the others: {', '.join(unlike)}")
    wrong = t["serial_gaps"] + t["serial_bad"] + t["dropped"] + t["mismatched"]
    if wrong:
        gaps = f"serial {t['serial_gaps']} missing {t['serial_bad']} damaged"
        parts.append(f"{gaps}, dropped {t['dropped']}, wrong {t['mismatched']}")
    return Text(" · ".join(parts), "bold yellow" if wrong or slow else "bold")


def screen(collector: Collector, width: int, height: int) -> Group:
    """Return what fills a terminal of that size: headline, table, ports that are away, lines of the boards."""
    fleet = collector.view.fleet()
    # Of the height, the table has five lines of its own, the headline two; the boards' words get a quarter.
    rows = max(height - 7 - height // 4, 1)
    away = [f"{d.name}: {d.reason}" for d in collector.devices if d.fd < 0 and d.reason][:3]
    used = min(rows, len(fleet["boards"])) + 7 + len(away)
    words = [show_line(line) for line in list(collector.decoder.lines)[-max(height - used, 0) :]]
    parts: list[Text | Table] = [headline(fleet), fleet_table(fleet, rows, width >= WIDE)]
    parts += [Text(line, "yellow", no_wrap=True, overflow="ellipsis") for line in away]
    parts += [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in words if height > used]
    return Group(*parts)


def show_line(line: Line) -> str:
    """Return a board's line with the second of its arrival and the port."""
    return f"{line.arrival_ms / 1000:10.3f} {line.device.rpartition('/')[2]}: {line.text}"


EXAMPLE = """\b
Examples:
  qres monitor --key config.json        every board that is plugged in
  qres monitor virtual://sentinel       one virtual board
  qres monitor --once --json | jq .     what there is now
"""


@click.command(epilog=EXAMPLE)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per update.")
@click.option("--once", is_flag=True, help="Show the first complete picture and end.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds, then end.")
@click.option("--capture", type=click.Path(path_type=Path), help="Append the raw bytes to this folder.")
@click.option("--log", "log_path", type=click.Path(path_type=Path), help="Append the boards' lines to this file.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
def monitor(
    devices: tuple[str, ...],
    as_json: bool,
    once: bool,
    duration: float | None,
    capture: Path | None,
    log_path: Path | None,
    key: str,
) -> int:
    """Watch boards live. DEVICEs are ports or URIs; without any, all boards that are present.

    Opening a port never resets a board, and a port that vanishes is opened again when it returns.
    """
    uris = require(devices)
    secret = key_for(key, uris)
    with ExitStack() as stack:
        log = stack.enter_context(_open_log(log_path)) if log_path else None
        collector = stack.enter_context(Collector(uris, secret, View(), capture, None, must_open=bool(devices)))
        ticks = _ticks(collector, duration, once, log)
        if as_json:
            _print_json(collector, ticks, once)
        elif once or not sys.stdout.isatty():
            _print_plain(collector, ticks, once)
        else:
            _show_live(collector, ticks)
        if once and not collector.view.fleet()["boards"]:
            raise QresError("no board spoke", "is the gateway running, and is this its swarm's key?", TIMEOUT)
    return OK


def _ticks(collector: Collector, duration: float | None, once: bool, log: TextIO | None) -> Iterator[None]:
    """Yield a few times a second until the time is over, Ctrl-C, or an error of the collector."""
    started_s, first_s = time.monotonic(), 0.0
    limit_s = duration if duration is not None else ONCE_S if once else float("inf")
    logged = 0
    try:
        while True:
            logged = _write_log(collector, log, logged)
            yield
            now_s = time.monotonic()
            if not first_s and collector.view.fleet()["boards"]:
                first_s = now_s
            if now_s - started_s >= limit_s or (once and first_s and now_s - first_s >= SETTLE_S):
                return
            if collector.error is not None:
                raise collector.error
            time.sleep(min(REFRESH_S, max(limit_s - (now_s - started_s), 0.01)))
    except KeyboardInterrupt:
        return
    finally:
        _write_log(collector, log, logged)


def _write_log(collector: Collector, log: TextIO | None, logged: int) -> int:
    """Append the lines that came since line number `logged`; return the number of the next."""
    lines = collector.decoder.lines_since(logged)
    if log is not None:
        log.writelines(f"{show_line(line)}\n" for line in lines)
        log.flush()
    return logged + len(lines)


def _open_log(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise QresError(f"cannot write {path}", f"{error.strerror}; choose another file") from error


def _print_json(collector: Collector, ticks: Iterator[None], once: bool) -> None:
    shown = -1
    for _ in ticks:
        fleet = collector.view.fleet()
        if not once and fleet["version"] != shown:
            shown = fleet["version"]
            print(json.dumps(fleet, separators=(",", ":")), flush=True)
    if once:
        print(json.dumps(collector.view.fleet(), separators=(",", ":")), flush=True)


def _print_plain(collector: Collector, ticks: Iterator[None], once: bool) -> None:
    """Without a terminal: the boards' lines as they come, the table at the end."""
    printed = 0
    for _ in ticks:
        lines = collector.decoder.lines_since(printed)
        printed += len(lines)
        for line in lines if not once else ():
            print(show_line(line), flush=True)
    fleet = collector.view.fleet()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(headline(fleet))
    console.print(fleet_table(fleet, len(fleet["boards"]), True))


def _show_live(collector: Collector, ticks: Iterator[None]) -> None:
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for _ in ticks:
            live.update(screen(collector, console.width, console.height), refresh=True)
    fleet = collector.view.fleet()
    console.print(headline(fleet))
    console.print(fleet_table(fleet, len(fleet["boards"]), console.width >= WIDE))
