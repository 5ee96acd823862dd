"""Detectors beside ours: what an engineer would otherwise write, each a score a sample, all causal, in float64."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qres_host import native

Floats = NDArray[np.float64]
Method = Callable[[Floats], Floats]
FLOOR = 1 / 64  # least deviation, of the range so far


@native.jit
def _deviation(x: Floats, shift: int, change: bool, out: Floats) -> None:
    """Deviations from a mean, in standard deviations: of all samples (shift 0) or forgetting with 2^-shift."""
    mean, variance, low, high = 0.0, 0.0, x[0], x[0]
    for t in range(1, len(x)):
        value = x[t] - x[t - 1] if change else x[t]
        floor = max((high - low) / 64, 1e-9)
        if t > 20:
            out[t] = abs(value - mean) / max(np.sqrt(variance), floor)
        rate = 1 / t if shift == 0 else max(1 / t, 2.0**-shift)
        d = value - mean
        mean += d * rate
        variance += (d * d * (1 - rate) - variance) * rate
        low, high = min(low, x[t]), max(high, x[t])


@native.jit
def _ewma(x: Floats, short: int, shift: int, out: Floats) -> None:
    """An EWMA chart: the short mean's distance from the long one, in its own standard deviations (Roberts 1959)."""
    mean, variance, quick, low, high = x[0], 0.0, x[0], x[0], x[0]
    width = np.sqrt(1 / (2.0 ** (short + 1) - 1))
    for t in range(1, len(x)):
        rate = max(1 / (t + 1), 2.0**-shift)
        quick += (x[t] - quick) * max(1 / (t + 1), 2.0**-short)
        floor = max((high - low) / 64, 1e-9)
        if t > 20:
            out[t] = abs(quick - mean) / max(np.sqrt(variance) * width, floor * width)
        d = x[t] - mean
        mean += d * rate
        variance += (d * d * (1 - rate) - variance) * rate
        low, high = min(low, x[t]), max(high, x[t])


@native.jit
def _cusum(x: Floats, drift: float, shift: int, out: Floats) -> None:
    """Page's two-sided CUSUM of standardised values (Page 1954); the larger sum is the score."""
    mean, variance, up, down, low, high = x[0], 0.0, 0.0, 0.0, x[0], x[0]
    for t in range(1, len(x)):
        rate = max(1 / (t + 1), 2.0**-shift)
        d = x[t] - mean
        z = min(max(d / max(np.sqrt(variance), max((high - low) / 64, 1e-9)), -6.0), 6.0)
        if t > 64:
            up, down = max(0.0, up + z - drift), max(0.0, down - z - drift)
            out[t] = max(up, down)
        mean += d * rate
        variance += (d * d * (1 - rate) - variance) * rate
        low, high = min(low, x[t]), max(high, x[t])


@native.jit
def _hampel(x: Floats, width: int, out: Floats) -> None:
    """Hampel's identifier: distance from the median of a window in scaled median absolute deviations (Hampel 1974)."""
    low, high = x[0], x[0]
    for t in range(1, len(x)):
        part = x[max(t - width, 0) : t]
        if len(part) > 20:
            middle = np.median(part)
            mad = 1.4826 * np.median(np.abs(part - middle))
            out[t] = abs(x[t] - middle) / max(mad, max((high - low) / 64, 1e-9))
        low, high = min(low, x[t]), max(high, x[t])


@native.jit
def _held(score: Floats, decay: int, out: Floats) -> None:
    """A peak hold, as ours: a score counts when it exceeds twice the last that counted, decaying with 2^-decay."""
    peak = 0.0
    for t in range(len(score)):
        if score[t] > peak:
            out[t], peak = score[t], 2 * score[t]
        else:
            peak -= peak * 2.0**-decay


def _run(loop: Callable[..., None], *arguments: float) -> Method:
    def method(x: Floats) -> Floats:
        out = np.zeros(len(x))
        loop(x, *arguments, out)
        return out

    return method


def _holding(method: Method, decay: int, x: Floats) -> Floats:
    out = np.zeros(len(x))
    _held(method(x), decay, out)
    return out


def _adwin(delta: float, x: Floats) -> Floats:
    """river's ADWIN: 1 where it sees a change (Bifet and Gavalda 2007)."""
    make: Any = importlib.import_module("river.drift").ADWIN
    detector, out = make(delta=delta), np.zeros(len(x))
    scale = float(np.ptp(x[: max(len(x) * 15 // 100, 2)])) or 1.0
    for t, value in enumerate((x / scale).tolist()):
        detector.update(value)
        out[t] = 1.0 if detector.drift_detected else 0.0
    return out


def _trees(window: int, x: Floats) -> Floats:
    """river's half-space trees over the last three values (Tan 2011); the score is -log2(1 - its score)."""
    make: Any = importlib.import_module("river.anomaly").HalfSpaceTrees
    head = x[: max(len(x) * 15 // 100, 2)]
    low, span = float(head.min()), float(np.ptp(head)) or 1.0
    limits = dict.fromkeys("abc", (0.0, 1.0))
    trees, out = make(n_trees=10, height=8, window_size=window, limits=limits, seed=1), np.zeros(len(x))
    scaled = np.clip((x - low) / span * 0.5 + 0.25, 0, 1).tolist()
    for t in range(2, len(scaled)):
        point = {"a": scaled[t], "b": scaled[t - 1], "c": scaled[t - 2]}
        out[t] = -np.log2(max(1 - trees.score_one(point), 2**-40)) if t > window else 0.0
        trees.learn_one(point)
    return out


def methods() -> Iterator[tuple[str, list[Method]]]:
    """Name and candidates (parameters to choose from) of each peer, each also behind a peak hold, as ours is."""
    plain: dict[str, list[Method]] = {
        "Welford k-sigma": [_run(_deviation, 0, change) for change in (False, True)],
        "forgetting k-sigma": [_run(_deviation, shift, change) for shift in (6, 8, 10) for change in (False, True)],
        "EWMA chart": [_run(_ewma, short, shift) for short in (2, 4, 6) for shift in (8, 10)],
        "CUSUM": [_run(_cusum, drift, shift) for drift in (0.5, 1.0, 2.0) for shift in (7, 9, 11)],
        "Hampel": [_run(_hampel, width) for width in (64, 256)],
        "ADWIN (river)": [partial(_adwin, delta) for delta in (0.002, 1e-4, 1e-8)],
        "half-space trees (river)": [partial(_trees, 250)],
    }
    for name, found in plain.items():
        if name.startswith("ADWIN"):
            yield name, found
        else:
            yield name, [*found, *(partial(_holding, method, decay) for method in found for decay in (6, 8))]
