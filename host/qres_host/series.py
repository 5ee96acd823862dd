"""One channel of one board for a chart: signal, input, residuals, spikes, regime band, gaps, energy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from qres.regime import NAMES as REGIME_NAMES

from qres_host.history import GAPS_SHOWN, History, Sample


def series(history: History, channel: int, start_ms: int | None, end_ms: int | None, max_points: int) -> dict[str, Any]:
    """Return at most about `max_points` points of a channel between two swarm times (None: all in memory).

    When there are more, each group of samples gives its lowest and its highest: peaks and spikes never vanish
    by thinning. Raises IndexError when the board has no such channel.
    """
    about = history.channels[channel]
    if channel < 0:
        raise IndexError(channel)
    samples = history.window(start_ms, end_ms)
    period_ms = history.period_ms
    shown = _thin(samples, channel, max_points)
    truth = history.truth
    low = start_ms if start_ms is not None else (samples[0].at * period_ms if samples else 0)
    high = end_ms if end_ms is not None else (samples[-1].at * period_ms if samples else 0)
    times, charges = history.battery(low, high)
    return {
        "channel": dict(about),
        "t": [s.at * period_ms for s in shown],
        "value": [s.values[channel] for s in shown],
        "input": [truth(s.at)[channel] for s in shown] if truth is not None else None,
        "residual": [s.residuals[channel] for s in shown],
        "spike": [s.spikes >> channel & 1 for s in shown],
        "regime": _bands(samples, period_ms),
        "gaps": _gaps(samples, period_ms),
        "energy": {"t": times, "battery_permille": charges},
    }


def _thin(samples: list[Sample], channel: int, max_points: int) -> list[Sample]:
    if len(samples) <= max_points:
        return samples
    group = -(-len(samples) * 2 // max(max_points, 2))
    kept: list[Sample] = []
    for at in range(0, len(samples), group):
        part = samples[at : at + group]
        known = [s for s in part if s.values[channel] is not None] or part[:1]
        chosen = {min(known, key=lambda s: _value(s, channel)), max(known, key=lambda s: _value(s, channel))}
        chosen |= {s for s in part if s.spikes >> channel & 1}
        kept += sorted(chosen)
    return kept


def _value(sample: Sample, channel: int) -> tuple[int, int]:
    value = sample.values[channel]
    return (0 if value is None else value, sample.at)


def _bands(samples: list[Sample], period_ms: int) -> list[list[int | str]]:
    """Return [from, to, regime name] for each run of samples in one regime."""
    bands: list[list[int | str]] = []
    last = -1
    for s in samples:
        t = s.at * period_ms
        if s.regime != last:
            bands.append([t, t + period_ms, REGIME_NAMES[s.regime]])
            last = s.regime
        else:
            bands[-1][1] = t + period_ms
    return bands


def _gaps(samples: list[Sample], period_ms: int) -> list[list[int]]:
    """Return [from, to] of the first samples that are missing between others, in swarm time."""
    found = []
    for a, b in pairwise(samples):
        if b.at != a.at + 1:
            found.append([(a.at + 1) * period_ms, b.at * period_ms])
    return found[-GAPS_SHOWN:]
