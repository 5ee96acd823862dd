"""The boards' detector and regimes over whole recordings: `run` for programs, `qres detect` (detect_cli) for people.

The numbers are those of a board, bit for bit; the inner loops run as machine code where Numba is installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from qres import detect, joint
from qres.fixed import ONE
from qres.regime import STORM, TABLES, Machine

from qres_host import native, predicting

PROFILES = tuple(sorted(TABLES))
TRAINING = joint.TRAINING
"""Rows whose largest T-squared is the limit of the joint alarm."""
_CHUNK = 4096  # rows between two calls of `watch`

Watch = Callable[[int], None]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Detection(NamedTuple):
    """What `run` found, a row for each of the input.

    `score` float32 (row, channel): in the default profile how rare shift and energy are, 0 while an earlier event is
    held; in the seed's the entropy of each channel. `t2` float32 (row): the joint T-squared over its limit; 0 during
    the first TRAINING rows, with one channel, and in the seed profile. `alarm` bool (row). `entropy` float32 (row),
    0 to 1. `regime` uint8 (row): 0 Calm, 1 PreStorm, 2 Storm.
    """

    score: NDArray[np.float32]
    t2: NDArray[np.float32]
    alarm: Mask
    entropy: NDArray[np.float32]
    regime: NDArray[np.uint8]


def run(
    x: Rows,
    *,
    missing: Mask | None = None,
    profile: str = "default",
    full_scale: Sequence[int] | None = None,
    watch: Watch | None = None,
) -> Detection:
    """Judge each row of `x`, int32 (row, channel), by those before it, as a board does. `missing` marks no values.

    `full_scale`, for the seed profile alone: the range of each channel in steps; else that of the first TRAINING rows.
    `watch` is told how many rows are done. ValueError for an unknown profile and for anything but rows of channels.
    """
    if profile not in TABLES:
        raise ValueError(f"no profile {profile!r}: choose from {', '.join(PROFILES)}")
    rows = np.asarray(x, np.int32)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError("x must have the shape (row, channel)")
    there = np.ones(rows.shape, bool) if missing is None else ~np.asarray(missing, bool)
    tell = watch or (lambda _: None)
    if profile == "seed":
        entropy = _literal(rows, there, full_scale)
        regime = regimes(entropy.max(axis=1), profile, tell)
        share = (entropy / ONE).astype(np.float32)
        alarm = (regime == STORM) & (np.diff(regime, prepend=0) != 0)
        return Detection(share, np.zeros(len(rows), np.float32), alarm, share.max(axis=1), regime)
    score, own = scores(rows, there)
    alarm = (score >= detect.alarm_q8(rows.shape[1])).any(axis=1)
    top = own.max(axis=1)
    ratio = np.zeros(len(rows), np.float32)
    if rows.shape[1] > 1:
        together, ratio = joint_rows(rows, there)
        alarm |= ratio > 1
        top = np.maximum(top, together)
    regime = regimes(top, profile, tell)
    return Detection((score / 256).astype(np.float32), ratio, alarm, (top / ONE).astype(np.float32), regime)


def threshold(channels: int) -> float:
    """The score from which one of so many channels raises an alarm."""
    return detect.alarm_q8(channels) / 256


def scores(rows: Rows, there: Mask, tuning: Sequence[int] = tuple(detect.TUNING)) -> tuple[Rows, Rows]:
    """Each channel's score, Q8, and entropy, Q16.16, at every row; (row, channel). `tuning` as detect.TUNING."""
    score, own = np.zeros(rows.shape, np.int32), np.zeros(rows.shape, np.int32)
    parameters, work = np.array(tuning, np.int32), np.zeros(detect.WORK, np.int32)
    for c in range(rows.shape[1]):
        at = np.flatnonzero(there[:, c])
        if len(at):
            values = rows[at, c].astype(np.int64)
            offsets = np.clip(values - values[0], -detect.OFFSET_MAX, detect.OFFSET_MAX).astype(np.int32)
            found = np.zeros((2, len(at)), np.int32)
            _observe()(offsets, np.zeros(detect.WORDS, np.int32), parameters, work, found[0], found[1])
            score[at, c] = found[0]
            own[at, c] = np.minimum((found[1].astype(np.int64) << 16) // detect.FULL_Q8, ONE)
    return score, own


def _observe() -> Callable[..., None]:
    """The loop over a channel's offsets: kernel `observe` of each, its results into two arrays."""
    if not _loops:
        observe, at = native.load("detect").observe, detect.SCORE

        def loop(offsets: Any, state: Any, tuning: Any, work: Any, score: Any, own: Any) -> None:
            for i in range(len(offsets)):
                own[i] = observe(int(offsets[i]), 0, state, tuning, work)
                score[i] = work[at]

        _loops.append(native.numba.njit(loop) if native.COMPILED else loop)
    return _loops[0]


_loops: list[Callable[..., None]] = []


@contextlib.contextmanager
def _compiled(module: ModuleType, owners: Sequence[str]) -> Iterator[None]:
    """Let a module's classes call kernels as machine code, where Numba is installed."""
    with contextlib.ExitStack() as stack:
        for owner in owners if native.COMPILED else ():
            for name, value in vars(native.load(owner)).items():
                if hasattr(value, "py_func") and hasattr(module, name):
                    stack.enter_context(patch.object(module, name, value))
        yield


def joint_rows(rows: Rows, there: Mask) -> tuple[Rows, NDArray[np.float32]]:
    """The joint entropy, Q16.16, and T-squared over its limit (0 during the training) of every row."""
    it = joint.Joint(rows.shape[1])
    entropy, ratio = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.float32)
    with _compiled(joint, ("joint", "detect")):
        for i, (row, known) in enumerate(zip(rows.tolist(), there.tolist(), strict=True)):
            entropy[i] = it.push(tuple(v if k else None for v, k in zip(row, known, strict=True)))
            if it.rows > TRAINING:
                ratio[i] = it.t2 / max(it.limit, 1)
    return entropy, ratio


def regimes(entropy: NDArray[Any], profile: str, watch: Watch) -> NDArray[np.uint8]:
    """The regime after each entropy (Q16.16) of a node that has seen nothing before."""
    machine = Machine(profile)
    out = np.zeros(len(entropy), np.uint8)
    for begin in range(0, len(entropy), _CHUNK):
        part = entropy[begin : begin + _CHUNK].tolist()
        out[begin : begin + len(part)] = [machine.push(e) for e in part]
        watch(begin + len(part))
    return out


def _literal(rows: Rows, there: Mask, full_scale: Sequence[int] | None) -> NDArray[np.int64]:
    """Entropies of the seed profile, Q16.16 (row, channel): |residual| of the linear predictor over the full scale."""
    ahead = predicting.run(rows, "linear", missing=~there).ahead
    out = np.zeros(rows.shape, np.int64)
    for c in range(rows.shape[1]):
        at = np.flatnonzero(there[:, c])[predicting.ORDER + 1 :]
        known = rows[:TRAINING][there[:TRAINING, c], c].astype(np.int64)
        full = full_scale[c] if full_scale else int(np.ptp(known)) if len(known) else 0
        residual = np.abs(rows[at, c].astype(np.int64) - ahead[at, c])
        out[at, c] = np.minimum((residual << 16) // max(full, 1), ONE)
    return out
