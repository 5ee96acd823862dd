"""The command `qres virtual`: boards without hardware, one pty each."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from qres_host import hardware
from qres_host.errors import USAGE, QresError
from qres_host.virtual import playback
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.swarm import Swarm

MAX_BOARDS = 256
DEMO_KEY = "716265732d7669727475616c2d64656d6f2d6b65792d6e6f742d736563726574"  # public: virtual boards only


def positions(count: int, spacing_m: float = 8.0) -> list[tuple[float, float]]:
    """Return places on a sunflower's spiral: dense, no two alike, 64 of them within 64 m of the first."""
    turn = math.pi * (3 - math.sqrt(5))
    return [
        (spacing_m * math.sqrt(k) * math.cos(k * turn), spacing_m * math.sqrt(k) * math.sin(k * turn))
        for k in range(count)
    ]


def board_config(recording: playback.Playback, role: str, channels: Sequence[playback.Channel],
                 **changes: Any) -> dict[str, Any]:
    """Return /config.json of a virtual board that senses `recording` (nothing when it is the sentinel)."""
    sensing = role != "sentinel"
    config: dict[str, Any] = {
        "name": recording.name, "role": role, "swarm_key": DEMO_KEY, "period_ms": recording.period_ms,
        "channels": [channel.as_config() for channel in channels],
        "sensors": [{"driver": "adc", "pin": pin} for pin in range(len(channels))] if sensing else [],
    }
    settings = hardware.load("virtual").settings()
    if not sensing:
        settings = {key: value for key, value in settings.items() if not key.startswith("battery_")}
    config.update(settings)
    config.update(changes)
    return config


def make_specs(recordings: Sequence[playback.Playback], *, kind: str = "vm", blank: bool = False,
               **changes: Any) -> list[BoardSpec]:
    """Return a sentinel and a sensing board per recording, which must agree in period and channels.

    `blank`: boards with an empty flash. `changes` are entries of every board's configuration.
    """
    first = recordings[0]
    if any((r.period_ms, len(r.channels)) != (first.period_ms, len(first.channels)) for r in recordings):
        raise QresError("the recordings differ in period or number of channels", "make them alike", USAGE)
    places = positions(len(recordings) + 1)
    sentinel = playback.Playback("sentinel", first.channels, first.values, first.missing, first.t0_ms, first.period_ms)
    specs = []
    for index, recording in enumerate([sentinel, *recordings]):
        role = "scheduled" if index else "sentinel"
        specs.append(BoardSpec(
            recording.name, bytes((2, 0, 0x51, 0x52, index >> 8, index & 255)),
            None if blank else board_config(recording, role, first.channels, **changes), kind,
            recording if index else None, places[index], drift_ppm=None if index else 0,
            battery_mah=2000 if index else 0, files={} if blank else None,
        ))
    return specs


@click.group()
def virtual() -> None:
    """Boards without hardware: MicroPython machines with a radio, a clock and sensors of their own."""


@virtual.command()
@click.option("--boards", default=16, show_default=True, type=click.IntRange(1, MAX_BOARDS), help="How many; one is the sentinel.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0), help="Virtual per real time; 0: all it can.")
@click.option("--seed", default=1, show_default=True, help="Decides all chance: drift, loss, backoff.")
@click.option("--loss", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Share of radio frames lost.")
@click.option("--blank", is_flag=True, help="Empty flash: nothing runs, the REPL waits.")
@click.option("--data", "files", multiple=True, type=click.Path(path_type=Path), help="CSV or NPZ to play instead of the weather.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def start(boards: int, speed: float, seed: int, loss: float, blank: bool, files: tuple[Path, ...], as_json: bool) -> None:
    """Start virtual boards, print each one's port, run until Ctrl-C."""
    specs = _specs(boards, blank, files)
    swarm = Swarm(specs, seed=seed, speed=speed, loss=loss)
    try:
        swarm.start()
        _announce(swarm, as_json)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        swarm.stop()


def _specs(boards: int, blank: bool, files: Sequence[Path]) -> list[BoardSpec]:
    recordings = playback.load(files) if files else playback.make_weather(max(1, boards - 1))
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
