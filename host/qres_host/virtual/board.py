"""What every virtual board is to the hub, whether a MicroPython machine or a node in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from qres_host.virtual.battery import Battery, PowerTable
from qres_host.virtual.clock import BoardClock
from qres_host.virtual.line import SerialLine
from qres_host.virtual.playback import Playback
from qres_host.virtual.protocol import Frame, Message, Row

OFF, BOOTING, RUNNING, WAITING, ASLEEP, REPL, DEAD, LOADER = range(8)
STATES = ("off", "booting", "running", "waiting", "asleep", "repl", "dead", "loader")
BATTERY_PIN = 30  # the converter's pin that shows the battery; 0 to 14 are the channels of the recording


@dataclass(frozen=True)
class BoardSpec:
    """One board to be: `config` is its /config.json (None: a blank board), `kind` "vm" or "inproc".

    `position` in metres, `drift_ppm` None draws -20 to 20 from the seed, `battery_mah` 0 means USB power.
    """

    name: str
    mac: bytes
    config: Mapping[str, Any] | None
    kind: str = "vm"
    playback: Playback | None = None
    position: tuple[float, float] = (0.0, 0.0)
    drift_ppm: int | None = None
    battery_mah: int = 2000
    solar_ua: int = 0
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, bytes] | None = None  # replaces the application; None: the firmware of this checkout
    bare: bool = False  # erased flash, no MicroPython: the boot loader waits


class Host(Protocol):
    """What a board asks of the hub."""

    now_us: int

    def settled(self, board: Board) -> None:
        """The board has come to rest: its effects and outcome are complete."""

    def immediate(self, board: Board, message: Message) -> None:
        """A board at its REPL did something; it happens now."""

    def typed(self, board: Board) -> None:
        """Bytes have been put before the board's program."""

    def wake_into_repl(self, board: Board) -> None:
        """Someone types at a board that is off: start it without main.py."""

    def into_loader(self, board: Board) -> None:
        """esptool has called: whatever runs ends, the boot loader listens."""

    def out_of_loader(self, board: Board) -> None:
        """The boot loader was left by a reset."""


class Board:
    """State that the hub keeps for a board across its reboots."""

    def __init__(self, index: int, spec: BoardSpec, host: Host, clock: BoardClock, seed: int) -> None:
        self.index, self.spec, self.host, self.clock = index, spec, host, clock
        self.line: SerialLine | None = None
        power = (spec.config or {}).get("power")
        table = PowerTable.from_config(power) if power else PowerTable()
        self.battery = Battery(spec.battery_mah, spec.solar_ua, table)
        self.state = OFF
        self.token = 0  # counts waits; a wake-up of an earlier wait is void
        self.wait_flags = 0
        self.stdin_fresh = False
        self.radio_on = False
        self.rxbuf = 526
        self.frames: list[Frame] = []
        self.rtc = b""
        self.nvs = b""
        self.pressed = False
        self.boot_mv = 0  # the battery's voltage as the present boot reads it
        self.effects: list[Message] = []
        self.outcome: Message | None = None
        self.tainted = False  # a person was at its REPL: its output is no longer part of the digest
        self.counts = {
            "boots": 0,
            "kills": 0,
            "crashes": 0,
            "overruns": 0,
            "sent": 0,
            "received": 0,
            "spins": 0,
            "first_samples": 0,
        }
        self.first_sample_us = 0  # CPU time of the newest boot from boot.py to its first sample
        self.crashes_in_row = 0
        self.rested_at_us = -1
        self._seed = seed

    def boot_seed(self) -> bytes:
        """Return the 16 bytes of entropy of the present boot, the same in every run."""
        return hashlib.sha256(f"boot {self._seed} {self.index} {self.counts['boots']}".encode()).digest()[:16]

    def row(self, now_us: int) -> Row:
        """Return what the sensors show now."""
        playback = self.spec.playback
        return playback.row(playback.index_at(now_us // 1000)) if playback else ()

    def sensed(self, cpu_us: int) -> None:
        """The first sample of a boot was taken, after so much CPU time from boot.py."""
        self.first_sample_us = cpu_us
        self.counts["first_samples"] += 1

    def boots(self) -> bool:
        """Whether there is anything in the flash to boot; a board where there is not stays in its boot loader."""
        return True

    def prepare(self) -> None:
        """Do what takes real time before the next power-on."""

    def run_ahead(self, start_us: int, cause: int) -> None:
        """The board will be powered on at `start_us`, unless end() comes first: it may compute what it does then."""

    def power_on(self, cause: int) -> None:
        """Start at host.now_us; ends with host.settled()."""
        raise NotImplementedError

    def start_repl(self, cause: int) -> None:
        """Start at host.now_us without main.py; a board without a REPL ignores it."""

    def resume(self, flags: int) -> None:
        """Go on after a wait, with the frames that came; ends with host.settled()."""
        raise NotImplementedError

    def end(self) -> None:
        """Stop at once, as when power fails."""

    def take_output(self) -> bytes:
        """Return what the board has written to its serial line since the last call."""
        return b""

    def typed(self, data: bytes) -> None:
        """Bytes came from the host's end of the serial line."""

    def tick(self) -> None:
        """Called a few times per real second."""

    def close(self) -> None:
        """Release everything."""
        self.end()
        if self.line is not None:
            self.line.unplug()
