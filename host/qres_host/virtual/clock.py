"""Time on virtual boards: crystals that drift, and the pace of virtual time against real time.

All instants are integers: microseconds of unix time. `true` time is the hub's, `local` time a board's.
"""

from __future__ import annotations

import time

MILLION = 1_000_000
_BEHIND_LIMIT_S = 0.25


class BoardClock:
    """A crystal that runs `drift_ppm` fast since `start_us`, and what its board has set its clock off by."""

    def __init__(self, start_us: int, drift_ppm: int = 0, power_on_us: int = 0) -> None:
        self._start_us = start_us
        self._rate = MILLION + drift_ppm
        self.offset_us = power_on_us

    def local_us(self, true_us: int) -> int:
        """Return what the board's clock shows."""
        return self._start_us + (true_us - self._start_us) * self._rate // MILLION + self.offset_us

    def true_us(self, local_us: int) -> int:
        """Return the first true instant at which the clock shows `local_us` or more."""
        elapsed = local_us - self.offset_us - self._start_us
        return self._start_us + -(-elapsed * MILLION // self._rate)


class Pacer:
    """Maps virtual to real time at `speed`; 0 is as fast as possible. A late run slows down instead of rushing."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._virtual_us = 0
        self._real_s: float | None = None

    def set_speed(self, speed: float, now_us: int) -> None:
        """Change the speed from `now_us` on."""
        self._speed = speed
        self._virtual_us, self._real_s = now_us, time.monotonic()

    def wait_s(self, target_us: int, now_us: int) -> float:
        """Return the real seconds to wait until virtual `target_us`; 0 when it is due."""
        if self._speed <= 0:
            return 0.0
        real = time.monotonic()
        if self._real_s is None:
            self._virtual_us, self._real_s = now_us, real
        due = self._real_s + (target_us - self._virtual_us) / MILLION / self._speed
        if due < real - _BEHIND_LIMIT_S:
            self._virtual_us, self._real_s = target_us, real
            return 0.0
        return max(0.0, due - real)

    def pause(self) -> None:
        """Forget the base: after a pause virtual time goes on from where it stood."""
        self._real_s = None

    def virtual_us(self, limit_us: int) -> int:
        """Return the virtual time that real time has reached, at most `limit_us`."""
        if self._speed <= 0 or self._real_s is None:
            return limit_us
        reached = self._virtual_us + int((time.monotonic() - self._real_s) * self._speed * MILLION)
        return min(limit_us, reached)
