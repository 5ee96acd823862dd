"""`qres monitor --raw`: one port as a terminal sees it, byte for byte, opened again whenever it comes back."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from qres_host.capture import CaptureWriter
from qres_host.devices import Device
from qres_host.errors import OK
from qres_host.keyboard import keys

LEAVE = b"\x1d"  # Ctrl-]
_POLL_S = 0.05


def run(device: Device, duration_s: float | None, capture: Path | None) -> int:
    """Copy the port to standard output, and what is typed to the port, until Ctrl-] or Ctrl-C or the time is over.

    Raises QresError when the port does not open at first.
    """
    until_s = time.monotonic() + duration_s if duration_s is not None else float("inf")
    with ExitStack() as stack:
        device.open()
        stack.callback(device.close)
        writer = CaptureWriter(capture) if capture is not None else None
        if writer is not None:
            stack.callback(writer.close)
        typed = -1
        if sys.stdin.isatty() and sys.stdout.isatty():
            _say("Ctrl-] leaves")
            typed = stack.enter_context(keys(raw=True))
        with suppress(KeyboardInterrupt):
            _copy(device, typed, until_s, writer)
    return OK


def _copy(device: Device, typed: int, until_s: float, writer: CaptureWriter | None) -> None:
    while time.monotonic() < until_s:
        if device.poll_open():
            _say("the port is back")
        ready, _, _ = select.select([fd for fd in (device.fd, typed) if fd >= 0], [], [], _POLL_S)
        if device.fd >= 0 and device.fd in ready:
            data = device.read()
            if data is None:
                _say(f"{device.reason}; waiting for it")
            elif data:
                if writer is not None:
                    writer.append(writer.now_ms(), device.name, data)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        if typed in ready:
            pressed = os.read(typed, 4096)
            if LEAVE in pressed or not pressed:
                return
            device.post(pressed)
        device.drain()


def _say(text: str) -> None:
    print(f"\r\n--- {text}\r", file=sys.stderr, flush=True)
