"""Shows the results of any bench: tables on the terminal, one JSON object, a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qres_host.bench.record import rounded, save, warnings
from qres_host.bench.sheet import Sheet
from qres_host.errors import FAILURE, OK

WIDTH = 140  # of tables in files and pipes
WORDY = ("goals", "skipped")  # sheets whose columns are text
Command = Callable[..., Any]


def options(quick: str, file: str) -> Callable[[Command], Command]:
    """The options that every bench has: --quick, which means `quick`, --out with `file` as its name, and --json."""
    kept = f"Keep the results: a .json file, or a folder for {file}."

    def add(command: Command) -> Command:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object."),
            click.option("--out", type=click.Path(path_type=Path), help=kept),
            click.option("--quick", is_flag=True, help=quick),
        ):
            command = option(command)
        return command

    return add


@contextmanager
def measuring() -> Iterator[Callable[[str], None]]:
    """Give what shows the progress, on stderr; Ctrl-C ends the block early, and what was measured counts."""
    try:
        with Console(stderr=True).status("starting") as status:
            yield status.update
    except KeyboardInterrupt:
        print("ended early: what follows was measured before", file=sys.stderr)


def deliver(
    results: Any, sheets: Sequence[Sheet], failures: Sequence[str], out: Path | None, file: str, as_json: bool
) -> int:
    """Keep the results in `out` (a .json file, or a folder for `file`), print them; the exit code.

    `failures` are lines about what went wrong; with any of them the code is 1.
    """
    if out:
        save(results, out if out.suffix == ".json" else out / file)
    if as_json:
        click.echo(json.dumps(rounded(dict(results))))
    else:
        lines = [*warnings(results), *(f"failed: {line}" for line in failures)]
        show(sheets, lines, Console(width=None if sys.stdout.isatty() else WIDTH))
    return FAILURE if failures else OK


def show(sheets: Sequence[Sheet], lines: Sequence[str], console: Console) -> None:
    """Print every table that has rows, then the lines."""
    for sheet in sheets:
        if not sheet.rows:
            continue
        table = Table(
            title=sheet.title,
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            caption=sheet.note or None,
            caption_justify="left",
        )
        for i, name in enumerate(sheet.head):
            table.add_column(name, justify="left" if i == 0 or sheet.name in WORDY else "right")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    for line in lines:
        console.print(line)
