"""`qres inspect`, `qres verify` and `qres cat`: what an archive holds, whether it is whole, and parts of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
from qres.codec import CodecError

from qres_host.archive import export
from qres_host.archive.archive import Archive
from qres_host.archive.block import moments
from qres_host.archive.chunk import BITS, CLOCK, NUMBER, TEXT, Chunk
from qres_host.archive.commands import opened, progress
from qres_host.archive.container import VERSION
from qres_host.archive.meta import BYTES, CSV, MODES
from qres_host.errors import OK, PARTIAL, USAGE, QresError

_SHOWN = 40  # columns of a table for people

INSPECT_EXAMPLE = """\b
Examples:
  qres inspect weather.qres
  qres inspect weather.qres --json | jq .columns
"""


def describe(found: Archive) -> dict[str, Any]:
    """Return what an archive says about itself, decoding only its first and last block."""
    about: dict[str, Any] = {
        "version": VERSION,
        "origin": found.origin,
        "mode": MODES[found.meta.mode],
        "rows": found.rows,
        "blocks": len(found.container.entries),
        "bytes": found.container.size,
        "complete": found.complete,
        "lost_bytes": found.lost,
    }
    if found.meta.origin == BYTES:
        return about
    first = next(found.chunks(rows=slice(0, 1 << 17)), None)
    chunks = first[1] if first else []
    limits = found.meta.tolerance.split()
    limits = limits if len(limits) == len(found.columns) else [found.meta.tolerance] * len(found.columns)
    about["columns"] = [
        {
            "name": c.name,
            "unit": c.unit,
            "type": c.kind or _type_of(chunk),
            "decimals": chunk.places,
            "limit": ""
            if i == found.meta.time
            else limits[i]
            if len(limits) == len(found.columns)
            else found.meta.tolerance,
        }
        for i, (c, chunk) in enumerate(zip(found.columns, chunks or [Chunk(NUMBER, 0)] * len(found.columns)))
    ]
    if found.meta.time >= 0 and chunks:
        about["time"] = _times(found, chunks[found.meta.time])
    return about


def _type_of(chunk: Chunk) -> str:
    number = "decimal" if chunk.places else "integer"
    return {NUMBER: "decimal" if chunk.narrow else number, CLOCK: "time", BITS: "float", TEXT: "text"}[chunk.form]


def _times(found: Archive, chunk: Chunk) -> dict[str, Any]:
    """Return name, first and last cell, period and order of the time column."""
    column = found.meta.time
    last = None
    for _, chunks in found.chunks(rows=slice(max(found.rows - 1, 0), None)):
        last = chunks[column]
    steps = np.diff(moments(chunk, found.meta.origin == CSV))
    steps = steps[np.isfinite(steps)]
    period = float(np.median(steps)) if len(steps) else None
    regular = bool(len(steps)) and bool((np.abs(steps - period) <= 1e-6 * max(abs(period or 0), 1)).all())
    return {
        "column": found.columns[column].name,
        "template": chunk.template.decode(errors="replace"),
        "first": _cell(chunk, 0, found.columns[column].kind),
        "last": _cell(last, last.rows - 1, found.columns[column].kind) if last else None,
        "period": period,
        "regular": regular,
        "ordered": found.ordered,
    }


def _cell(chunk: Chunk, row: int, kind: str) -> str:
    return (
        export.as_text(chunk.part(row, row + 1), kind).glyphs().texts()[0].decode(errors="replace")
        if chunk.rows
        else ""
    )


def text_lines(path: str, about: dict[str, Any]) -> Iterator[str]:
    """Yield a description as lines for people."""
    unit = "bytes" if about["origin"] == "bytes" else "rows"
    yield f"archive   {path}, format {about['version']}, from {about['origin']}, {about['mode']}"
    yield f"{unit:<9} {about['rows']:,} in {about['blocks']:,} block{'s' * (about['blocks'] != 1)}"
    yield f"size      {about['bytes']:,} bytes"
    if "time" in about:
        t = about["time"]
        yield f"time      {t['first']} to {t['last']}"
        if t["period"] is not None:
            period = f"every {t['period']:g}" + (" s" if t["template"] else "")
            yield f"          {period}{'' if t['regular'] else ', not always'}{'' if t['ordered'] else ', steps back'}"
    lost = f"no: {about['lost_bytes']:,} bytes at the end are lost"
    yield f"complete  {'yes' if about['complete'] else lost}"
    columns = about.get("columns", [])
    if not columns:
        return
    lossy = about["mode"] != "exact"
    rows = [("column", "type", "decimals", "limit" if lossy else "", "unit")]
    rows += [(c["name"], c["type"], str(c["decimals"] or ""), c["limit"], c["unit"]) for c in columns[:_SHOWN]]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    yield ""
    for name, kind, places, limit, of in rows:
        cells = [f"{name:<{widths[0]}}", f"{kind:<{widths[1]}}", f"{places:>{widths[2]}}"]
        cells += [f"{limit:>{widths[3]}}"] * lossy
        yield "  ".join([*cells, of]).rstrip()
    if len(columns) > _SHOWN:
        yield f"and {len(columns) - _SHOWN:,} more"


@click.command(epilog=INSPECT_EXAMPLE)
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(path: str, as_json: bool) -> int:
    """Show what the archive FILE holds, without reading all of it; - is standard input."""
    with opened(path) as found:
        about = describe(found)
    click.echo(json.dumps(about) if as_json else "\n".join(text_lines(path, about)))
    return OK if about["complete"] else PARTIAL


VERIFY_EXAMPLE = """\b
Examples:
  qres verify weather.qres && echo whole
"""


@click.command(epilog=VERIFY_EXAMPLE)
@click.argument("path", metavar="FILE")
def verify(path: str) -> int:
    """Decode every block of the archive FILE and check every sum.

    The exit code is 0 when all is well, 1 for damage, 4 when the end was cut off.
    """
    done = 0
    with opened(path) as found, progress(path, found.rows) as told:
        unit = "bytes" if found.meta.origin == BYTES else "rows"
        try:
            for count in found.verify():
                done += count
                told(done)
        except CodecError as error:
            remedy = f"the {unit} before {done:,} are whole; keep the original"
            raise QresError(f"{path}: {error}", remedy) from error
        whole, lost, blocks = found.complete, found.lost, len(found.container.entries)
    if whole:
        click.echo(f"whole: {done:,} {unit} in {blocks:,} block{'s' * (blocks != 1)}")
        return OK
    click.echo(f"cut: {done:,} {unit} are whole, {lost:,} bytes at the end are lost")
    return PARTIAL


CAT_EXAMPLE = """\b
Examples:
  qres cat weather.qres --start 2024-05-01 --end 2024-05-02T06:00
  qres cat weather.qres --columns temp,humidity --rows 0:100
  qres cat weather.qres --json | jq .temp
"""


@click.command(epilog=CAT_EXAMPLE)
@click.argument("path", metavar="FILE")
@click.option("--start", help="First time: a number as in the time column, or ISO 8601.")
@click.option("--end", help="Time after the last.")
@click.option("--rows", metavar="A:B", help="Row numbers from A up to, not including, B.")
@click.option("--columns", metavar="NAME,...", help="Only these columns.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row.")
def cat(path: str, start: str | None, end: str | None, rows: str | None, columns: str | None, as_json: bool) -> int:
    """Print rows of the archive FILE as csv; only the blocks that hold them are read."""
    with opened(path) as found:
        if found.meta.origin == BYTES:
            if start or end or rows or columns or as_json:
                raise QresError(f"{path} holds bytes, not a table", "use `qres decompress`", USAGE)
            for piece in found.raw():
                sys.stdout.buffer.write(piece)
            return OK
        picked = found.pick(columns.split(",") if columns is not None else None)
        cut = {"start": start, "end": end, "rows": _slice(rows)}
        if as_json:
            for line in export.json_rows(found, picked, lambda _: None, **cut):
                click.echo(line)
        else:
            for text in export.csv_pieces(found, lambda _: None, picked, **cut):
                sys.stdout.buffer.write(text)
        sys.stdout.flush()
        complete, lost = found.complete, found.lost
    if not complete:
        print(f"qres: {path} was cut: {lost:,} bytes at the end are lost", file=sys.stderr)
    return OK if complete else PARTIAL


def _slice(rows: str | None) -> slice | None:
    if rows is None:
        return None
    first, colon, stop = rows.partition(":")
    try:
        return (
            slice(int(first) if first else None, int(stop) if stop else None)
            if colon
            else slice(int(first), int(first) + 1)
        )
    except ValueError:
        raise QresError(f"{rows} names no rows", "write --rows 100:200", USAGE) from None
