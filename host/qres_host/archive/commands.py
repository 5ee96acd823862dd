"""`qres compress` and `qres decompress`: files and pipes into archives and back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import click
from qres.codec import CodecError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from qres_host import archive, native
from qres_host.archive import export, inputs, writer
from qres_host.archive.archive import Archive
from qres_host.archive.inputs import Input
from qres_host.archive.loss import LIMIT_MAX
from qres_host.archive.meta import BYTES, MODES, NotThisFormat
from qres_host.errors import INTERRUPTED, OK, PARTIAL, USAGE, QresError

Told = Callable[[int], None]
_LONG = 200_000  # bytes or rows that take a while without compiled loops


@contextlib.contextmanager
def one_line(path: str) -> Iterator[None]:
    """Turn what goes wrong with the archive at `path` into one line with a remedy."""
    try:
        yield
    except CodecError as error:
        raise QresError(f"{path}: {error}", "see `qres verify`, and keep the original") from error
    except BlockingIOError as error:
        raise QresError(f"{path} is being appended to", "wait until the other process is done") from error
    except ValueError as error:
        raise QresError(f"{path}: {error}", "see `qres inspect`", USAGE) from error
    except KeyboardInterrupt:
        raise QresError("interrupted", "nothing was changed", INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        remedy = "make room, or write elsewhere" if error.errno == errno.ENOSPC else "check its path and permissions"
        raise QresError(f"{where}{error.strerror or error}", remedy) from error


@contextlib.contextmanager
def opened(path: str) -> Iterator[Archive]:
    """Open the archive at `path`, `-` for standard input; errors as `one_line` tells them."""
    with one_line(path), inputs.taken(path) as given, archive.open(given.path) as found:
        yield found


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Told]:
    """Show a bar on standard error when that is a terminal; give a function that is told how far things are."""
    if total > _LONG and not native.COMPILED:
        print("qres: Numba is not installed: the same result takes longer", file=sys.stderr)
    console = Console(stderr=True)
    if not console.is_terminal or not total:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda at: bar.update(task, completed=at)


@contextlib.contextmanager
def output(path: str, force: bool) -> Iterator[BinaryIO]:
    """Give a file that becomes `path` when all went well; `-` is standard output. Raises QresError."""
    if path == "-":
        if sys.stdout.isatty():
            raise QresError("bytes do not belong on a terminal", "name a file, or pipe into one", USAGE)
        with tempfile.TemporaryFile(prefix="qres-") as file:
            yield file
            file.seek(0)
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    there = Path(path).resolve()
    if not there.parent.is_dir():
        raise QresError(f"{there.parent} is no folder", "make it first, or name another file", USAGE)
    if there.exists() and not there.is_file():
        raise QresError(f"{path} is no plain file", "name one, or write to - and redirect that", USAGE)
    if there.exists() and not force:
        raise QresError(f"{path} exists already", "name another file, or overwrite it with --force", USAGE)
    with writer.replacing(there) as file:
        yield file


COMPRESS_EXAMPLE = """\b
Examples:
  qres compress weather.csv weather.qres
  qres compress --append today.csv weather.qres
  qres compress --mode bounded --eps 0.05 room.npz room.qres
  cat log.csv | qres compress --level fast - log.qres
"""


@click.command(epilog=COMPRESS_EXAMPLE)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--level", type=click.Choice(["fast", "best"]), default="best", show_default=True, help="Speed or size.")
@click.option("--mode", type=click.Choice(MODES), default="exact", show_default=True, help="What may be lost.")
@click.option("--eps", metavar="E", help="bounded: the largest error, in units of the columns.")
@click.option("--eps-percent", metavar="P", help="bounded: the largest error, in percent of each column's range.")
@click.option("--threshold", metavar="T", help="silent: what the receiver may get wrong, in units of the columns.")
@click.option("--as", "form", type=click.Choice(inputs.FORMATS), help="Read IN as this, whatever its name says.")
@click.option("--append", is_flag=True, help="Add to OUT, which is begun when it is not there.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compress(
    source: str,
    target: str,
    level: str,
    mode: str,
    eps: str | None,
    eps_percent: str | None,
    threshold: str | None,
    form: str | None,
    append: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Compress IN into the archive OUT; - is a pipe.

    IN is a table (csv, tsv, npy, npz, parquet), sound (wav) or anything else. A table keeps its text byte for byte
    and can be read in parts; nothing grows by more than 64 bytes.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: nothing half written stays
    limit = _limit(mode, eps, eps_percent, threshold)
    started_s = time.monotonic()
    with one_line(target), inputs.taken(source) as given, progress(given.name, given.size) as told:
        if append and target == "-":
            raise QresError("a pipe cannot be appended to", "name an archive", USAGE)
        if append and os.path.exists(target):
            if mode != "exact":
                raise QresError("an archive keeps the mode that it was begun with", "leave --mode away", USAGE)
            before = os.path.getsize(target)
            _append(given, target, level, form, told)
            size, stored = os.path.getsize(target) - before, "appended"
        else:
            with output(target, force) as file:
                stored = _create(given, file, level, form, (mode, limit), told, growing=append)
                size = file.seek(0, os.SEEK_END)
    _report(given, target, size, stored, time.monotonic() - started_s, as_json)
    return OK


def _limit(mode: str, eps: str | None, eps_percent: str | None, threshold: str | None) -> str:
    """Return the limit of a mode as text, `%` behind a percentage. Raises QresError for options that do not fit."""
    wanted = {"exact": (), "bounded": (eps, eps_percent and f"{eps_percent}%"), "silent": (threshold,)}[mode]
    limits = [limit for limit in wanted if limit]
    given = sum(option is not None for option in (eps, eps_percent, threshold))
    if given != len(limits) or len(limits) != (mode != "exact"):
        needs = {"exact": "no limit", "bounded": "either --eps or --eps-percent", "silent": "--threshold"}[mode]
        raise QresError(f"mode {mode} takes {needs}", "see `qres compress --help`", USAGE)
    for limit in limits:
        try:
            known = 0 <= Fraction(limit.removesuffix("%")) <= LIMIT_MAX
        except (ValueError, ZeroDivisionError):
            known = False
        if not known:
            raise QresError(f"{limit} is no limit", "give a number from 0 to 1e308", USAGE)
    return limits[0] if limits else ""


def _create(
    given: Input, file: BinaryIO, level: str, form: str | None, loss: tuple[str, str], told: Told, growing: bool
) -> str:
    """Write a new archive; return what it was stored as."""
    table = inputs.table(given, form, level, told)
    if table is None and loss[0] != "exact":
        raise QresError(f"{given.name} is no table", "bytes are always exact: leave --mode away", USAGE)
    if table is not None:
        with _promise_kept(given, form):
            writer.write_table(file, table, level, archive.limits_for(table, *loss))
        # A table of a few cells may be smaller than what is to be said about it.
        if growing or loss[0] != "exact" or file.tell() <= given.size + writer.EXPANSION_MAX:
            return archive.meta.ORIGINS[table.meta.origin]
        file.seek(0)
        file.truncate()
    writer.write_bytes(file, given.opener(told), given.size, level)
    return "bytes"


def _append(given: Input, target: str, level: str, form: str | None, told: Told) -> None:
    with archive.open(target) as found:
        holds_bytes, complete, rows = found.meta.origin == BYTES, found.complete, found.rows
    # Bytes that nobody called a table go on as bytes, however they look.
    as_bytes = holds_bytes and not inputs.promised(given, form)[1]
    table = None if as_bytes else inputs.table(given, form, level, told)
    if table is None:
        torn = writer.append_bytes(Path(target), given.opener(told), level)
    else:
        with _promise_kept(given, form):
            torn = writer.append_table(Path(target), table, level)
    if not complete:
        unit = "bytes" if holds_bytes else "rows"
        done = f"appended behind its {rows:,} whole {unit}, {torn:,} bytes of a torn record dropped"
        print(f"qres: {target} had been cut: {done}", file=sys.stderr)


@contextlib.contextmanager
def _promise_kept(given: Input, form: str | None) -> Iterator[None]:
    try:
        yield
    except NotThisFormat as error:
        raise inputs.broken(given, inputs.promised(given, form)[0], error) from error


def _report(given: Input, target: str, size: int, stored: str, took_s: float, as_json: bool) -> None:
    """Say what came of it: on standard output, or on standard error when that is where the archive went."""
    summary: dict[str, Any] = {
        "input": given.name,
        "output": target,
        "stored_as": stored,
        "input_bytes": given.size,
        "output_bytes": size,
        "seconds": round(took_s, 3),
    }
    if as_json:
        text = json.dumps(summary)
    else:
        times = f", {given.size / size:.2f}x smaller" if given.size > size else ""
        text = f"{given.name}: {given.size:,} -> {size:,} bytes as {stored}{times}, {took_s:.1f} s"
    click.echo(text, err=target == "-")


DECOMPRESS_EXAMPLE = """\b
Examples:
  qres decompress weather.qres weather.csv
  qres decompress --format npz weather.qres weather.npz
  qres decompress weather.qres - | head
"""


@click.command(epilog=DECOMPRESS_EXAMPLE)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--format", "form", type=click.Choice(export.FORMATS), help="Write this; default: what it came from.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def decompress(source: str, target: str, form: str | None, force: bool, as_json: bool) -> int:
    """Decompress the archive IN into OUT; - is a pipe.

    What was lost with the end of a cut file is told, and the exit code is 4.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened(source) as found, output(target, force) as file:
        name = form or export.native(found)
        with progress(source, found.rows) as told:
            done = 0

            def tell(count: int) -> None:
                nonlocal done
                done += count
                told(done)

            export.write(found, name, file, tell)
        size = file.seek(0, os.SEEK_END)
        rows, complete, lost = found.rows, found.complete, found.lost
    unit = "bytes" if found.meta.origin == BYTES else "rows"
    if as_json:
        summary = {"output": target, "format": name, unit: rows, "output_bytes": size, "complete": complete}
        click.echo(json.dumps(summary), err=target == "-")
    elif target != "-":
        click.echo(f"{target}: {rows:,} {unit}, {size:,} bytes of {name}")
    if not complete:
        print(
            f"qres: {source} was cut: these are the {rows:,} {unit} that are whole, {lost:,} bytes are lost",
            file=sys.stderr,
        )
    return OK if complete else PARTIAL
