"""The live stream: one fold of the fleet per tick, shared by every browser that listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from qres_host.web.source import ViewSource

# What makes a board "changed" for a listener that shows only that board.
WATCHED = (
    "state",
    "regime",
    "samples",
    "packets",
    "last_seen_ms",
    "mismatched",
    "model_hash",
    "battery_permille",
)

# A fold may take at most this share of the time between two folds, however large the fleet.
BUSY_SHARE = 0.1

Fingerprints = dict[str, tuple[Any, ...]]


def encode(value: object) -> str:
    """Return compact JSON on one line; raises ValueError on NaN or infinity, which JSON does not have."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def message(event: str, data: str) -> str:
    """Return one server-sent event; `data` must be a single line."""
    return f"event: {event}\ndata: {data}\n\n"


def fingerprints(fleet: dict[str, Any]) -> Fingerprints:
    """Return what a listener compares to see which boards changed, by MAC."""
    return {board["mac"]: tuple(board.get(name) for name in WATCHED) for board in fleet["boards"]}


class FleetFeed:
    """Serves fleet snapshots to any number of listeners at the price of one. Lives in one event loop."""

    def __init__(self, view: ViewSource, interval_s: float) -> None:
        self._view = view
        self._interval_s = interval_s
        self._lock = asyncio.Lock()
        self._closed = asyncio.Event()
        self._made_s = float("-inf")
        self._cost_s = 0.0
        self._text = ""
        self._prints: Fingerprints = {}

    def close(self) -> None:
        """End every stream at its next tick at the latest. Call it in the event loop."""
        self._closed.set()

    @property
    def pause_s(self) -> float:
        """Time between two snapshots in seconds: the asked one, longer when a fold is slow."""
        return max(self._interval_s, self._cost_s / BUSY_SHARE)

    async def snapshot(self) -> tuple[str, Fingerprints]:
        """Return the fleet as JSON and its fingerprints, at most one tick old."""
        async with self._lock:
            clock = asyncio.get_running_loop().time
            if clock() - self._made_s >= 0.9 * self.pause_s:
                start = clock()
                self._text, self._prints = await run_in_threadpool(self._fold)
                self._made_s = clock()
                self._cost_s = self._made_s - start
            return self._text, self._prints

    def _fold(self) -> tuple[str, Fingerprints]:
        fleet = self._view.fleet()
        return encode(fleet), fingerprints(fleet)

    async def stream(self) -> AsyncIterator[str]:
        """Yield server-sent events: `fleet`, a snapshot each tick, and `boards`, the MACs that changed."""
        yield "retry: 1000\n\n"
        before: Fingerprints = {}
        while not self._closed.is_set():
            text, prints = await self.snapshot()
            changed = [mac for mac, values in prints.items() if before.get(mac) != values]
            yield message("fleet", text)
            if changed:
                yield message("boards", encode({"changed": changed}))
            before = prints
            try:
                await asyncio.wait_for(self._closed.wait(), self.pause_s)
            except TimeoutError:
                continue
