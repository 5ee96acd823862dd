"""A swarm that does not exist: what the dashboard's tests look at. Deterministic in its clock.

Run as a program it serves itself, for work on the page: `python tests/host/web_fake_view.py [PORT] [BOARDS]`.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from typing import Any

HOUR_MS = 3_600_000
START_MS = 1_357_016_400_000  # 2013-01-01 05:00 UTC
DAYS = 150
CHANNELS = [
    {"name": "temperature", "unit": "degC", "scale": "0.1"},
    {"name": "humidity", "unit": "%", "scale": "0.01"},
    {"name": "pressure", "unit": "hPa", "scale": "0.1"},
    {"name": "wind", "unit": "m/s", "scale": "0.01"},
]
STATIONS = ("jfk", "lga", "ewr")
REGIMES = ("Calm", "PreStorm", "Storm")


def mac_of(number: int) -> str:
    """Return the MAC of one fake board."""
    return f"02:51:52:45:{number >> 8:02x}:{number & 255:02x}"


class FakeBoard:
    """One station's months of hourly weather, with gaps, storms and spikes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.mac = mac_of(number)
        self.name = f"{STATIONS[number % 3]}-{number // 3 + 1}" if number else "gateway"
        chance = random.Random(number)
        self.storms = [(at, at + chance.randrange(20, 60)) for at in range(60, DAYS * 24, chance.randrange(150, 260))]
        self.gap_hours = {hour for at in range(40, DAYS * 24, 370) for hour in range(at, at + chance.randrange(3, 14))}
        self.rows = [self._row(hour, chance) for hour in range(DAYS * 24)]

    def regime(self, hour: int) -> int:
        """Return the regime number at an hour."""
        for start, end in self.storms:
            if start - 12 <= hour < start:
                return 1
            if start <= hour < end:
                return 2
        return 0

    def _row(self, hour: int, chance: random.Random) -> tuple[int | None, ...]:
        if hour in self.gap_hours:
            return (None,) * len(CHANNELS)
        day = math.sin((hour - 9) / 24 * 2 * math.pi)
        front = math.sin(hour / 97 + self.number) + 0.6 * math.sin(hour / 41)
        storm = self.regime(hour)
        noise = chance.gauss
        spike = 60 if chance.random() < 0.004 else 0
        return (
            round(40 + 45 * day + 60 * front + noise(0, 4 + 8 * storm)) + spike,
            round(6500 - 1400 * day + 1200 * front + noise(0, 150)),
            round(10160 - 90 * front - 60 * storm + noise(0, 4)),
            max(0, round(380 + 160 * day + 420 * storm + noise(0, 90))),
        )


class FakeView:
    """Implements the dashboard's ViewSource. `clock` returns seconds; a test's own one holds time still."""

    def __init__(
        self,
        boards: int = 16,
        speed: float = 21_600.0,
        clock: Callable[[], float] = time.monotonic,
        ahead: int = 400,
    ) -> None:
        self.speed = speed
        self._clock = clock
        self._start_s = clock()
        self._ahead_ms = ahead * HOUR_MS
        self._boards = {board.mac: board for board in (FakeBoard(number) for number in range(boards))}
        self.mismatched = 0
        self.fault: Exception | None = None

    def now_ms(self) -> int:
        """Return swarm time."""
        limit = START_MS + (DAYS * 24 - 1) * HOUR_MS
        return min(limit, START_MS + self._ahead_ms + round((self._clock() - self._start_s) * self.speed * 1000))

    def _hours(self) -> int:
        return (self.now_ms() - START_MS) // HOUR_MS

    def _state(self, board: FakeBoard, hours: int) -> str:
        if not board.number:
            return "gateway"
        if board.number == 7:
            return "late"
        if board.number == 11:
            return "lost"
        return "awake" if (hours + board.number) % 9 == 0 else "asleep"

    def _heard_hours(self, board: FakeBoard, hours: int) -> int:
        lag = {7: 31, 11: 140}.get(board.number, (hours + board.number) % 9)
        return max(0, hours - lag)

    def _short(self, board: FakeBoard) -> dict[str, Any]:
        hours = self._hours()
        heard = self._heard_hours(board, hours)
        gateway = not board.number
        samples = 0 if gateway else heard
        packets = heard // 9 + 1
        lost = 0 if gateway else heard * (board.number % 4) // 900
        channels = [
            {**channel, "last": None if gateway else self._last(board, heard, at)}
            for at, channel in enumerate(CHANNELS)
        ]
        return {
            "mac": board.mac, "id": board.number, "name": board.name,
            "role": "sentinel" if gateway else "scheduled",
            "regime": REGIMES[board.regime(heard)], "silence": "Active",
            "reputation_permille": None if gateway else min(990, 500 + hours * 2 - board.number * 13),
            "battery_permille": None if gateway else max(30, 990 - hours // 9 - board.number * 41),
            "battery_mv": None if gateway else 4100 - board.number * 30,
            "last_seen_ms": self.now_ms() if gateway else START_MS + heard * HOUR_MS,
            "next_wake_ms": START_MS + (heard + 9) * HOUR_MS,
            "state": self._state(board, hours), "samples": samples, "spikes": heard // 80,
            "packets": packets, "lost": lost, "bytes_air": packets * 88, "bytes_raw": samples * 16,
            "epoch": hours // 24,
            "model_hash": "5d1f00c2" if board.number == 11 else "a91c33e7",
            "exact": not gateway and not self.mismatched, "verified": samples,
            "mismatched": self.mismatched if board.number == 1 else 0,
            "asleep_ppm": None if gateway else 999_800,
            "channels": channels,
            "spark": [None if gateway else board.rows[at][0] for at in range(max(0, heard - 48), heard)],
        }  # fmt: skip

    @staticmethod
    def _last(board: FakeBoard, heard: int, channel: int) -> int | None:
        return next((row[channel] for row in reversed(board.rows[:heard]) if row[channel] is not None), None)

    def fleet(self) -> dict[str, Any]:
        """Return the whole fake fleet."""
        if self.fault:
            raise self.fault
        boards = [self._short(board) for board in self._boards.values()]
        total = {name: sum(board[name] for board in boards) for name in ("samples", "packets", "mismatched")}
        total |= {name: sum(board[name] for board in boards) for name in ("bytes_air", "bytes_raw", "verified")}
        total |= {"bytes_every": total["samples"] * 34, "samples_lost": 0}
        total |= {"frames_lost": sum(board["lost"] for board in boards), "rejected": 3, "dropped": 0}
        sensing = [board for board in boards if board["role"] != "sentinel"]
        total |= {"streams": len(sensing), "streams_exact": sum(board["exact"] for board in sensing)}
        total |= {"serial_gaps": 1, "serial_bad": 0}
        counts = {name: sum(board["regime"] == name for board in sensing) for name in REGIMES}
        swarm = {"epoch": self._hours() // 24, "model_hash": "a91c33e7", "agreement_permille": 933}
        return {
            "now_ms": self.now_ms(), "speed": self.speed, "swarm": {**swarm, "regime_counts": counts},
            "totals": total, "boards": boards,
        }  # fmt: skip

    def board(self, mac: str) -> dict[str, Any] | None:
        """Return one fake board with telemetry."""
        board = self._boards.get(mac)
        if board is None:
            return None
        short = self._short(board)
        telemetry = {
            "uptime_ms": 1_204_000,
            "sleep_uj": 812_400,
            "radio_uj": 440_120,
            "boots": 133,
            "queue_depth": 2,
        }
        return {
            **short,
            "missing": 0,
            "bytes_every": short["samples"] * 34,
            "telemetry": {**telemetry, "heap_free_bytes": 81_240, "drift_ppm": -12},
        }

    def series(
        self, mac: str, channel: int, start_ms: int | None, end_ms: int | None, max_points: int
    ) -> dict[str, Any] | None:
        """Return one channel of one fake board."""
        board = self._boards.get(mac)
        if board is None:
            return None
        heard = self._heard_hours(board, self._hours()) if board.number else 0
        first = 0 if start_ms is None else max(0, (start_ms - START_MS) // HOUR_MS)
        end = heard if end_ms is None else min(heard, (end_ms - START_MS) // HOUR_MS + 1)
        lost = board.gap_hours if board.number % 2 else set()
        hours = [hour for hour in range(first, max(first, end)) if hour not in lost]
        hours = hours[:: max(1, len(hours) // max_points)]
        values = [board.rows[hour][channel] for hour in hours]
        shift = values[:1] + values[:-1]
        residual = [round(((a or 0) - (b or 0)) * 0.4) for a, b in zip(values, shift, strict=True)]
        limit = 3.5 * (sum(abs(r) for r in residual) / max(1, len(residual)) + 1)
        return {
            "channel": CHANNELS[channel], "t": [START_MS + hour * HOUR_MS for hour in hours], "value": values,
            "input": list(values), "residual": residual, "spike": [int(abs(r) > limit) for r in residual],
            "regime": self._regimes(board, first, end), "gaps": self._gaps(board, first, end) if lost else [],
            "energy": {
                "t": [START_MS + hour * HOUR_MS for hour in range(first, max(first, end), 9)],
                "battery_permille": [
                    max(30, 990 - hour // 9 - board.number * 41) for hour in range(first, max(first, end), 9)
                ],
            },
        }  # fmt: skip

    @staticmethod
    def _regimes(board: FakeBoard, first: int, end: int) -> list[list[Any]]:
        spans: list[list[Any]] = []
        for hour in range(first, max(first, end)):
            name = REGIMES[board.regime(hour)]
            if not spans or spans[-1][2] != name:
                spans.append([START_MS + hour * HOUR_MS, 0, name])
            spans[-1][1] = START_MS + (hour + 1) * HOUR_MS
        return spans

    @staticmethod
    def _gaps(board: FakeBoard, first: int, end: int) -> list[list[int]]:
        spans: list[list[int]] = []
        for hour in sorted(hour for hour in board.gap_hours if first <= hour < end):
            at = START_MS + hour * HOUR_MS
            if spans and spans[-1][1] == at:
                spans[-1][1] = at + HOUR_MS
            else:
                spans.append([at, at + HOUR_MS])
        return spans

    def models(self) -> dict[str, Any]:
        """Return the fake history of the shared model."""
        epochs = self._hours() // 24
        history = [
            {
                "epoch": epoch, "hash": f"{(epoch * 2654435761) & 0xFFFFFFFF:08x}", "inputs": 9 + epoch % 6,
                "agree_permille": min(1000, 400 + epoch * 60) - epoch % 5 * 14,
            }
            for epoch in range(1, epochs + 1)
        ]  # fmt: skip
        holders = [
            {
                "mac": board.mac,
                "hash": "5d1f00c2" if board.number == 11 else "a91c33e7",
                "agrees": board.number != 11,
            }
            for board in self._boards.values()
        ]
        weights = [71_300, -19_220, 6_850, 2_010, -840, 4_400, 1_090, 310]
        return {"epoch": epochs, "history": history, "weights": weights, "boards": holders}


if __name__ == "__main__":
    from qres_host.web import start_server

    handle = start_server(
        FakeView(boards=int(sys.argv[2]) if len(sys.argv) > 2 else 16),
        int(sys.argv[1]) if len(sys.argv) > 1 else None,
        info={"title": "Demo", "note": "hourly weather of three airports, 2013"},
    )
    print(handle.url, flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        handle.stop()
