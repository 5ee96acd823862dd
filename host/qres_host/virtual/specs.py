"""Boards to be, from recordings: names, addresses, places, configurations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qres_host import hardware
from qres_host.errors import USAGE, QresError
from qres_host.ota.bundle import public_key
from qres_host.virtual import playback
from qres_host.virtual.board import BoardSpec

DEMO_KEY = "716265732d7669727475616c2d64656d6f2d6b65792d6e6f742d736563726574"  # public: virtual boards only
DEMO_UPDATE_KEY = bytes.fromhex(DEMO_KEY)  # private key whose signature virtual boards believe; public as well

DAY_ROWS = 24
_MIN_EPOCH_MS = 60_000


def positions(count: int, spacing_m: float = 8.0) -> list[tuple[float, float]]:
    """Return places on a sunflower's spiral: dense, no two alike, 64 of them within 64 m of the first."""
    turn = math.pi * (3 - math.sqrt(5))
    return [
        (spacing_m * math.sqrt(k) * math.cos(k * turn), spacing_m * math.sqrt(k) * math.sin(k * turn))
        for k in range(count)
    ]


def board_config(
    recording: playback.Playback, role: str, channels: Sequence[playback.Channel], **changes: Any
) -> dict[str, Any]:
    """Return /config.json of a virtual board that senses `recording` (nothing when it is the sentinel)."""
    sensing = role != "sentinel"
    config: dict[str, Any] = {
        "name": recording.name,
        "role": role,
        "swarm_key": DEMO_KEY,
        "update_key": public_key(DEMO_UPDATE_KEY).hex(),
        "period_ms": recording.period_ms,
        "channels": [channel.as_config() for channel in channels],
        "sensors": [{"driver": "adc", "pin": pin} for pin in range(len(channels))] if sensing else [],
    }
    settings = hardware.load("virtual").settings()
    if not sensing:
        settings = {key: value for key, value in settings.items() if not key.startswith("battery_")}
    config.update(settings)
    config.update(schedule(recording.period_ms))
    config.update(changes)
    return config


def schedule(period_ms: int) -> dict[str, Any]:
    """Return the configuration that fits recordings of this period: a learning round each 24 samples, a packet each 48.

    The radio never wakes more often than the sensor, because there would be nothing new to say.
    """
    epoch_ms = max(DAY_ROWS * period_ms, _MIN_EPOCH_MS)
    calm_ms = max(4 * period_ms, _MIN_EPOCH_MS // 6)
    soon_ms = max(period_ms, _MIN_EPOCH_MS // 12)
    return {"epoch_ms": epoch_ms, "flush_ms": 2 * epoch_ms, "base_ms": [calm_ms, soon_ms, soon_ms]}


def make_specs(
    recordings: Sequence[playback.Playback],
    *,
    kind: str = "vm",
    blank: bool = False,
    predictors: Sequence[str] = (),
    **changes: Any,
) -> list[BoardSpec]:
    """Return a sentinel and a sensing board per recording, which must agree in period and channels.

    `blank`: boards with an empty flash. `predictors` are those of the sensing boards, in turn. `changes` are entries of
    every board's configuration.
    """
    first = recordings[0]
    if any((r.period_ms, len(r.channels)) != (first.period_ms, len(first.channels)) for r in recordings):
        raise QresError("the recordings differ in period or number of channels", "make them alike", USAGE)
    places = positions(len(recordings) + 1)
    sentinel = playback.Playback("sentinel", first.channels, first.values, first.missing, first.t0_ms, first.period_ms)
    specs = []
    for index, recording in enumerate([sentinel, *recordings]):
        role = "scheduled" if index else "sentinel"
        own = {"predictor": predictors[(index - 1) % len(predictors)]} if index and predictors else {}
        specs.append(
            BoardSpec(
                recording.name,
                bytes((2, 0, 0x51, 0x52, index >> 8, index & 255)),
                None if blank else board_config(recording, role, first.channels, **{**own, **changes}),
                kind,
                recording if index else None,
                places[index],
                drift_ppm=None if index else 0,
                battery_mah=2000 if index else 0,
                files={} if blank else None,
            )
        )
    return specs
