"""Makes the boards of a hub from their specifications."""

from __future__ import annotations

from pathlib import Path
from random import Random

from qres_host.virtual.board import Board, BoardSpec, Host
from qres_host.virtual.clock import BoardClock
from qres_host.virtual.line import Loop
from qres_host.virtual.vm import Nursery, VmBoard

DRIFT_PPM = 20


def make_board(
    index: int, spec: BoardSpec, host: Host, loop: Loop, nursery: Nursery | None, folder: Path, seed: int
) -> Board:
    """Return one board, switched off; machines need a `nursery` and a `folder` for their flash."""
    drift = spec.drift_ppm
    if drift is None:
        drift = Random(f"drift {seed} {index}").randint(-DRIFT_PPM, DRIFT_PPM)
    clock = BoardClock(host.now_us, drift)
    if spec.kind == "vm":
        assert nursery is not None
        made: Board = VmBoard(index, spec, host, clock, seed, loop, nursery, folder)
    else:
        from qres_host.virtual.inproc import InprocBoard

        made = InprocBoard(index, spec, host, clock, seed)
    made.battery.since_us = host.now_us
    return made
