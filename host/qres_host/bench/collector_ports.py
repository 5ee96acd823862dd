"""Boards that only talk: `python -m qres_host.bench.collector_ports PORTS RATE SECONDS` writes telemetry into ptys.

It prints the names of the ports as one JSON line, waits for a line, writes RATE frames a second in all, and prints
how many it wrote. A process of its own, so that the time of the collector is the collector's alone.
"""

from __future__ import annotations

import json
import os
import pty
import sys
import time
import tty

from qres import packet, telemetry

from qres_host.wire import RADIO, encode_frame

KEY = bytes(range(32))
NODES = 64
TICK_S = 0.01
_START_MS = 1_764_000_000_000


def telemetry_frame(node: int, counter: int) -> bytes:
    """Return what a gateway would send to its host for the telemetry of a board, without the serial frame around."""
    mac = bytes((2, 0, 0, 0, 0, node))
    values: dict[str, int | bytes] = {name: 0 if kind == "uint" else mac[:4] for name, kind in telemetry.FIELDS}
    values |= {"mac": mac, "battery_permille": 900, "battery_mv": 3900, "spent_mj": 90_000 + counter, "epoch": 7}
    values |= {"uptime_s": 5000 + counter, "awake_ms": 60_000 + 40 * counter, "radio_ms": 9000, "next_wake_s": 14_400}
    values |= {"samples": 300 + counter, "sent": counter, "heard": 2 * counter, "entropy": counter % 60_000}
    payload = telemetry.pack(values)
    frame = packet.seal(KEY, packet.TELEMETRY, packet.node_id(mac), 1, counter, payload)
    return (_START_MS + counter * 100).to_bytes(8, "little") + b"\xc4" + frame


def make(ports: int, count: int) -> list[list[bytes]]:
    """Return the serial frames of each port, `count` in all; boards take turns, each port has its own."""
    frames: list[list[bytes]] = [[] for _ in range(ports)]
    for number in range(count):
        port = number % ports
        node = port if ports == NODES else number % NODES
        frames[port].append(encode_frame(RADIO, len(frames[port]), telemetry_frame(node, number // NODES + 1)))
    return frames


def main() -> None:
    """Run as the module's docstring says."""
    ports, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    frames = make(ports, int(rate * seconds))
    pairs = [pty.openpty() for _ in range(ports)]
    for _, slave in pairs:
        tty.setraw(slave)
    print(json.dumps([os.ttyname(slave) for _, slave in pairs]), flush=True)
    sys.stdin.readline()
    began, done = time.monotonic(), [0] * ports
    while any(done[i] < len(frames[i]) for i in range(ports)):
        due = int((time.monotonic() - began) * rate / ports)
        for i, (master, _) in enumerate(pairs):
            data = b"".join(frames[i][done[i] : due])
            while data:
                data = data[os.write(master, data) :]
            done[i] = max(done[i], min(due, len(frames[i])))
        time.sleep(TICK_S)
    print(json.dumps({"frames": sum(done), "seconds": time.monotonic() - began}), flush=True)
    sys.stdin.readline()  # the ports stay until the other end has read them


if __name__ == "__main__":
    main()
