"""What is remembered of one board: its last telemetry, counters, and a bounded ring of samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from qres import telemetry
from qres.detect import FAULT_BITS, MISSING, SATURATED, STUCK
from qres.energy import SILENCE_NAMES
from qres.events import ROLES
from qres.regime import NAMES as REGIME_NAMES

from qres_host.records import Samples
from qres_host.told import Watch

FAULT_NAMES = {STUCK: "stuck", SATURATED: "saturated", MISSING: "missing"}
KERNEL_NAMES = ("bytecode", "machine code", "bytecode: self-test failed")
"""What the number qres.KERNELS of a board means."""
RING = 4096  # samples kept per board: at one an hour five months, at one a second an hour
SPARK = 48  # values of the small chart in the fleet table
GAPS_SHOWN = 200
FRAME_OVERHEAD_BYTES = 18  # header and tag of a radio frame
VALUE_BYTES = 4  # a raw int32
GRACE_MS = 30_000  # least delay that makes a board late
AWAKE_MS = 5_000  # a board that was heard so recently has not gone to sleep yet

Truth = Callable[[int], tuple[int | None, ...]]


class Sample(NamedTuple):
    """One rebuilt sample: its grid index `at`, values and residuals per channel, spike bits, regime."""

    at: int
    values: tuple[int | None, ...]
    residuals: tuple[int | None, ...]
    spikes: int
    regime: int


class History:
    """One board as the dashboards see it: fold with `heard`, `say`, `samples`, read with `short`.

    `truth(index)` is what the sensor really read at that index of the sampling grid, where it is known (a
    playback): each rebuilt sample is then counted as verified or mismatched.
    """

    def __init__(self, node: int, epoch_ms: int) -> None:
        self.node = node
        self.mac = ""
        self.name = ""
        self.role = ""
        self.build = b""  # what it runs, as qres.port.contract says
        self.channels: list[dict[str, str]] = []
        self.named = True  # somebody told what the channels mean; else they are numbered
        self.truth: Truth | None = None
        self.epoch_ms = epoch_ms  # between two rounds, in which every board speaks
        self.told_at_ms = 0
        self._told: bytes | None = None  # the last
        self._values: dict[str, int | bytes] | None = {}  # of it, None until somebody looks
        self._watched: Watch | None = None  # of it
        self.reputation_permille: int | None = None
        self.last_seen_ms: int | None = None
        self.packets = self.lost = self.bytes_air = self.bytes_data = 0
        self.count = self.spikes = self.verified = self.mismatched = 0
        self.missing = 0
        self.exact = False
        self.bytes_raw = self.bytes_every = 0
        self.period_ms = 0
        self.regime: int | None = None
        self._ring: list[Sample | None] = []
        self._newest = -1
        self._battery: deque[tuple[int, int]] = deque(maxlen=RING)

    def adopt(self, layout: list[dict[str, str]]) -> None:
        """Take the swarm's channels, which its gateway told, when this board's are not known better."""
        if not self.named and len(layout) == len(self.channels):
            self.channels = layout

    def heard(self, packets: int, size: int, newest_ms: int, lost: int, sampled: bool) -> None:
        """Count frames: how many, their bytes, the newest swarm time, frames lost by then, whether it held samples."""
        self.packets += packets
        self.bytes_air += size
        if sampled:
            self.bytes_data += size
        self.last_seen_ms = max(self.last_seen_ms or 0, newest_ms)
        self.lost = lost

    def say(self, told: bytes, watched: tuple[Any, ...], first_ms: int, last_ms: int) -> tuple[int, bytes] | None:
        """Take telemetry: the last of some that are alike in what is watched, and when the board said first and last.

        `watched`: the fields of a Watch. Returns the model that it names, (epoch, hash), where that may be another.
        """
        says, before, model = Watch._make(watched), self._watched, None
        if says != before:
            self._watched, self.told_at_ms = says, first_ms
            if before is None or says.mac != before.mac:
                self.mac = says.raw("mac").hex(":")
            self._charged()
            if says.epoch:
                model = says.epoch, says.raw("model")
        self._told, self._values, self.told_at_ms = told, None, last_ms
        self._charged()
        self.regime = says.regime  # samples or a HELLO may have said otherwise meanwhile
        self.role = ROLES[says.role] if says.role < len(ROLES) else self.role
        return model

    def _charged(self) -> None:
        """Remember the charge of the last telemetry; of many alike the first and the last."""
        points, charge = self._battery, self.battery_permille
        if charge is None or (points and points[-1] == (self.told_at_ms, charge)):
            return
        if len(points) > 1 and points[-1][1] == points[-2][1] == charge and points[-1][0] < self.told_at_ms:
            points.pop()
        points.append((self.told_at_ms, charge))

    def samples(self, samples: Samples) -> None:
        """Fold decoded samples. Another period or number of channels begins the ring anew."""
        width = len(samples.steps[0])
        if samples.period_ms != self.period_ms or width != len(self.channels):
            self.period_ms = samples.period_ms
            self._ring, self._newest = [None] * RING, -1
            if width != len(self.channels):
                self.channels = [{"name": f"channel {i}", "unit": "", "scale": "1"} for i in range(width)]
                self.named = False
        elif not self._ring:
            self._ring = [None] * RING
        for i, step in enumerate(samples.steps):
            index, spikes = samples.first + i, samples.spikes[i]
            slot = index % RING
            held = self._ring[slot]
            if held is None or held.at < index:
                self._ring[slot] = Sample(index, step, samples.residuals[i], spikes, samples.regime)
            self.spikes += spikes.bit_count()
            if self.truth is not None:
                same = tuple(self.truth(index)) == step
                self.verified += same
                self.mismatched += not same
        self.count += len(samples.steps)
        self.bytes_raw += len(samples.steps) * width * VALUE_BYTES
        self.bytes_every += len(samples.steps) * (width * VALUE_BYTES + FRAME_OVERHEAD_BYTES)
        self.missing, self.exact = samples.gaps
        if samples.first + len(samples.steps) > self._newest:
            self._newest = samples.first + len(samples.steps) - 1
            self.regime = samples.regime

    @property
    def told(self) -> dict[str, int | bytes]:
        """The last telemetry by field, empty when there was none."""
        if self._values is None:
            self._values = telemetry.unpack(self._told) if self._told is not None else {}
        return self._values

    def number(self, name: str) -> int | None:
        """Return a telemetry field, None when the board has told none."""
        value = self.told.get(name)
        return value if isinstance(value, int) else None

    def faults(self) -> list[str]:
        """Return what was wrong with the sensors at the last telemetry: "name stuck", ..., channel after channel."""
        bits, found = self.number("faults") or 0, []
        for i, channel in enumerate(self.channels):
            here = bits >> FAULT_BITS * i
            found += [f"{channel['name']} {word}" for flag, word in FAULT_NAMES.items() if here & flag]
        return found

    @property
    def battery_permille(self) -> int | None:
        """Charge left, None when unknown or on USB power."""
        told = self._watched
        return told.battery_permille if told is not None and told.battery_permille <= 1000 else None

    @property
    def model_hash(self) -> str | None:
        """The model that the board said it holds, eight hex digits."""
        model = self.told.get("model")
        return model.hex() if isinstance(model, bytes) else None

    @property
    def next_wake_ms(self) -> int | None:
        """Swarm time at which the board said it is on the air again; None when it stays or said nothing."""
        seconds = self.number("next_wake_s")
        if not seconds:
            return None
        wake_ms, last = self.told_at_ms + seconds * 1000, self.last_seen_ms or 0
        if last > wake_ms + GRACE_MS:
            # It was heard later, though not its telemetry: it kept waking, at the interval that it told.
            wake_ms += -(-(last - wake_ms) // (seconds * 1000)) * seconds * 1000
        return wake_ms

    def state(self, now_ms: int, heard_ms: int) -> str:
        """Return gateway, awake, asleep, late (past the wake at which it had to speak) or lost (past three).

        `heard_ms`: until when somebody listened, at most `now_ms`: a board is not late because the gateway is.
        """
        last, epoch_ms = self.last_seen_ms or 0, self.epoch_ms
        # A board may wake and have nothing to say, but it speaks in the round at each epoch's boundary.
        due_ms = (max(last, self.told_at_ms) // epoch_ms + 1) * epoch_ms
        if self.role == "sentinel":
            overdue_ms = now_ms - due_ms - epoch_ms
            return "gateway" if overdue_ms <= epoch_ms else "late" if overdue_ms <= 4 * epoch_ms else "lost"
        if now_ms - last <= AWAKE_MS:
            return "awake"
        overdue_ms = heard_ms - max(self.next_wake_ms or 0, due_ms)
        grace_ms = max(GRACE_MS, epoch_ms // 10)
        if overdue_ms <= grace_ms:
            return "asleep"
        return "late" if overdue_ms <= 2 * epoch_ms + grace_ms else "lost"

    def short(self, now_ms: int, heard_ms: int) -> dict[str, Any]:
        """Return the board's row in the fleet, JSON-ready; times as for `state`."""
        uptime_ms, awake_ms = (self.number("uptime_s") or 0) * 1000, self.number("awake_ms")
        return {
            "mac": self.mac,
            "id": self.node,
            "name": self.name,
            "role": self.role or None,
            "build": self.build[:4].hex() or None,
            "kernels": _name(KERNEL_NAMES, self.build[4] if self.build else None),
            "regime": _name(REGIME_NAMES, self.regime),
            "silence": _name(SILENCE_NAMES, self.number("silence")),
            "reputation_permille": self.reputation_permille,
            "battery_permille": self.battery_permille,
            "battery_mv": self.number("battery_mv") or None,
            "last_seen_ms": self.last_seen_ms,
            "next_wake_ms": self.next_wake_ms,
            "state": self.state(now_ms, heard_ms),
            "samples": self.count,
            "spikes": self.spikes,
            "faults": self.faults(),
            "packets": self.packets,
            "lost": self.lost,
            "bytes_air": self.bytes_air,
            "bytes_data": self.bytes_data,
            "bytes_raw": self.bytes_raw,
            "bytes_every": self.bytes_every,
            "epoch": self.number("epoch"),
            "model_hash": self.model_hash,
            "exact": self.exact,
            "verified": self.verified,
            "mismatched": self.mismatched,
            "asleep_ppm": (
                max(0, uptime_ms - awake_ms) * 1_000_000 // uptime_ms if uptime_ms and awake_ms is not None else None
            ),
            "channels": [
                {**channel, "last": self._last(i)} for i, channel in enumerate(self.channels)
            ],
            "spark": self._spark(),
        }  # fmt: skip

    def window(self, start_ms: int | None, end_ms: int | None) -> list[Sample]:
        """Return the samples in memory from `start_ms` to `end_ms` inclusive, in order."""
        if self._newest < 0:
            return []
        first, last = self._newest - RING + 1, self._newest
        if start_ms is not None:
            first = max(first, -(-start_ms // self.period_ms))
        if end_ms is not None:
            last = min(last, end_ms // self.period_ms)
        ring = self._ring
        slots = (ring[i % RING] for i in range(max(first, 0), last + 1))
        return [sample for sample in slots if sample is not None and first <= sample.at <= last]

    def battery(self, start_ms: int, end_ms: int) -> tuple[list[int], list[int]]:
        """Return times and charges (permille) told between two swarm times, with what was true at both of them."""
        kept: list[tuple[int, int]] = []
        before: int | None = None
        for at_ms, charge in self._battery:
            if at_ms < start_ms:
                before = charge
                continue
            if before is not None and at_ms > start_ms and not kept:
                kept.append((start_ms, before))
            if at_ms > end_ms:
                if kept and kept[-1][0] < end_ms:
                    kept.append((end_ms, kept[-1][1]))
                break
            kept.append((at_ms, charge))
        return [t for t, _ in kept], [charge for _, charge in kept]

    def _recent(self, samples: int) -> list[Sample | None]:
        low = max(self._newest - samples + 1, 0)
        found = [self._ring[i % RING] for i in range(low, self._newest + 1)] if self._ring else []
        return [sample if sample is not None and sample.at >= low else None for sample in found]

    def _spark(self) -> list[int | None]:
        return [sample.values[0] if sample is not None else None for sample in self._recent(SPARK)]

    def _last(self, channel: int) -> int | None:
        for sample in reversed(self._recent(SPARK)):
            if sample is not None and sample.values[channel] is not None:
                return sample.values[channel]
        return None


def _name(names: tuple[str, ...], number: int | None) -> str | None:
    return names[number] if number is not None and number < len(names) else None
