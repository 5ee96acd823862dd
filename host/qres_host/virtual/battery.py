"""What a virtual board's power costs: its currents, its states in time, its battery and an optional solar cell.

Charge is counted in nanocoulombs: one microampere for one millisecond. One mAh is 3.6e9 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEEP, LIGHT, AWAKE, RADIO = range(4)
STATE_NAMES = ("asleep", "light", "awake", "radio")
MAH_NC = 3_600_000_000
EMPTY_MV = 3300
FULL_MV = 4200
BOOT_NC = 26_500_000


@dataclass(frozen=True)
class PowerTable:
    """Currents in microamperes per state (deep sleep, light sleep, CPU, CPU with radio), more while sending, and
    the charge of one boot. The defaults are the ESP32-C6's."""

    state_ua: tuple[int, int, int, int] = (7, 180, 27_000, 78_000)
    send_ua: int = 200_000
    boot_nc: int = BOOT_NC

    @classmethod
    def from_config(cls, power: Mapping[str, int]) -> PowerTable:
        """Return the table of a board's configuration (microwatts, microjoules, nanojoules per byte, at 3.3 V)."""
        sleep, cpu, radio = (power[name] * 10 // 33 for name in ("sleep_uw", "cpu_uw", "radio_uw"))
        send = power["tx_byte_nj"] * 1000 * 10 // (8 * 33)  # a byte is on the air for 8 us
        return cls((sleep, sleep, cpu, radio), max(0, send - radio), power["boot_uj"] * 10_000 // 33)


@dataclass
class Battery:
    """A battery of `capacity_mah` (0: the board hangs on USB) and what its board drew from it.

    `state_us` and `send_us` are times since the start. The gauge is linear from 3.3 to 4.2 V.
    """

    capacity_mah: int = 2000
    solar_ua: int = 0
    table: PowerTable = field(default_factory=PowerTable)
    state: int = AWAKE
    since_us: int = 0
    used_nc: int = 0
    state_us: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    send_us: int = 0
    boots: int = 0

    def enter(self, state: int, true_us: int) -> None:
        """Account for the time in the old state and go on in `state`."""
        elapsed = true_us - self.since_us
        self.state_us[self.state] += elapsed
        self._draw((self.table.state_ua[self.state] - self.solar_ua) * elapsed // 1000)
        self.state, self.since_us = state, true_us

    def sent(self, airtime_us: int) -> None:
        """Account for a frame on the air."""
        self.send_us += airtime_us
        self._draw(self.table.send_ua * airtime_us // 1000)

    def booted(self) -> None:
        """Account for one boot."""
        self.boots += 1
        self._draw(self.table.boot_nc)

    def _draw(self, charge_nc: int) -> None:
        full = self.capacity_mah * MAH_NC
        self.used_nc = max(0, self.used_nc + charge_nc)
        if self.capacity_mah:
            self.used_nc = min(full, self.used_nc)

    def millivolts(self) -> int:
        """Return the voltage at the gauge; 5000 without a battery (USB)."""
        if not self.capacity_mah:
            return 5000
        full = self.capacity_mah * MAH_NC
        return EMPTY_MV + (FULL_MV - EMPTY_MV) * (full - self.used_nc) // full
