"""Which form a column's cells take: from text (csv) and from arrays, always so that each cell comes back exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qres_host.archive import lanes
from qres_host.archive.chunk import BITS, CLOCK, NUMBER, SEPARATOR, TEXT, Chunk, assign_extras, held, number_of, shuffle
from qres_host.archive.clock import Clock, templates
from qres_host.archive.decimal import parse, scale
from qres_host.archive.glyphs import Cells

Array = npt.NDArray[Any]

_PLACES_TRIED = 12
_SAMPLE = 256
_EXACT = float(1 << 53)
_REACH = {2: 1, 4: 2, 8: 8}  # steps that arithmetic may be off, by the bytes of the type
_GAPS = frozenset((b"", b"nan", b"na", b"n/a", b"null", b"none", b"nil", b"-", b"--", b"?"))


def from_cells(cells: Cells) -> Chunk:
    """Return the chunk of a column of text."""
    rows = cells.rows()
    for attempt in (_clock, _decimal_point, _decimal_comma, _floats):
        found = attempt(cells, rows)
        if found is not None:
            return found
    texts = cells.texts()
    return Chunk(TEXT, rows, blob=b"".join(text + b"\xff" for text in texts))


def _settle(chunk: Chunk, good: Array, cells: Cells) -> Chunk | None:
    bad = ~good
    texts = cells.texts(np.flatnonzero(bad).tolist())
    words = sum(text.lower() not in _GAPS and number_of(text) is None for text in texts)
    if words * 8 > cells.rows():
        return None  # a column of words that has some numbers
    return chunk if assign_extras(chunk, bad, texts) else None


def _clock(cells: Cells, rows: int) -> Chunk | None:
    for row in range(min(rows, 3)):
        for template in templates(cells.text(row)):
            counts, good = Clock(template).parse(cells)
            found = _settle(Chunk(CLOCK, rows, counts, template=template), good, cells)
            if found is not None and good.any():
                return found
    return None


def _decimal_point(cells: Cells, rows: int) -> Chunk | None:
    return _decimal(cells, rows, comma=False)


def _decimal_comma(cells: Cells, rows: int) -> Chunk | None:
    return _decimal(cells, rows, comma=True)


def _decimal(cells: Cells, rows: int, comma: bool) -> Chunk | None:
    parsed = parse(cells, 44 if comma else 46)
    values, good, places, least = scale(parsed)
    found = _settle(Chunk(NUMBER, rows, values, places=places, least=least, comma=comma), good, cells)
    if found is not None and not comma and places and lanes.plan(found.integers).kind == lanes.SPLIT:
        # Digits without end are how floating point looks as text; as such it may be short again.
        floats = _floats(cells, rows)
        return floats if floats is not None and floats.form == NUMBER else found
    return found


def _floats(cells: Cells, rows: int) -> Chunk | None:
    texts, values = cells.texts(), np.full(rows, np.nan)
    good = np.zeros(rows, bool)
    for i, text in enumerate(texts):
        try:
            number = float(text)
        except ValueError:
            continue
        values[i], good[i] = number, repr(number).encode() == text and number == number
    if not good.any():
        return None
    chunk = from_floats(values, exact=good)
    if chunk.form == NUMBER and not chunk.narrow and chunk.nudges is None:
        return None  # then its text is no plain decimal
    chunk.codes, chunk.extras = None, []
    return _settle(chunk, good & _matches(chunk, values), cells)


def _matches(chunk: Chunk, values: Array) -> Array:
    return _same(chunk.floats(values.dtype), values)


def _steps(chunk: Chunk, values: Array) -> Array:
    """Return how many floating-point numbers lie between a chunk's and the true ones; huge across zero."""
    bits = f"i{values.dtype.itemsize}"
    found = chunk.floats(values.dtype).view(bits).astype(np.int64)
    steps = values.view(bits).astype(np.int64) - found
    return np.where((values.view(bits) ^ found.astype(bits)) < 0, _EXACT, steps).astype(np.int64)


def _same(a: Array, b: Array) -> Array:
    """Return where two arrays of floating point have the same bits."""
    bits = f"i{a.dtype.itemsize}"
    equal: Array = a.view(bits) == b.view(bits)
    return equal


def from_floats(values: Array, exact: Array | None = None) -> Chunk:
    """Return the chunk of floating-point `values` (native order); rows where `exact` is False need not come back."""
    rows = len(values)
    wanted = np.ones(rows, bool) if exact is None else exact
    probe = values[np.isfinite(values) & wanted]
    probe = probe[:: max(len(probe) // _SAMPLE, 1)]
    narrows = (False, True) if values.dtype.itemsize == 8 else (False,)
    for reach, narrow in [(0, narrow) for narrow in narrows] + [(_REACH[values.dtype.itemsize], n) for n in narrows]:
        places = _places(probe, narrow, reach)
        if places is None:
            continue
        integers = _scaled(values, places, narrow)
        chunk = Chunk(NUMBER, rows, integers, places=places, least=min(places, 1), narrow=narrow)
        if reach:
            steps = _steps(chunk, values)
            chunk.nudges = np.where(np.abs(steps) <= reach, steps, 0)
        bad = ~_matches(chunk, values) & wanted
        if assign_extras(chunk, bad, [value.tobytes() for value in values[bad].astype(values.dtype.newbyteorder("<"))]):
            return chunk
    return Chunk(BITS, rows, blob=shuffle(values), width=values.dtype.itemsize)


def _places(probe: Array, narrow: bool, reach: int) -> int | None:
    """Return the fewest decimals that come within `reach` steps of nearly all of `probe`, None when none do."""
    if not len(probe):
        return 0
    for places in range(_PLACES_TRIED + 1):
        integers = _scaled(probe, places, narrow)
        chunk = Chunk(NUMBER, len(probe), integers, places=places, narrow=narrow)
        if int((np.abs(_steps(chunk, probe)) <= reach).sum()) * 16 >= len(probe) * 15:
            return places
    return None


def _scaled(values: Array, places: int, narrow: bool) -> Array:
    with np.errstate(all="ignore"):
        scaled = np.rint(values.astype(np.float64) * 10.0**places)
        # A float32 has 24 bits: more digits than that are no decimal that someone wrote.
        limit = float(1 << 24) if narrow or values.dtype.itemsize < 8 else _EXACT
        return np.where(np.abs(scaled) <= limit, scaled, 0).astype(np.int64)


def from_array(values: Array, missing: Array | None = None) -> Chunk:
    """Return the chunk of a one-dimensional array: bool, integers, floating point, datetime64 or timedelta64.

    `missing` (bool) marks rows without a value; what the array holds there is not kept.
    """
    values = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f":
        chunk = from_floats(values, None if missing is None else ~missing)
    else:
        integers = values.view(np.int64) if values.dtype.itemsize == 8 else values.astype(np.int64)
        chunk = Chunk(NUMBER, len(values), integers)
    if missing is not None and missing.any():
        _mark_missing(chunk, missing)
    return chunk


def _mark_missing(chunk: Chunk, missing: Array) -> None:
    codes = np.zeros(chunk.rows, np.uint8) if chunk.codes is None else chunk.codes
    chunk.extras = [*chunk.extras, b""]
    codes[missing] = len(chunk.extras)
    chunk.codes = codes
    if chunk.form == NUMBER:
        chunk.integers = held(chunk.integers, missing)


def from_strings(texts: list[str], missing: Array | None = None) -> Chunk:
    """Return the TEXT chunk of strings that never were cells of a csv file; `missing` as in `from_array`."""
    chunk = Chunk(TEXT, len(texts), blob=b"".join(text.encode() + bytes((SEPARATOR,)) for text in texts))
    if missing is not None and missing.any():
        _mark_missing(chunk, missing)
    return chunk
