"""Recordings as the boards would sense them: the numeric columns of a file as whole steps, with what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host.archive import inputs
from qres_host.archive.chunk import BITS, NUMBER, Chunk, number_of
from qres_host.errors import USAGE, QresError

CHANNELS_MAX = 15  # of a board
_STEPS_MAX = 2**27  # numbers with more digits than fit are rounded to about so many steps
_PLACES_MAX = 9


class Recording(NamedTuple):
    """`x` int32 and `missing` bool are (row, channel); value = x * step of the channel."""

    channels: tuple[str, ...]
    x: NDArray[np.int32]
    missing: NDArray[np.bool_]
    steps: tuple[float, ...]


def load(path: str, channels: Sequence[str] = ()) -> Recording:
    """Read a table (csv, npy, npz, parquet; `-`: standard input): its numeric columns, or the named ones in that order.

    QresError for a file that is no table, a column that is not there or no number, and for too many channels.
    """
    with inputs.taken(path) as given:
        return of(given, channels)


def of(given: inputs.Input, channels: Sequence[str] = ()) -> Recording:
    """As `load`, of an input that was taken already."""
    source = inputs.table(given, None, "fast")
    if source is None:
        raise QresError(f"{given.name} is no table", "give csv, npy, npz or parquet with numeric columns", USAGE)
    blocks = [chunks for chunks, _ in source.read()]
    names = [column.name.strip().strip('"') or f"ch{i}" for i, column in enumerate(source.meta.columns)]
    found: dict[str, list[Chunk]] = {}
    for i, name in enumerate(names):
        parts = [chunks[i] for chunks in blocks]
        there = any(not part.missing().all() for part in parts)
        if i != source.meta.time and there and all(part.form in (NUMBER, BITS) for part in parts):
            found[name] = parts
    for name in channels:
        if name not in found:
            remedy = "choose from " + ", ".join(found) if found else "it has none"
            raise QresError(f"{given.name} has no numeric column {name}", remedy, USAGE)
    chosen = list(channels) or list(found)
    if not chosen:
        raise QresError(f"{given.name} has no numeric column", "give numbers, a column a channel", USAGE)
    if len(chosen) > CHANNELS_MAX:
        raise QresError(
            f"{given.name} has {len(chosen)} channels, a board {CHANNELS_MAX} at most", "choose with --channels", USAGE
        )
    columns = [_column(found[name]) for name in chosen]
    x, missing, steps = zip(*columns, strict=True)
    return Recording(tuple(chosen), np.stack(x, 1), np.stack(missing, 1), steps)


def _column(parts: list[Chunk]) -> tuple[NDArray[np.int32], NDArray[np.bool_], float]:
    values = np.concatenate([_floats(part) for part in parts])
    missing = ~np.isfinite(values)
    values = np.where(missing, 0.0, values)
    exact = all(part.form == NUMBER for part in parts)
    places = max(part.places for part in parts) if exact else _PLACES_MAX
    largest = float(np.abs(values).max(initial=0))
    if largest * 10**places > 2**31 - 1 or not exact:
        places = min(places, math.floor(math.log10(_STEPS_MAX / largest)) if largest else 0)
    if places < -_PLACES_MAX:
        raise QresError("a column's numbers are too large", "scale them to what a sensor reads", USAGE)
    return np.rint(values * 10.0**places).astype(np.int32), missing, 10.0**-places


def _floats(part: Chunk) -> NDArray[np.float64]:
    """The cells as numbers, NaN where there is none."""
    values: NDArray[np.float64] = part.floats(np.float64).astype(np.float64)
    for code, text in enumerate(part.extras, 1):
        number = number_of(text)
        values[part.codes == code] = math.nan if number is None else number
    return values
