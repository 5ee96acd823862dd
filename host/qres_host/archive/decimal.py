"""Decimal numbers as text and as scaled integers, exact both ways: "21.50" is 2150 with two places."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qres_host.archive.glyphs import Cells, Glyphs

Array = npt.NDArray[Any]

DIGITS_MAX = 18  # any such number fits in 64 bits
PLACES_MAX = 18
_DIGITS_TRIED = DIGITS_MAX + 1  # half of these fit, nanoseconds since 1970 among them
_WIDTH = _DIGITS_TRIED + 2  # a sign and a point
POWERS = 10 ** np.arange(DIGITS_MAX + 1, dtype=np.int64)


class Parsed(NamedTuple):
    """What cells say: values without their point, digits after and in total, and whether the text is canonical."""

    values: Array
    places: Array
    digits: Array
    good: Array


def parse(cells: Cells, point: int) -> Parsed:
    """Read cells as decimal numbers with the byte `point` before the fraction.

    Canonical is: an optional minus, no needless zeros in front, digits on both sides of a point, no minus zero, a
    magnitude below 2^63. Only what is canonical can be written back from its value.
    """
    rows = cells.rows()
    values, places, digits = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    good = (cells.length > 0) & (cells.length <= _WIDTH)
    minus, after = np.zeros(rows, bool), np.zeros(rows, bool)
    leading = np.zeros(rows, bool)  # the whole part began with a zero
    last = max(len(cells.buffer) - 1, 0)
    for k in range(min(int(cells.length.max(initial=0)), _WIDTH)):
        inside = cells.length > k
        byte = cells.buffer[np.minimum(cells.start + k, last)]
        digit = byte - np.uint8(48)
        is_digit = (digit < 10) & inside
        is_point = (byte == point) & inside
        if k == 0:
            minus = (byte == 45) & inside
            good &= is_digit | minus | ~inside
        else:
            good &= is_digit | (is_point & ~after & (digits > 0)) | ~inside
        good &= ~(is_digit & leading & ~after & (digits == 1))
        leading |= is_digit & (digits == 0) & (digit == 0)
        values = np.where(is_digit & (digits < _DIGITS_TRIED), values * 10 + digit, values)
        places += is_digit & after
        digits += is_digit
        after |= is_point
    good &= (digits > 0) & (digits <= _DIGITS_TRIED) & (values >= 0)  # what does not fit has become negative
    good &= (after == (places > 0)) & ~(minus & (values == 0))
    return Parsed(np.where(minus, -values, values), places, digits, good)


def scale(parsed: Parsed) -> tuple[Array, Array, int, int]:
    """Return (values, good, places, least): all values on one scale and which of them `render` gives back as text.

    Either all have `places` digits behind the point (then `least` equals it), or trailing zeros are trimmed down to
    `least` digits, whatever loses fewer cells.
    """
    values, places, digits, good = parsed
    if not good.any():
        return values, good, 0, 0
    counts = np.bincount(places[good])
    usual = int(counts.argmax())
    same = good & (places == usual)
    most, least = len(counts) - 1, int(np.flatnonzero(counts)[0])
    if most == least:
        return values, same, usual, usual
    fits = (digits + most - places <= DIGITS_MAX) | (places == most)
    trimmed = good & ((places == least) | (values % 10 != 0)) & fits
    if int(same.sum()) >= int(trimmed.sum()):
        return values, same, usual, usual
    return values * POWERS[np.where(trimmed, most - places, 0)], trimmed, most, least


def render(values: Array, places: int, least: int, point: int) -> Glyphs:
    """Return the text of int64 `values` that have `places` decimal places, zeros trimmed down to `least` of them."""
    rows = len(values)
    rest = np.abs(values).view(np.uint64)  # the magnitude of -2^63 too
    biggest = int(rest.max(initial=0))
    whole = max(len(str(biggest)) - places, 1)
    width = 1 + whole + (places > 0) + places
    matrix = np.zeros((rows, width), np.uint8)
    needed = np.ones(rows, np.int64)  # digits before the point
    trailing = np.ones(rows, bool)
    mask = np.ones((rows, width), bool)
    for k in range(places + whole):
        quotient = rest // np.uint64(10)
        digit = (rest - quotient * np.uint64(10)).astype(np.uint8)
        rest = quotient
        at = width - 1 - k - (k >= places > 0)
        matrix[:, at] = digit + 48
        if k < places:
            trailing &= digit == 0
            mask[:, at] = ~trailing | (k >= places - least)
        elif k > places:
            needed = np.where(digit > 0, k - places + 1, needed)
    if places:
        matrix[:, 1 + whole] = point
        mask[:, 1 + whole] = mask[:, 2 + whole]
    mask[:, : 1 + whole] = np.arange(whole + 1) > whole - needed[:, None]
    below = np.flatnonzero(values < 0)
    sign = whole - needed[below]
    matrix[below, sign], mask[below, sign] = 45, True
    return Glyphs(matrix, mask)


def divide(values: Array, places: int, kind: Any) -> Array:
    """Return the floating-point numbers of type `kind` that lie nearest to values / 10^places."""
    if places == 0 and np.dtype(kind).itemsize == 8:
        return values.astype(np.float64)
    if int(np.abs(values).max(initial=0)) <= 1 << 53:
        return (values / 10.0**places).astype(kind)
    # Beyond 53 bits the division would round twice.
    return np.array([b.decode() for b in render(values, places, places, 46).texts()]).astype(np.float64).astype(kind)
