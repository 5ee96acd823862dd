"""`qres bench`: experiments beside their plain alternatives, each from one command."""

from __future__ import annotations

from pathlib import Path

import click

from qres_host.bench import codec, report, streams
from qres_host.bench.chip import chip_rows
from qres_host.bench.present import deliver, measuring, options
from qres_host.bench.results import Results
from qres_host.cli import LazyGroup
from qres_host.errors import USAGE, QresError

FILE = "codec.json"
# As the table of qres_host.cli.
COMMANDS: dict[str, tuple[str, str]] = {
    "codec": ("qres_host.bench.cli:codec_command", "Size, speed and memory of the codec: files, packets, bounds."),
    "predict": ("qres_host.bench.predict:command", "One step ahead: the predictors beside floats and libraries."),
    "boards": ("qres_host.bench.boards:command", "Boards flashed at once; an image beside file by file; boots."),
    "collector": ("qres_host.bench.collector:command", "CPU time of listening to many boards, and what is lost."),
    "detect": ("qres_host.bench.detect:command", "Alarms and regimes beside other detectors: NAB, SKAB, storms."),
    "ota": ("qres_host.bench.ota:command", "Updates over the air: frames and time on a lossy radio."),
    "numerics": ("qres_host.bench.numerics:command", "Error and cost of the whole-number functions and statistics."),
}
EXAMPLE = """\b
Examples:
  qres bench codec                          the weather that the project carries
  qres bench codec --data recordings/       every .npz, .npy and .csv of a folder
  qres bench codec --quick --json           a few seconds, for programs
"""


@click.group(cls=LazyGroup, table=COMMANDS)
def bench() -> None:
    """Measure beside peers: same data, same run, every round trip verified."""


@click.command(name="codec", epilog=EXAMPLE)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with recordings; else the carried weather.")
@click.option("--streams", "names", multiple=True, metavar="NAME", help="Only these streams; may be repeated.")
@click.option("--part", "parts", multiple=True, type=click.Choice(codec.PARTS), help="Only these parts.")
@click.option("--chip", type=click.Path(path_type=Path), help="JSON rows of RV32 instructions a sample, shown too.")
@options("Two short streams, without the slowest peers: a few seconds.", FILE)
def codec_command(
    data: Path | None,
    names: tuple[str, ...],
    parts: tuple[str, ...],
    quick: bool,
    out: Path | None,
    chip: Path | None,
    as_json: bool,
) -> int:
    """Size, speed and memory of the codec beside its peers: files, packets, bounded errors.

    Ctrl-C ends the run and shows what was measured so far. The exit code is 1 when a round trip or a coder failed.
    """
    chosen = _choose(streams.load(data) if data else streams.carried(), names)
    plan = codec.quick(chosen) if quick else codec.Plan(chosen)
    if parts:
        plan = plan._replace(parts=tuple(part for part in codec.PARTS if part in parts))
    results = codec.start()
    results["rv32"] = chip_rows(chip) if chip else []
    with measuring() as say:
        codec.run(plan, results, say)
    return deliver(results, report.sheets(results), failures(results), out, FILE, as_json)


def _choose(found: list[streams.Stream], names: tuple[str, ...]) -> list[streams.Stream]:
    known = {stream.name: stream for stream in found}
    for name in names:
        if name not in known:
            raise QresError(f"no stream {name}", "choose from " + ", ".join(known), USAGE)
    return [known[name] for name in names] or found


def failures(results: Results) -> list[str]:
    """Every coder and error that ended a row, as a line that names the streams."""
    rows = [*results["batch"], *results["packets"], *results["bounded"], *results["seed"]]
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if "error" in row:
            found.setdefault((row["coder"], row["error"]), []).append(row["stream"])
    for call in results["calls"]:
        if "error" in call:
            found.setdefault((f"calls at {call['level']}", call["error"]), [])
    lines = []
    for (coder, error), streams_of in found.items():
        where = f" on {', '.join(dict.fromkeys(streams_of))}" if streams_of else ""
        lines.append(f"{coder}{where}: {error}")
    return lines
