"""`qres demo`: a whole swarm on this machine, from sensors to dashboard, and a summary of what it did.

Every board is a MicroPython machine that runs the files that get flashed. One of them, the sentinel, has a cable; all
that is shown came over the simulated radio to it, through its serial port, and out of the decoder, and is compared
with what the sensors really read.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from qres import config
from qres.predict import NAMES

from qres_host.collector import Collector
from qres_host.devices import Uri
from qres_host.errors import PARTIAL, USAGE, QresError
from qres_host.view import View
from qres_host.virtual import playback
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.cli import MAX_BOARDS
from qres_host.virtual.specs import DEMO_KEY, make_specs
from qres_host.virtual.swarm import Swarm
from qres_host.web.server import open_browser, start_server

WEATHER_BOARDS = 16
PREDICTORS = (*["linear"] * 6, "taaf", "lstm")  # of the sensing boards, in turn
ROWS_PER_SECOND = 6  # of the recording: a day of hourly weather in four seconds
_TICK_S = 0.2

EXAMPLE = """\b
Examples:
  qres demo                            sixteen boards, a year of weather, until Ctrl-C
  qres demo --loss 0.2 --duration 60   a fifth of the radio frames lost; summary after a minute
  qres demo --data plant.csv           a board per column of your own file
"""


def make_boards(boards: int | None, files: Sequence[Path], kind: str, predictor: str | None = None) -> list[BoardSpec]:
    """Return the sentinel and its sensing boards: `files`, a board per column or file, else the weather.

    `boards`: how many at most; None takes all that the files have, 16 for the weather. `predictor`: of all boards; None
    makes one of eight a taaf and another an lstm. QresError when a board cannot have it.
    """
    most = (boards or (MAX_BOARDS if files else WEATHER_BOARDS)) - 1
    recordings = playback.load(files)[:most] if files else playback.make_weather(most)
    specs = make_specs(recordings, kind=kind, predictors=[predictor] if predictor else PREDICTORS)
    for spec in specs:
        try:
            config.load(dict(spec.config or {}))
        except config.ConfigError as error:
            raise QresError(f"{spec.name}: {error}", "choose another --predictor", USAGE) from error
    return specs


def register(view: View, specs: Sequence[BoardSpec]) -> None:
    """Tell the view who the boards are and what their sensors really read."""
    for spec in specs:
        recording = spec.playback
        channels = [channel.as_config() for channel in recording.channels] if recording else []
        role = str((spec.config or {}).get("role", ""))
        view.register(spec.mac.hex(":"), spec.name, role, channels, recording.row if recording else None)


def summarize(view: View, status: dict[str, Any], specs: Sequence[BoardSpec]) -> dict[str, Any]:
    """Return what the demo shows at its end; every figure was counted in this run."""
    totals, fleet, models = view.totals(), view.fleet(), view.models()
    sensing = {spec.name for spec in specs if spec.playback is not None}
    rows = [board for board in status["boards"] if board["name"] in sensing]
    asleep = sum(row["asleep_ms"] + row["light_ms"] for row in rows)
    lived = asleep + sum(row["awake_ms"] + row["radio_ms"] for row in rows)
    rounds = [entry["agree_permille"] for entry in models["history"]]
    predictors = Counter(str((spec.config or {})["predictor"]) for spec in specs if spec.playback is not None)
    return {
        "boards": len(specs),
        "predictors": dict(sorted(predictors.items())),
        "real_s": round(status["real_s"], 1),
        "simulated_days": round(status["virtual_s"] / 86_400, 2),
        "samples": totals["samples"],
        "samples_verified": totals["verified"],
        "samples_mismatched": totals["mismatched"],
        "streams": totals["streams"],
        "streams_exact": totals["streams_exact"],
        "packets": totals["packets"],
        "packets_from_checkpoint": totals["from_checkpoint"],
        "packets_from_model": totals["from_model"],
        "packets_from_nothing": totals["from_nothing"],
        "bytes_on_the_air": totals["bytes_air"],
        "bytes_with_samples": totals["bytes_data"],
        "bytes_raw_int32": totals["bytes_raw"],
        "bytes_send_everything": totals["bytes_every"],
        "times_smaller_than_raw": ratio(totals["bytes_raw"], totals["bytes_air"]),
        "times_smaller_than_send_everything": ratio(totals["bytes_every"], totals["bytes_air"]),
        "asleep_percent": round(100 * asleep / lived, 3) if lived else 0.0,
        "epochs": len(rounds),
        "epochs_all_agreed": sum(share == 1000 for share in rounds),
        "mean_agreement_percent": round(sum(rounds) / len(rounds) / 10, 1) if rounds else 0.0,
        "agreement_now_permille": fleet["swarm"]["agreement_permille"],
        "frames_lost": totals["frames_lost"],
        "samples_lost": totals["samples_lost"],
        "rejected": totals["rejected"],
        "serial_bad": totals["serial_bad"],
        "reboots": sum(row["boots"] for row in status["boards"]),
        "crashes": sum(row["crashes"] for row in status["boards"]),
        "digest": status["digest"],
    }


def ratio(whole: int, part: int) -> float:
    """Return whole / part to two digits; 0 when nothing was sent."""
    return round(whole / part, 2) if part else 0.0


def as_text(summary: dict[str, Any]) -> str:
    """Return the summary for people."""
    s = summary
    wrong = s["samples_mismatched"]
    verdict = f"{wrong:,} DIFFER from the input" if wrong else "all equal to the input"
    span = f"{s['simulated_days']:,} simulated days in {s['real_s']:,} s"
    air = f"{s['bytes_on_the_air']:,} bytes in {s['packets']:,} frames"
    share = f"{s['epochs_all_agreed']} of {s['epochs']} epochs agreed by every board that spoke"
    every = s["bytes_send_everything"]
    first, second, third = (s[f"packets_from_{start}"] for start in ("checkpoint", "model", "nothing"))
    started = f"with samples {first:,} from checkpoints, {second:,} from the model, {third:,} from nothing"
    rows = (
        ("time", f"{span}, {s['boards']} boards, {s['reboots']:,} boots"),
        ("predict", ", ".join(f"{count} {name}" for name, count in s["predictors"].items())),
        ("samples", f"{s['samples']:,} received, {s['samples_verified']:,} checked: {verdict}"),
        ("packets", started),
        ("streams", f"{s['streams_exact']} of {s['streams']} verified exact"),
        ("on the air", f"{air}, of them {s['bytes_with_samples']:,} for samples"),
        ("", f"{s['times_smaller_than_raw']}x smaller than raw int32 ({s['bytes_raw_int32']:,} bytes)"),
        ("", f"{s['times_smaller_than_send_everything']}x smaller than a frame per sample ({every:,} bytes)"),
        ("asleep", f"{s['asleep_percent']} % of the time (all sensing boards)"),
        ("model", f"{share}, {s['mean_agreement_percent']} % on average"),
        ("lost", f"{s['frames_lost']:,} frames, {s['samples_lost']:,} samples; {s['rejected']:,} frames refused"),
    )
    return "\n".join(f"  {name:11}{text}" for name, text in rows)


def _progress(view: View, started_s: float) -> str:
    totals = view.totals()
    known = sum(board["last_seen_ms"] is not None for board in view.fleet()["boards"])
    return (
        f"{time.monotonic() - started_s:5.0f} s  {known} boards heard  {totals['samples']:,} samples  "
        f"{totals['packets']:,} packets  {totals['mismatched']} wrong  {totals['frames_lost']} frames lost"
    )


def _watch(view: View, collector: Collector, duration_s: float, talk: bool) -> None:
    """Wait for the end, Ctrl-C or an error of the collector; a line of progress where a person looks."""
    started_s, shown = time.monotonic(), 0
    try:
        while not duration_s or time.monotonic() - started_s < duration_s:
            time.sleep(_TICK_S)
            if collector.error is not None:
                raise collector.error
            if talk:  # never as wide as the terminal: a line that wraps is not overwritten
                text = _progress(view, started_s)[: shutil.get_terminal_size().columns - 3]
                click.echo("\r" + text.ljust(shown), nl=False, err=True)
                shown = len(text)
    finally:
        if talk:
            click.echo("\r" + " " * (shown + 2) + "\r", nl=False, err=True)  # and the ^C behind it


@click.command(epilog=EXAMPLE)
@click.option(
    "--boards", type=click.IntRange(2, MAX_BOARDS), help="One is the sentinel. Default: 16, or all that --data has."
)
@click.option(
    "--speed", type=click.FloatRange(0), help="Virtual per real time; 0: all it can. Default: six samples a second."
)
@click.option("--duration", default=0.0, type=click.FloatRange(0), help="End after so many seconds; 0: on Ctrl-C.")
@click.option("--loss", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Share of radio frames lost.")
@click.option("--seed", default=1, show_default=True, help="Decides all chance.")
@click.option(
    "--data",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="CSV or NPZ to play: a board per column, or per file.",
)
@click.option("--predictor", type=click.Choice(NAMES), help="Of all boards. Default: linear, and a few taaf and lstm.")
@click.option("--port", type=click.IntRange(0, 65535), help="Dashboard port; by default 8420 or the next free one.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep capture and database in this folder.")
@click.option(
    "--kind",
    type=click.Choice(["vm", "inproc"]),
    default="vm",
    show_default=True,
    help="MicroPython machines, or nodes inside one process.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def demo(
    boards: int | None,
    speed: float | None,
    duration: float,
    loss: float,
    seed: int,
    files: tuple[Path, ...],
    predictor: str | None,
    port: int | None,
    keep: Path | None,
    kind: str,
    no_browser: bool,
    as_json: bool,
) -> None:
    """Run a swarm of virtual boards and show it live; no hardware needed.

    Exit code 4 when a reconstructed value differs from what its sensor read.
    """
    specs = make_boards(boards, files, kind, predictor)
    period_ms = next(spec.playback.period_ms for spec in specs if spec.playback is not None)
    pace = ROWS_PER_SECOND * period_ms / 1000 if speed is None else speed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qres-demo-")))
        _make_folder(folder)
        summary = _run(specs, pace, folder, duration, loss, seed, port, no_browser, as_json)
    click.echo(json.dumps(summary) if as_json else as_text(summary))
    if summary["samples_mismatched"]:
        sys.exit(PARTIAL)


def _make_folder(folder: Path) -> None:
    """Make the folder of a run. Raises QresError when it cannot be, or holds another run: swarms must not mix."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "capture").exists() or (folder / "qres.db").exists():
            raise QresError(f"{folder} holds a run already", "name a new folder with --keep", USAGE)
    except OSError as error:
        raise QresError(f"cannot use the folder {folder}: {error.strerror}", "name another with --keep") from error


def _run(
    specs: Sequence[BoardSpec],
    pace: float,
    folder: Path,
    duration: float,
    loss: float,
    seed: int,
    port: int | None,
    no_browser: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Everything between the first board's start and the last one's end; returns the summary."""
    view = View()
    register(view, specs)
    key = bytes.fromhex(DEMO_KEY)
    swarm = Swarm(specs, seed=seed, speed=pace, loss=loss, links=folder / "ports", acknowledge=key)
    (folder / "capture").mkdir()
    # The capture's key lies beside it: `qres replay` needs no more than the folder.
    (folder / "capture" / "config.json").write_text(json.dumps(specs[0].config))
    gateway = Uri("serial", str(folder / "ports" / specs[0].name))
    note = f"demo: {len(specs)} virtual boards, recorded data"
    with start_server(view, port, info={"note": note}) as server:
        click.echo(f"dashboard on {server.url}  (Ctrl-C ends the demo)", err=as_json)
        with contextlib.ExitStack() as stack:
            stack.enter_context(swarm)
            # Acknowledged in virtual time instead: the same seed gives the same run.
            collector = Collector([gateway], key, view, folder / "capture", folder / "qres.db", acknowledge=False)
            stack.enter_context(collector)
            if not no_browser:
                threading.Thread(target=open_browser, args=(server.url,), daemon=True).start()
            talk = sys.stderr.isatty() and not as_json
            with contextlib.suppress(KeyboardInterrupt):
                _watch(view, collector, duration, talk)
            status = swarm.stop()
        return summarize(view, status, specs)
