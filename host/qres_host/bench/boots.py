"""How much CPU time a board's MicroPython machine takes from the start of boot.py to its first sample."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from qres_host.bench.sheet import Sheet, number
from qres_host.errors import TIMEOUT, QresError
from qres_host.virtual.playback import make_weather
from qres_host.virtual.specs import make_specs
from qres_host.virtual.swarm import Swarm

COLD, WAKE = "power-on", "wake from deep sleep"
PERIOD_MS = 600_000
SPEED = 3000.0
WAIT_S = 60.0
NOTE = (
    "CPU time of the unix machine of a scheduled board with the default configuration, in milliseconds: the scripts "
    "and the application as bytecode from LittleFS, up to the first reading of a sensor. What passes until the board "
    "has joined its swarm is computed, not waited for."
)
Row = dict[str, Any]


def rows(links: Path, count: int) -> list[Row]:
    """Boot a board so many times each way. Raises QresError when it does not boot."""
    weather = make_weather(1)
    specs = make_specs(weather, period_ms=PERIOD_MS)
    name = specs[1].name
    found: list[Row] = []
    links.mkdir(parents=True, exist_ok=True)  # it need not exist
    with Swarm(specs, speed=SPEED, links=links) as swarm:
        while sum(row["boot"] == COLD for row in found) < count:
            found.append({"boot": COLD, "ms": _next(swarm, name)})
            while sum(row["boot"] == WAKE for row in found) < min(count, len(found)):
                found.append({"boot": WAKE, "ms": _next(swarm, name)})
            swarm.kill(name)
    return found


def _next(swarm: Swarm, name: str) -> float:
    """The milliseconds of the next boot that senses."""
    first = _board(swarm, name)
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        now = _board(swarm, name)
        if now["first_samples"] > first["first_samples"]:
            return float(now["first_sample_us"]) / 1000
        time.sleep(0.002)
    raise QresError("a virtual board does not sense", "run the command again", TIMEOUT)


def _board(swarm: Swarm, name: str) -> dict[str, Any]:
    return next(dict(board) for board in swarm.status()["boards"] if board["name"] == name)


def medians(found: list[Row]) -> list[Row]:
    """The median of each way of booting."""
    ways = dict.fromkeys(row["boot"] for row in found)
    runs = {way: [row["ms"] for row in found if row["boot"] == way] for way in ways}
    return [{"boot": way, "ms": median(runs[way]), "most": max(runs[way]), "runs": len(runs[way])} for way in ways]


def sheet(found: list[Row]) -> Sheet:
    """What was measured."""
    table = [(r["boot"], str(r["runs"]), number(r["ms"], 1), number(r["most"], 1)) for r in medians(found)]
    return Sheet("boots", "From boot.py to the first sample", NOTE, ("boot", "runs", "median ms", "most"), table)
