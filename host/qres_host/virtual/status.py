"""What a swarm of virtual boards says about itself, as plain data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qres_host.virtual.battery import STATE_NAMES
from qres_host.virtual.board import STATES, Board

if TYPE_CHECKING:
    from qres_host.virtual.hub import Hub


def swarm_status(hub: Hub) -> dict[str, Any]:
    """Return the hub's time (`now_ms` unix, `virtual_s`, `real_s` since the start), the achieved `speed`, the
    `digest`, the `radio` counters, and under `boards` what board_status says of each."""
    real_s = max(1e-9, time.monotonic() - hub.started_s)
    virtual_s = (hub.now_us - hub.start_us) / 1e6
    return {
        "now_ms": hub.now_us // 1000,
        "virtual_s": virtual_s,
        "real_s": real_s,
        "speed": virtual_s / real_s,
        "digest": hub.digest(),
        "radio": vars(hub.air.counters).copy(),
        "boards": [board_status(board, hub.now_us) for board in hub.boards],
    }


def board_status(board: Board, now_us: int) -> dict[str, Any]:
    """Return name, mac, kind, state, battery, ms in each power state, counters, and the serial line of a board."""
    times = list(board.battery.state_us)
    times[board.battery.state] += now_us - board.battery.since_us
    line = board.line
    return {
        "name": board.spec.name,
        "mac": board.spec.mac.hex(":"),
        "kind": board.spec.kind,
        "state": STATES[board.state],
        "battery_mv": board.battery.millivolts(),
        **{f"{name}_ms": spent // 1000 for name, spent in zip(STATE_NAMES, times, strict=True)},
        "tx_ms": board.battery.send_us // 1000,
        **board.counts,
        "first_sample_us": board.first_sample_us,
        "port": line.port if line else "",
        "link": str(line.link) if line else "",
        "plugged": bool(line and line.plugged),
        "serial_dropped_bytes": line.dropped_bytes if line else 0,
        "serial_corrupted_bytes": line.corrupted_bytes if line else 0,
    }
