"""The command `qres virtual`: boards without hardware, one pty each."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from qres_host.errors import QresError
from qres_host.virtual import playback
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.specs import make_specs
from qres_host.virtual.swarm import Swarm

MAX_BOARDS = 256
WATCH_S = 0.5
Share = click.FloatRange(0, 1)


@click.group()
def virtual() -> None:
    """Boards without hardware: MicroPython machines with a radio, a clock and sensors of their own."""


@virtual.command()
@click.option(
    "--boards", default=16, show_default=True, type=click.IntRange(1, MAX_BOARDS), help="One is the sentinel."
)
@click.option(
    "--speed", default=1.0, show_default=True, type=click.FloatRange(0), help="Virtual per real time; 0: full."
)
@click.option("--seed", default=1, show_default=True, help="Decides all chance: drift, loss, backoff.")
@click.option("--loss", default=0.0, show_default=True, type=Share, help="Share of radio frames lost.")
@click.option("--blank", is_flag=True, help="Empty flash: nothing runs, the REPL waits.")
@click.option("--data", "files", multiple=True, type=click.Path(path_type=Path), help="CSV or NPZ instead of weather.")
@click.option("--period", type=click.FloatRange(0.1, 32767), help="Seconds between samples, not the recording's own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def start(
    boards: int,
    speed: float,
    seed: int,
    loss: float,
    blank: bool,
    files: tuple[Path, ...],
    period: float | None,
    as_json: bool,
) -> None:
    """Start virtual boards, print each one's port, run until Ctrl-C.

    With --period 2 the weather of an hour passes in two seconds and boards open their radio every ten, so what
    needs real time, such as `qres ota`, can be seen at work.
    """
    specs = _specs(boards, blank, files, period)
    swarm = Swarm(specs, seed=seed, speed=speed, loss=loss)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        swarm.start()
        _announce(swarm, as_json)
        while swarm.running():
            time.sleep(WATCH_S)
        raise QresError("the virtual boards have ended by themselves", "start them again")
    except KeyboardInterrupt:
        pass
    finally:
        swarm.stop()


def _specs(boards: int, blank: bool, files: Sequence[Path], period: float | None = None) -> list[BoardSpec]:
    recordings = playback.load(files) if files else playback.make_weather(max(1, boards - 1))
    if period is not None:
        recordings = [replace(each, period_ms=round(period * 1000)) for each in recordings]
    wanted = max(1, boards - 1)
    if len(recordings) < wanted and files:
        wanted = len(recordings)
    return make_specs(recordings[:wanted], blank=blank)[:boards]


def _announce(swarm: Swarm, as_json: bool) -> None:
    rows = [(b.name, b.mac.hex(":"), str(swarm.links / b.name), swarm.ports[b.name]) for b in swarm.boards]
    if as_json:
        fields = ("name", "mac", "link", "port")
        click.echo(json.dumps({"boards": [dict(zip(fields, row, strict=True)) for row in rows]}))
        return
    for name, mac, link, port in rows:
        click.echo(f"{name:12} {mac}  {port:12} {link}")
    click.echo("Ctrl-C ends them.")
