"""The air between virtual boards: ESP-NOW frames at 1 Mbit/s with range, loss, delay, collisions.

The radio knows time only as numbers. It asks its `schedule` to call back at instants and hands frames to `deliver`.
A station listens before it sends; two that start at the same instant collide wherever both are heard. What a
receiver loses is drawn from that receiver's own generator, so that a run repeats from its seed.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

FRAME_BYTES = 250
# PHY: long preamble and header 192 us, then 8 us per byte at 1 Mbit/s. MAC: 24 header, action frame 1 category +
# 3 organisation + 4 random + 7 element head, 4 check sequence (IEEE 802.11 and Espressif's ESP-NOW frame format).
PREAMBLE_US = 192
OVERHEAD_BYTES = 43
DIFS_US = 50
SLOT_US = 20
WINDOW_SLOTS = 32
ONE_METRE_DBM = -40
FLOOR_DBM = -97
HEARD_KEPT = 32  # entries after which a station forgets what is over

Schedule = Callable[[int, int, Callable[[], None]], None]  # (instant, station for the order, call)
Deliver = Callable[[int, int, bytes, int], None]  # (receiver, sender, frame, rssi)


def airtime_us(length: int) -> int:
    """Return how long a frame of `length` payload bytes is on the air."""
    return PREAMBLE_US + 8 * (OVERHEAD_BYTES + length)


def rssi_dbm(distance_m: float) -> int:
    """Return the signal strength at a distance: free space to one metre, then exponent 2.7."""
    return max(FLOOR_DBM, round(ONE_METRE_DBM - 27 * math.log10(max(1.0, distance_m))))


@dataclass
class Counters:
    """Frames and payload bytes. `sent` counts transmissions; the others count receptions at each listener in range."""

    sent: int = 0
    sent_bytes: int = 0
    delivered: int = 0
    lost: int = 0
    collided: int = 0
    refused: int = 0  # too long, or the radio was off
    unheard: int = 0  # sent with no listener awake in range


@dataclass
class Station:
    """One radio: where it is, whether it listens, what it has to send and what is on the air around it."""

    position: tuple[float, float]
    rng: random.Random
    on_since_us: int = -1  # -1 = off
    queue: deque[bytes] = field(default_factory=deque)
    sending_until_us: int = 0
    contending: bool = False
    heard: list[tuple[int, int, int]] = field(default_factory=list)  # (start, end, sender) of transmissions in range


class Air:
    """The shared medium. `loss` is the probability that a frame is lost at one receiver."""

    def __init__(
        self,
        positions: list[tuple[float, float]],
        seed: int,
        schedule: Schedule,
        deliver: Deliver,
        *,
        loss: float = 0.0,
        range_m: float = 150.0,
        delay_us: int = 1000,
    ) -> None:
        self.loss = loss
        self.delay_us = delay_us
        self.counters = Counters()
        self.on_air: Callable[[int, bytes, int], None] | None = None  # (sender, frame, airtime) of each transmission
        self._schedule, self._deliver = schedule, deliver
        self.stations = [Station(p, random.Random(f"air {seed} {k}")) for k, p in enumerate(positions)]
        self._strength: list[list[int | None]] = [
            [rssi_dbm(d) if (d := math.dist(p, q)) <= range_m else None for q in positions] for p in positions
        ]

    def switch(self, station: int, on: bool, now_us: int) -> None:
        """Turn a receiver on or off. What is queued is sent all the same: the chip waits for it before it sleeps."""
        radio = self.stations[station]
        if on and radio.on_since_us < 0:
            radio.on_since_us = now_us
        elif not on:
            radio.on_since_us = -1

    def send(self, station: int, frame: bytes, now_us: int) -> bool:
        """Queue a broadcast; False when it is refused (off, empty, longer than 250 bytes)."""
        radio = self.stations[station]
        if radio.on_since_us < 0 or not 0 < len(frame) <= FRAME_BYTES:
            self.counters.refused += 1
            return False
        radio.queue.append(frame)
        self._contend(station, now_us)
        return True

    def _contend(self, station: int, now_us: int) -> None:
        radio = self.stations[station]
        if radio.contending or not radio.queue:
            return
        radio.contending = True
        start = max([now_us, radio.sending_until_us] + [end for _, end, _ in self._now_heard(radio, now_us)])
        start += DIFS_US + SLOT_US * radio.rng.randrange(WINDOW_SLOTS)
        self._schedule(start, station, lambda: self._try(station, start))

    @staticmethod
    def _now_heard(radio: Station, now_us: int) -> list[tuple[int, int, int]]:
        """Return the transmissions still on the air, and forget those that no reception can overlap any more."""
        oldest = now_us - 2 * airtime_us(FRAME_BYTES)
        radio.heard = [entry for entry in radio.heard if entry[1] > oldest]
        return [entry for entry in radio.heard if entry[1] > now_us]

    def _try(self, station: int, now_us: int) -> None:
        radio = self.stations[station]
        radio.contending = False
        # What began at this very instant cannot have been sensed.
        if any(start < now_us for start, _, _ in self._now_heard(radio, now_us)):
            self._contend(station, now_us)
            return
        frame = radio.queue.popleft()
        length_us = airtime_us(len(frame))
        end_us = radio.sending_until_us = now_us + length_us
        self.counters.sent += 1
        self.counters.sent_bytes += len(frame)
        for other, strength in enumerate(self._strength[station]):
            if strength is not None:
                listener = self.stations[other]
                if len(listener.heard) > HEARD_KEPT:
                    self._now_heard(listener, now_us)
                listener.heard.append((now_us, end_us, station))
        if self.on_air is not None:
            self.on_air(station, frame, length_us)
        self._schedule(end_us, station, lambda: self._finish(station, frame, now_us, end_us))

    def _finish(self, sender: int, frame: bytes, start_us: int, end_us: int) -> None:
        heard = 0
        for other, strength in enumerate(self._strength[sender]):
            radio = self.stations[other]
            if other == sender or strength is None or not 0 <= radio.on_since_us <= start_us:
                continue
            heard += 1
            if any(begin < end_us and end > start_us and who != sender for begin, end, who in radio.heard):
                self.counters.collided += 1
            elif radio.rng.random() < self.loss:
                self.counters.lost += 1
            else:
                self.counters.delivered += 1
                self._arrive(other, sender, frame, strength, end_us)
        if not heard:
            self.counters.unheard += 1
        self._contend(sender, end_us)

    def _arrive(self, receiver: int, sender: int, frame: bytes, strength: int, end_us: int) -> None:
        self._schedule(end_us + self.delay_us, receiver, lambda: self._deliver(receiver, sender, frame, strength))
