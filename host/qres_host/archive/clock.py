"""Dates and times as text and as integers: ISO 8601 and its cousins of fixed width, many cells at once.

A template writes one character a digit: `YYYY-MM-DDThh:mm:ss.ffffffZ`. Runs of Y, M, D, h, m, s and f are fields, all
else stands for itself. The integer counts units of the last field (days, minutes, seconds or their fractions) from
1970-01-01 as the text says it: a zone's offset is part of the template, not of the count.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive.glyphs import Cells, Glyphs

Array = npt.NDArray[Any]

TEMPLATE_MAX = 48
_TIME = rb"(?:([T ])(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?"
_ZONE = rb" ?(?:Z|UTC|[+-]\d\d:?\d\d)?$"
_YEAR_FIRST = re.compile(rb"(\d{4})([-/.])\d\d\2\d\d" + _TIME + _ZONE)
_YEAR_LAST = re.compile(rb"\d\d([-/.])\d\d\1(\d{4})" + _TIME + _ZONE)
_FIELDS = re.compile(rb"(Y+|M+|D+|h+|m+|s+|f+)")
_UNITS = {1: "D", 24: "h", 1440: "m", 86400: "s", 3: "ms", 6: "us", 9: "ns"}
_OFFSET = re.compile(rb"([+-])(\d\d):?(\d\d)$")
_WIDTHS = {b"Y": (4, 4), b"M": (2, 2), b"D": (2, 2), b"h": (2, 2), b"m": (2, 2), b"s": (2, 2), b"f": (1, 9)}


def templates(text: bytes) -> list[bytes]:
    """Return the templates that `text` may follow; none when it is no time."""
    for pattern, heads in ((_YEAR_FIRST, (b"YYYY?MM?DD",)), (_YEAR_LAST, (b"DD?MM?YYYY", b"MM?DD?YYYY"))):
        match = pattern.match(text)
        if match is not None:
            mark = text[4:5] if heads[0][0] == 89 else text[2:3]
            return [head.replace(b"?", mark) + _clock_part(text[10:]) for head in heads]
    return []


def _clock_part(text: bytes) -> bytes:
    if text[3:4] != b":":
        return text
    out = text[:1] + b"hh:mm"
    if text[6:7] == b":":
        out += b":ss"
        fraction = re.match(rb"[.,](\d{1,9})", text[9:])
        if fraction:
            out += text[9:10] + b"f" * len(fraction[1])
    return out + text[len(out) :]


class Clock:
    """One template: reads cells into counts and writes counts as text."""

    def __init__(self, template: bytes) -> None:
        """Raises CodecError for what is no template."""
        self.template = template
        self.at: dict[bytes, tuple[int, int]] = {}
        for match in _FIELDS.finditer(template):
            name = match[0][:1]
            shortest, longest = _WIDTHS[name]
            if name in self.at or not shortest <= len(match[0]) <= longest:
                raise CodecError("no template of a time")
            self.at[name] = match.span()
        if len(template) > TEMPLATE_MAX or {b"Y", b"M", b"D"} - self.at.keys():
            raise CodecError("no template of a time")
        self.fraction = self.at[b"f"][1] - self.at[b"f"][0] if b"f" in self.at else 0
        fine = 86400 if b"s" in self.at else 1440 if b"m" in self.at else 24 if b"h" in self.at else 1
        self.day = fine * 10**self.fraction  # units a day
        self.second = self.day / 86400  # units a second

    def offset(self) -> int | None:
        """Return the zone's offset in seconds, None where the text names no zone."""
        match = _OFFSET.search(self.template)
        if match is not None:
            return (int(match[2]) * 3600 + int(match[3]) * 60) * (1 if match[1] == b"+" else -1)
        return 0 if self.template.endswith((b"Z", b"UTC")) else None

    def parse(self, cells: Cells) -> tuple[Array, Array]:
        """Return (counts, good): good are the cells that `render` gives back."""
        width = len(self.template)
        good = cells.length == width
        at = np.where(good, cells.start, 0)
        if len(cells.buffer) < width:
            return np.zeros(cells.rows(), np.int64), np.zeros(cells.rows(), bool)
        texts = cells.buffer[at[:, None] + np.arange(width)]
        number = {name: np.zeros(len(at), np.int64) for name in _WIDTHS}
        for name, (first, end) in self.at.items():
            for k in range(first, end):
                digit = texts[:, k] - np.uint8(48)
                good &= digit < 10
                number[name] = number[name] * 10 + np.minimum(digit, 9)
        good &= (number[b"M"] >= 1) & (number[b"M"] <= 12) & (number[b"D"] >= 1)
        months = (number[b"Y"] - 1970) * 12 + number[b"M"] - 1
        days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + number[b"D"] - 1
        within = (number[b"h"] * 3600 + number[b"m"] * 60 + number[b"s"]) * self.day // 86400
        if self.fraction:
            within = (number[b"h"] * 3600 + number[b"m"] * 60 + number[b"s"]) * 10**self.fraction + number[b"f"]
        good &= np.abs(days.astype(np.float64)) * self.day < 2.0**62
        counts = np.where(good, days * self.day + within, 0)
        back = self.render(counts).matrix
        good &= (back == texts).all(axis=1)
        return counts, good

    def render(self, counts: Array) -> Glyphs:
        """Return the text of `counts`; CodecError for a year beyond 0 to 9999."""
        days = counts // self.day
        if len(days) and not -719_528 <= int(days.min()) <= int(days.max()) < 2_932_897:
            raise CodecError("a time beyond the year 9999")
        within = counts - days * self.day
        dates = days.astype("M8[D]")
        months = dates.astype("M8[M]")
        fraction = within % 10**self.fraction
        seconds = within // 10**self.fraction * 86400 // (self.day // 10**self.fraction)
        number = {
            b"Y": months.astype("M8[Y]").astype(np.int64) + 1970,
            b"M": months.astype(np.int64) % 12 + 1,
            b"D": (dates - months.astype("M8[D]")).astype(np.int64) + 1,
            b"h": seconds // 3600,
            b"m": seconds // 60 % 60,
            b"s": seconds % 60,
            b"f": fraction,
        }
        matrix = np.empty((len(counts), len(self.template)), np.uint8)
        matrix[:] = np.frombuffer(self.template, np.uint8)
        for name, (first, end) in self.at.items():
            rest = number[name]
            for k in range(end - 1, first - 1, -1):
                matrix[:, k] = rest % 10 + 48
                rest = rest // 10
        return Glyphs(matrix, np.ones(matrix.shape, bool))

    def times(self, counts: Array) -> Array:
        """Return `counts` as datetime64 of the coarsest unit that holds them; the zone is dropped."""
        if self.fraction:
            digits = -(-self.fraction // 3) * 3
            counts = counts * 10 ** (digits - self.fraction)
            return counts.astype(np.dtype(f"M8[{_UNITS[digits]}]"))
        return counts.astype(np.dtype(f"M8[{_UNITS[self.day]}]"))


def parse_moment(text: str, offset: int | None) -> float:
    """Return the second from 1970 that `text` names, on a clock of zone `offset` (seconds; None: as written).

    Raises ValueError for what is no time.
    """
    data = text.strip().encode()
    for template in templates(data):
        clock = Clock(template)
        counts, good = clock.parse(Cells(np.frombuffer(data, np.uint8), np.zeros(1, np.int64), np.array([len(data)])))
        if good[0]:
            own = clock.offset()
            shift = 0 if own is None else (offset or 0) - own
            return float(counts[0] / clock.second) + shift
    raise ValueError(f"{text!r} is no time")
