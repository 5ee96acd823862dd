"""What `qres monitor` draws: the fleet as a table, the boards' words, what is wrong, and the line that is typed."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qres_host.collector import Collector
from qres_host.history import KERNEL_NAMES
from qres_host.words import Line

WIDE = 120  # columns from which a MAC is shown in full
_URGENT = ("lost", "late", "awake", "asleep", "gateway")  # order in which boards are kept on a small screen
_STATE_STYLE = {"lost": "bold red", "late": "yellow", "awake": "green", "asleep": "dim", "gateway": "cyan"}
_REGIME_STYLE = {"Calm": "green", "PreStorm": "yellow", "Storm": "bold red"}
_LINE_STYLE = {"text": "dim", "log": "dim", "reply": "cyan", "source": "yellow", "note": "red"}
_DASH = "-"
CRASH_SHOWN_MS = 600_000


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


def screen(collector: Collector, width: int, height: int, typed: str | None = None) -> Group:
    """Return what fills a terminal of that size: headline, table, troubles, lines of the boards, and what is typed.

    `typed` None: nobody can type here.
    """
    fleet = collector.view.fleet()
    prompt = [] if typed is None else [_prompt(collector, typed)]
    problems = [Text(line, "yellow", no_wrap=True, overflow="ellipsis") for line in troubles(collector)[:4]]
    # Of the height, the table has five lines of its own, the headline two; the boards' words get a quarter.
    fixed = 7 + len(problems) + len(prompt)
    rows = max(height - fixed - height // 4, 1)
    space = max(height - fixed - min(rows, len(fleet["boards"])), 0)
    lines = list(collector.decoder.words.kept)[-space:] if space else []
    parts: list[Text | Table] = [headline(fleet), fleet_table(fleet, rows, width >= WIDE), *problems]
    parts += [Text("")] * (space - len(lines)) if prompt else []
    parts += [
        Text(show_line(collector, line), _LINE_STYLE[line.kind], no_wrap=True, overflow="ellipsis") for line in lines
    ]
    return Group(*parts, *prompt)


def troubles(collector: Collector) -> list[str]:
    """Return what is wrong with ports and boards now, a line each: away, restarting, flooding, crashed."""
    words = collector.decoder.words
    found = [f"{d.name}: {d.reason}" for d in list(collector.devices) if d.fd < 0 and d.reason]
    found += [f"{collector.label(name)} {what}" for name, what in words.troubles(collector.now_ms())]
    last = {crash.device: crash for crash in list(words.crashes)}
    for device, crash in last.items():
        age_ms = collector.now_ms() - crash.arrival_ms
        if age_ms < CRASH_SHOWN_MS:
            found.append(f"{collector.label(device)} crashed {ago(0, age_ms)} ago: {crash.error} ({crash.place})")
    return found


def show_line(collector: Collector, line: Line) -> str:
    """Return a board's line with the local time of its arrival and the board's name."""
    at_ms = collector.unix_ms(line.arrival_ms)
    clock = time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))
    return f"{clock}.{at_ms % 1000:03d} {collector.label(line.device)}: {line.text}"


def _prompt(collector: Collector, typed: str) -> Text:
    """Return the line that is typed, behind what became of the last command."""
    last = list(collector.outcomes)[-1:]
    style = "bold" if not last or last[0].ok else "bold red"
    text = Text("> ", "bold cyan", no_wrap=True, overflow="ellipsis")
    if typed:
        return text.append(typed).append("_", "blink")
    if collector.asking:
        return text.append("waiting for an answer ...", "dim")
    if last:
        return text.append(f"{collector.label(last[0].device)} {last[0].line()}", style)
    return text.append("type a command, such as: status, set KEY VALUE, awake 10; @NAME chooses a board", "dim")
