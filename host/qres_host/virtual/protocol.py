"""The hub's side of the messages of virtual boards (the board's side: shims/qb_link.py)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SEND, WAIT, DEEP, RESET, RADIO, NVS, REPL, CLOCK, POLL, RESYNC, RXBUF, UP, SENSED = range(1, 14)
WAKE_PACKET, WAKE_STDIN, LIGHT = 1, 2, 4
STDIN = 1
HARD, SOFT, WATCHDOG = 0, 1, 2
CRASH = 0  # the machine ended without a message
MARKER = b"\x7fqres-resync\x7f"
MISSING = -0x80000000
FRAMES_BYTES = 8192

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
RESET_CAUSES = {HARD: HARD_RESET, SOFT: SOFT_RESET, WATCHDOG: WDT_RESET}

Frame = tuple[bytes, bytes, int]  # (sender's mac, frame, rssi)
Row = tuple[int | None, ...]


@dataclass(frozen=True)
class Message:
    """One message of a board: what it did or what it waits for."""

    op: int
    tag: int = 0
    payload: bytes = b""


def take(buffer: bytearray) -> Message | None:
    """Cut the first whole message off `buffer`; None when there is none yet."""
    if len(buffer) < 4:
        return None
    op, tag, length = struct.unpack_from("<BBH", buffer)
    if len(buffer) < 4 + length:
        return None
    message = Message(op, tag, bytes(buffer[4 : 4 + length]))
    del buffer[: 4 + length]
    return message


def _row(row: Row) -> bytes:
    return struct.pack(f"<B{len(row)}i", len(row), *(MISSING if value is None else value for value in row))


def answer(tag: int, flags: int, local_us: int, row: Row, frames: list[Frame]) -> bytes:
    """Return the answer to a waiting board. It takes from `frames` what one message holds."""
    parts = [struct.pack("<BBq", tag, flags, local_us), _row(row)]
    room = FRAMES_BYTES
    while frames and room > 0:
        mac, frame, rssi = frames.pop(0)
        parts.append(struct.pack("<Bb6s", len(frame), rssi, mac) + frame)
        room -= len(frame)
    body = b"".join(parts)
    return struct.pack("<H", len(body)) + body


def power_on(
    local_us: int,
    cause: int,
    main: bool,
    pressed: bool,
    slow: bool,
    mac: bytes,
    seed: bytes,
    battery_mv: int,
    row: Row,
    rtc: bytes,
    nvs: bytes,
) -> bytes:
    """Return the message that switches a board on; `slow`: its flash takes the time of a real one."""
    flags = int(main) | int(pressed) << 1 | int(slow) << 2
    head = struct.pack("<qBB6s16sH", local_us, cause, flags, mac, seed, battery_mv)
    body = head + _row(row) + struct.pack("<H", len(rtc)) + rtc + nvs
    return struct.pack("<H", len(body)) + body
