"""What a mode that is not exact may change: limits per column in the column's unit, and in steps of its integers.

A decoded value lies within the limit of the true one, plus the rounding of the column's own type where that is
floating point. Times, durations, truth values, words, gaps and integers that need more than 32 bits are never
changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive.block import Loss
from qres_host.archive.chunk import BITS, NUMBER, Chunk, assign_extras
from qres_host.archive.meta import MODES, WAV, Meta
from qres_host.archive.source import Batch

Array = npt.NDArray[Any]

LIMIT_MAX = Fraction(10**308)
_EXACT = float(1 << 53)


class Limits:
    """The limits of an archive's columns. `mode` is one of MODES; `limits` has one number for all or one a column."""

    def __init__(self, mode: str, limits: Sequence[Fraction]) -> None:
        """Raises ValueError for a limit below zero or beyond floating point."""
        if any(not 0 <= limit <= LIMIT_MAX for limit in limits):
            raise ValueError("a limit below zero or beyond 1e308")
        self.mode = mode
        self.limits = list(limits)

    def record(self, meta: Meta) -> None:
        """Write the limits into the metadata, from which `of` takes them."""
        meta.mode = MODES.index(self.mode)
        meta.tolerance = " ".join(map(_shown, self.limits))

    def apply(self, chunks: list[Chunk], meta: Meta, text: bool) -> tuple[list[Chunk], Loss]:
        """Return the chunks with floating point quantised, and the limit of each in steps of its integers."""
        limits = self.limits if len(self.limits) > 1 else self.limits * len(chunks)
        out, steps, ranges = [], [], []
        for i, (chunk, limit) in enumerate(zip(chunks, limits)):
            lost = Fraction(0)
            free = bool(limit) and i != meta.time and _is_measured(chunk, meta.columns[i].kind)
            if free and chunk.form == BITS:
                chunk = quantise(chunk, float(limit), text)
                lost = Fraction(51, 100)
            if free and chunk.narrow:
                lost = _narrow_rounding(chunk, float(limit))
            if free and chunk.nudges is not None:
                chunk = replace(chunk, nudges=None)
            out.append(chunk)
            free = free and chunk.form == NUMBER
            steps.append(max(math.floor(limit * 10**chunk.places - lost), 0) if free else 0)
            ranges.append(_range(meta, i, chunk.places))
        return out, Loss(self.mode, steps, ranges)


def _narrow_rounding(chunk: Chunk, limit: float) -> Fraction:
    """Return how far rounding two numbers to binary32 may move them apart, in steps of the chunk's integers."""
    greatest = float(np.abs(chunk.integers).max(initial=0)) / 10.0**chunk.places + limit
    spacing = float(np.spacing(np.float32(min(greatest, 1e38))))
    return Fraction(spacing) * int(10**chunk.places)


def _is_measured(chunk: Chunk, kind: str) -> bool:
    """Return whether a chunk of a column of type `kind` holds numbers that may change."""
    if kind[1:2] in ("b", "m", "M"):
        return False
    # Unsigned numbers from 2^63 on are negative here: beside small ones they would seem near.
    return not (kind[1:] == "u8" and chunk.rows and int(chunk.integers.min()) < 0)


def _range(meta: Meta, column: int, places: int) -> tuple[int, int]:
    """Return the least and the greatest integer of a column with so many decimals that its type can hold."""
    kind = np.dtype(meta.columns[column].kind or "i8")
    if kind.kind == "f":
        greatest = int(np.finfo(kind).max) * 10**places
        return -greatest, greatest
    if kind.kind not in "iu":
        kind = np.dtype("i8")
    bits = 24 if meta.origin == WAV and meta.details[0] == 3 else 8 * kind.itemsize
    return (0, (1 << bits) - 1) if kind.kind == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def of(meta: Meta) -> Limits | None:
    """Return the limits that an archive was begun with, None for an exact one."""
    if not meta.mode:
        return None
    try:
        limits = [Fraction(part) for part in meta.tolerance.split()]
        if len(limits) not in (1, len(meta.columns)):
            raise ValueError
        return Limits(MODES[meta.mode], limits)
    except (ValueError, ZeroDivisionError):
        raise CodecError("unknown limits of a mode") from None


def _shown(limit: Fraction) -> str:
    number = repr(float(limit))
    return number if Fraction(number) == limit else str(limit)


def quantise(chunk: Chunk, limit: float, text: bool) -> Chunk:
    """Return floating point as decimals that lie within a twentieth of `limit`; unchanged when it has no such form."""
    values = chunk.floats(np.float64).astype(np.float64)
    places = max(math.ceil(-math.log10(limit)) + 1, 0)
    own = chunk.codes > 0 if chunk.codes is not None else np.zeros(chunk.rows, bool)
    with np.errstate(all="ignore"):
        scaled = np.rint(values * 10.0**places)
        bad = own | ~(np.abs(scaled) <= _EXACT)
    if places > 18:
        return chunk
    raw = np.ascontiguousarray(chunk.floats(None)).astype(f"<f{chunk.width}", copy=False)
    texts = []
    for row in np.flatnonzero(bad).tolist():
        if own[row]:
            assert chunk.codes is not None
            texts.append(chunk.extras[int(chunk.codes[row]) - 1])
        else:
            texts.append(repr(float(values[row])).encode() if text else raw[row].tobytes())
    integers = np.where(bad, 0, scaled).astype(np.int64)
    found = Chunk(NUMBER, chunk.rows, integers, places=places, least=min(places, 1))
    return found if assign_extras(found, bad, texts) else chunk


def share_of_range(batches: Iterable[Batch], columns: int, percent: Fraction) -> list[Fraction]:
    """Return `percent` of each column's range over all blocks; 0 for columns without numbers."""
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for chunks, _ in batches:
        for i, chunk in enumerate(chunks):
            if chunk.form in (NUMBER, BITS) and chunk.rows:
                values = chunk.floats(np.float64).astype(np.float64)
                known = values[np.isfinite(values)]
                if len(known):
                    low[i], high[i] = min(low[i], known.min()), max(high[i], known.max())
    spans = np.where(high > low, high - low, 0.0)
    # Twelve digits: the range of decimals without what subtracting them has left behind.
    return [Fraction(f"{span:.12g}") * percent / 100 for span in spans.tolist()]
