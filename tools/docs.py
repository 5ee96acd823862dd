"""Writes the parts of docs/ that repeat what the code says: `python tools/docs.py [--check]`.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; BLOCKS maps names to what makes them.
With --check nothing is written, and the exit code is 1 when a page is out of date.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from qres import config, packet, regime
from qres_host import cli
from qres_host.bench import (
    boards,
    collector,
    detect_sheets,
    numerics_sheets,
    ota,
    predict_sheets,
    ram_sheets,
    record,
    report,
)
from qres_host.bench.sheet import Sheet

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
QRES = ROOT / "firmware" / "qres"
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
UNITS = {"permille", "mV", "mJ", "s", "ms", "1/65536"}


class DocsError(Exception):
    """A page names a block that nothing makes, or the source has lost what a block is made from."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    cells = [list(head), *map(list, rows)]
    if len(cells) == 1:
        raise DocsError(f"nothing found for the table {' | '.join(cells[0])}")
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells]
    return "\n".join([f"| {lines[0]} |", "|" + " --- |" * len(cells[0]), *(f"| {line} |" for line in lines[1:])])


def mermaid(text: str) -> str:
    """A diagram that Markdown viewers draw."""
    return f"```mermaid\n{text}\n```"


def source(name: str) -> str:
    """The text of a module of qres."""
    return (QRES / name).read_text(encoding="utf-8")


def regime_rows(profile: str) -> list[tuple[str, str, str, str, str, str]]:
    """The rows of a profile's table in words: from, condition, how often, least stay, to, refractory period."""
    conditions = dict(re.findall(r"^# (\w+): (.+)$", source("regime.py"), re.MULTILINE))
    rows = []
    for start, condition, times, least, target, rest in regime.TABLES[profile]:
        often = "at once" if times == 1 else f"{times} in a row"
        words = (conditions[condition], often, str(least or "-"), regime.NAMES[target], str(rest or "-"))
        rows.append((regime.NAMES[start], *words))
    return rows


def regime_diagram(profile: str) -> str:
    """The state diagram of a profile, with the table beside it."""
    lines = ["stateDiagram-v2", "    [*] --> Calm"]
    for start, words, often, least, target, rest in regime_rows(profile):
        extra = [f"after {least} samples"] if least != "-" else []
        extra += [f"then quiet for {rest} samples"] if rest != "-" else []
        label = ", ".join([words if often == "at once" else f"{words}, {often}", *extra])
        lines.append(f"    {start} --> {target}: {label.replace('<=', '≤')}")
    head = ("from", "when", "how often", "least samples there", "to", "refractory samples")
    return mermaid("\n".join(lines)) + "\n\n" + table(head, regime_rows(profile))


def telemetry_table() -> str:
    """Every telemetry field, in the order of the frame."""
    rows = []
    for name, kind, words in re.findall(r'^    \("(\w+)", "(\w+)"\),  # (.+)$', source("telemetry.py"), re.MULTILINE):
        unit, colon, rest = words.partition(": ")
        known = colon and unit in UNITS
        rows.append((f"`{name}`", kind, unit if known else "-", rest if known else words))
    return table(("field", "coding", "unit", "meaning"), rows)


def tags_table(section: str) -> str:
    """The constants of one section of events.py, headed by `# section`."""
    text = source("events.py")
    start = re.search(rf"^# {section}.*\n", text, re.MULTILINE)
    if not start:
        raise DocsError(f"events.py has no section '{section}'")
    body = text[start.end() :].split("\n\n", 1)[0]
    rows = re.findall(r"^(\w+) = const\((\d+)\)(?:  # (.+))?$", body, re.MULTILINE)
    return table(("tag", "number", "carries"), [(f"`{name}`", number, words or "-") for name, number, words in rows])


def kinds_table() -> str:
    """The kinds of radio frames."""
    return table(("kind", "number"), [(name, str(i)) for i, name in enumerate(packet.KIND_NAMES) if name])


def config_table() -> str:
    """Every key of /config.json that has a default, with what it may be."""
    words = dict(re.findall(r'^    "(\w+)": .+,  # (.+)$', source("config.py"), re.MULTILINE))
    rows = []
    for key, value in config.DEFAULTS.items():
        allowed = "-"
        if key in config._LIMITS:
            allowed = "{} to {}".format(*config._LIMITS[key])
        elif key in config._CHOICES:
            allowed = ", ".join(config._CHOICES[key])
        rows.append((f"`{key}`", f"`{json.dumps(value)}`", allowed, words.get(key, "-")))
    return table(("key", "default", "allowed", "meaning"), rows)


def commands_table() -> str:
    """Every command of `qres`."""
    return table(("command", "what it does"), [(f"`qres {n}`", cli.COMMANDS[n][1]) for n in sorted(cli.COMMANDS)])


def boards_table() -> str:
    """Every board file."""
    rows = []
    for path in sorted((ROOT / "boards").glob("*.toml")):
        board = tomllib.loads(path.read_text(encoding="utf-8"))
        size = f"{board['flash_bytes'] >> 20} MB"
        rows.append((f"`{path.stem}`", board["title"], size, " ".join(board.get("notes", "").split())))
    return table(("board", "name", "flash", "notes"), rows)


def bench_results(name: str) -> str:
    """The tables of a run of `qres bench` that is kept in docs/results/."""
    found = record.load(DOCS / "results" / f"{name}.json")
    if not found["complete"] or found["source_changed"]:
        raise DocsError(f"docs/results/{name}.json is of an early end or of changing sources: run it again")
    parts = [", ".join(f"{key} {value}" for key, value in found["environment"].items()) + "."]
    for sheet in SHEETS[name](found):
        parts += [f"### {sheet.title}", table(sheet.head, sheet.rows)] if sheet.rows else []
        parts += [sheet.note] if sheet.rows and sheet.note else []
    return "\n\n".join(parts)


# Files of docs/results/: what makes tables of each, for the block results-NAME.
SHEETS: dict[str, Callable[[Any], list[Sheet]]] = {
    "codec": report.sheets,
    "weather": report.sheets,
    "numerics": numerics_sheets.sheets,
    "predict": predict_sheets.sheets,
    "collector": collector.sheets,
    "detect": detect_sheets.sheets,
    "ota": ota.sheets,
    "ram": ram_sheets.sheets,
    "boards": boards.sheets,
}
BLOCKS: dict[str, Callable[[], str]] = {
    "regime-default": lambda: regime_diagram("default"),
    "regime-seed": lambda: regime_diagram("seed"),
    "telemetry": telemetry_table,
    "events": lambda: tags_table("Events:"),
    "causes": lambda: tags_table("Causes of a BOOT"),
    "actions": lambda: tags_table("Actions"),
    "sleeps": lambda: tags_table("Kinds of SLEEP"),
    "targets": lambda: tags_table("Targets of SAVE"),
    "serial-types": lambda: tags_table("Types of serial frames"),
    "frame-kinds": kinds_table,
    "config": config_table,
    "commands": commands_table,
    "boards": boards_table,
    **{f"results-{name}": partial(bench_results, name) for name in SHEETS},
}


def render(text: str) -> str:
    """`text` with every marked part made anew; raises DocsError."""

    def fill(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise DocsError(f"no block is called '{match[2]}': tools/docs.py knows {', '.join(BLOCKS)}")
        return f"{match[1]}{BLOCKS[match[2]]()}\n{match[3]}"

    return BLOCK.sub(fill, text)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def main() -> int:
    """Write, or with --check compare, all pages."""
    stale = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (made := render(text)) != text:
            stale.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(made, encoding="utf-8")
    for path in stale:
        print(f"{path} {'is out of date' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
