"""The regimes on simulated noise: false transitions, what is seen of storms, how long they last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qres.regime import CALM, PRESTORM, STORM, TABLES, Machine, rules

from qres_host import detecting

SEEDS = 100
SAMPLES = 10_000
EVENTS = 6  # storms a run
HEIGHT = 10  # of a storm, in standard deviations of the quiet signal
_LEAD, _HIGH = 6, 20  # samples in which a storm rises, and for which it then stays
KINDS = ("normal", "heavy tails", "daily cycle", "slow wander")

Ints = NDArray[np.int32]


def noise(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A signal in which nothing happens; deviation of its fast part about 100."""
    x = rng.normal(0, 100, SAMPLES)
    if kind == "heavy tails":
        x = rng.standard_t(3, SAMPLES) * 60
    elif kind == "daily cycle":
        x = x / 2 + 1000 * np.sin(2 * np.pi * np.arange(SAMPLES) / 1440)
    elif kind == "slow wander":
        for t in range(1, SAMPLES):
            x[t] = 0.98 * x[t - 1] + x[t] * 0.2
    return x


def storms(kind: str, rng: np.random.Generator) -> tuple[Ints, list[int]]:
    """A signal with EVENTS storms, ramps to HEIGHT that then shake there, and the rows at which they begin."""
    x = noise(kind, rng)
    quiet = float(np.std(x))
    starts = [int(v) for v in 1500 + np.arange(EVENTS) * 1350 + rng.integers(0, 300, EVENTS)]
    for start in starts:
        height = HEIGHT * quiet * rng.choice((-1, 1))
        x[start : start + _LEAD] += height * np.arange(1, _LEAD + 1) / _LEAD
        x[start + _LEAD : start + _LEAD + _HIGH] += height * rng.uniform(0.8, 1.4, _HIGH)
    return np.round(x).astype(np.int32), starts


def regimes(x: Ints, profile: str, hysteresis: bool = True) -> NDArray[np.uint8]:
    """The regime at every row; without hysteresis each row of the table fires at once and nothing is waited for."""
    if hysteresis:
        return detecting.run(x[:, None], profile=profile).regime
    entropy = np.round(detecting.run(x[:, None], profile=profile).entropy.astype(np.float64) * 65536).astype(np.int64)
    machine = Machine(profile)
    machine.table = rules(tuple((a, when, 1, 0, b, 0) for a, when, _, _, b, _ in TABLES[profile]))
    return np.array([machine.push(e) for e in entropy.tolist()], np.uint8)


def _rises(regime: NDArray[np.uint8]) -> int:
    return int(((regime[1:] > regime[:-1]) & (regime[1:] > CALM)).sum())


def quiet_rows(seeds: int) -> Iterator[dict[str, Any]]:
    """False transitions (every rise) a thousand samples in which nothing happens, with and without hysteresis."""
    for kind in KINDS:
        for profile in ("default", "seed"):
            counts = np.zeros(2)
            calm = 0.0
            for seed in range(seeds):
                x = np.round(noise(kind, np.random.default_rng(seed))).astype(np.int32)
                own, bare = regimes(x, profile), regimes(x, profile, hysteresis=False)
                counts += (_rises(own), _rises(bare))
                calm += float((own == CALM).mean()) / seeds
            each = counts * 1000 / (seeds * SAMPLES)
            fewer = float(1 - counts[0] / counts[1]) if counts[1] else None
            yield {
                "noise": kind,
                "profile": profile,
                "seeds": seeds,
                "with": float(each[0]),
                "without": float(each[1]),
            } | {
                "fewer": fewer,
                "calm": calm,
            }


def storm_rows(seeds: int) -> Iterator[dict[str, Any]]:
    """Recall of PreStorm and Storm, share of Calm, mean length of a Storm."""
    for kind in KINDS:
        for profile in ("default", "seed"):
            warned = seen = storm_count = storm_samples = 0
            calm = delay = 0.0
            for seed in range(seeds):
                x, starts = storms(kind, np.random.default_rng(1000 + seed))
                regime = regimes(x, profile)
                for start in starts:
                    part = regime[start : start + _LEAD + _HIGH]
                    before = regime[start - 1]
                    reached = np.flatnonzero(part == STORM)
                    first = int(reached[0]) if len(reached) else len(part)
                    warned += bool((part[:first] == PRESTORM).any() or before == PRESTORM)
                    seen += bool(len(reached))
                    delay += first if len(reached) else 0
                storm_samples += int((regime == STORM).sum())
                storm_count += int(((regime[1:] == STORM) & (regime[:-1] != STORM)).sum())
                calm += float((regime == CALM).mean()) / seeds
            total = seeds * EVENTS
            yield {
                "noise": kind,
                "profile": profile,
                "seeds": seeds,
                "prestorm": warned / total,
                "storm": seen / total,
                "delay": delay / max(seen, 1),
                "calm": calm,
                "length": storm_samples / max(storm_count, 1),
            }


def shape_rows(seeds: int) -> Iterator[dict[str, Any]]:
    """Shapes in normal noise: a spike of one sample, a burst of five, ramps; how often each does what it must."""
    at = 3000
    shapes: list[tuple[str, NDArray[np.float64]]] = [
        ("spike of 1", np.array([2000.0])),
        ("burst of 5", np.full(5, 2000.0)),
    ]
    shapes += [
        (f"ramp of {n}", np.concatenate((2000 * np.arange(1, n + 1) / n, np.full(5, 2000.0)))) for n in (4, 16, 64)
    ]
    for name, shape in shapes:
        good = 0
        for seed in range(seeds):
            x = noise("normal", np.random.default_rng(2000 + seed))[: at + 200]
            x[at : at + len(shape)] += shape
            regime = regimes(np.round(x).astype(np.int32), "default")
            part = regime[at : at + len(shape)]
            if name == "spike of 1":
                good += bool((regime[at : at + 20] == CALM).all())
            elif name == "burst of 5":
                good += bool((part == STORM).any())
            else:
                good += bool((part > CALM).any())
        yield {"shape": name, "seeds": seeds, "as_wanted": good / seeds}
