"""A chunk: one column of one block, in the form that suits its cells, with every cell that does not fit kept as it is.

Forms: NUMBER (scaled integers), CLOCK (times), BITS (floating point, byte by byte), TEXT. A cell that its column's form
cannot write back exactly (a gap, NaN, `-0.0`, a word) is an *extra*: the row has a code, and the code stands for its
exact text or, in a column that came from an array, its exact bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive.clock import Clock
from qres_host.archive.decimal import PLACES_MAX, divide, render
from qres_host.archive.fields import Fields, string, varint
from qres_host.archive.glyphs import Cells, Glyphs, cells_of, glyphs_of, overwrite

Array = npt.NDArray[Any]

NUMBER, CLOCK, BITS, TEXT = range(4)
EXTRAS_MAX = 255
SEPARATOR = 0xFF  # of the cells of a TEXT chunk: no UTF-8 text contains it
_EXTRA_BYTES_MAX = 4096
_MORE, _NARROW, _TRIMMED = 0x20, 0x40, 0x80
_COMMA, _NUDGED = 1, 2


@dataclass(slots=True)
class Chunk:
    """One column of one block. `integers` serve NUMBER and CLOCK; `blob` holds the cells of BITS and TEXT.

    `places` decimals, trailing zeros trimmed down to `least`; `comma` instead of a point; `narrow`: the number is the
    float32 next to the decimal; `nudges` (None for none): steps from the nearest floating-point number to the true
    one, as arithmetic leaves them. `codes` (uint8, a row each, None for no extras): 0 or 1 + the index in `extras`.
    """

    form: int
    rows: int
    integers: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    blob: bytes = b""
    places: int = 0
    least: int = 0
    comma: bool = False
    narrow: bool = False
    nudges: Array | None = None
    template: bytes = b""
    width: int = 8
    codes: Array | None = None
    extras: list[bytes] = field(default_factory=list)

    def parameters(self) -> bytes:
        """Return what the form needs to know, as bytes."""
        if self.form == NUMBER:
            trimmed = self.least != self.places
            more = self.comma * _COMMA | (self.nudges is not None) * _NUDGED
            flags = (more > 0) * _MORE | self.narrow * _NARROW | trimmed * _TRIMMED
            return bytes((self.places | flags, *([more] if more else []), *([self.least] if trimmed else [])))
        if self.form == CLOCK:
            return string(self.template)
        return bytes((self.width,)) if self.form == BITS else b""

    def extra_table(self) -> bytes:
        """Return the extras' table as bytes: their number, then each one."""
        return varint(len(self.extras)) + b"".join(map(string, self.extras))

    def part(self, first: int, stop: int) -> Chunk:
        """Return rows `first` to `stop` of this chunk."""
        whole = first <= 0 and stop >= self.rows
        return self if whole else self.pick(np.arange(max(first, 0), min(stop, self.rows)))

    def pick(self, rows: Array) -> Chunk:
        """Return some rows of this chunk, by number."""
        blob = b""
        if self.form == TEXT:
            blob = b"".join(text + bytes((SEPARATOR,)) for text in self.cells().texts(rows.tolist()))
        elif self.form == BITS:
            blob = shuffle(self.floats(None)[rows])
        codes = self.codes[rows] if self.codes is not None else None
        integers = self.integers[rows] if self.form in (NUMBER, CLOCK) else self.integers
        nudges = self.nudges[rows] if self.nudges is not None else None
        return replace(self, rows=len(rows), integers=integers, nudges=nudges, blob=blob, codes=codes)

    def text_width(self) -> int:
        """Return how wide a cell's text may be."""
        longest = max(map(len, self.extras), default=0)
        if self.form == TEXT:
            return max(longest, int(self.cells().length.max(initial=0)))
        return max(longest, len(self.template), 26)

    def glyphs(self) -> Glyphs:
        """Return the cells' text."""
        return self._with_extras(self._plain_glyphs())

    def _plain_glyphs(self) -> Glyphs:
        if self.form == CLOCK:
            return Clock(self.template).render(self.integers)
        if self.form == TEXT:
            return glyphs_of(self.cells())
        if self.form == NUMBER and not self.narrow and self.nudges is None:
            return render(self.integers, self.places, self.least, 44 if self.comma else 46)
        return glyphs_of(cells_of([repr(number).encode() for number in self.floats(np.float64).tolist()]))

    def _with_extras(self, glyphs: Glyphs) -> Glyphs:
        if self.codes is not None:
            for code, text in enumerate(self.extras, 1):
                glyphs = overwrite(glyphs, np.flatnonzero(self.codes == code), text)
        return glyphs

    def floats(self, kind: Any) -> Array:
        """Return NUMBER or BITS cells as floating-point numbers of type `kind`, extras not considered."""
        if self.form == BITS:
            return unshuffle(self.blob, self.rows, self.width)
        found: Array = divide(self.integers, self.places, np.float32 if self.narrow else kind).astype(kind)
        if self.nudges is not None:
            bits = f"i{found.dtype.itemsize}"
            found = (found.view(bits) + self.nudges.astype(bits)).view(found.dtype)
        return found

    def cells(self) -> Cells:
        """Return the cells of a TEXT chunk."""
        buffer = np.frombuffer(self.blob, np.uint8)
        ends = np.flatnonzero(buffer == SEPARATOR)
        if len(ends) != self.rows or (self.blob and self.blob[-1] != SEPARATOR):
            raise CodecError("cells do not match rows")
        start = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: self.rows]
        return Cells(buffer, start, ends - start)

    def missing(self) -> Array:
        """Return which rows (bool) hold no number or time: gaps, NaN, words."""
        absent = np.zeros(self.rows, bool)
        if self.codes is not None:
            for code, text in enumerate(self.extras, 1):
                if number_of(text) is None:
                    absent |= self.codes == code
        return absent


def number_of(text: bytes) -> float | None:
    """Return the finite or infinite number that an extra of a text column says, None when it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number else number


def read_parameters(form: int, fields: Fields, chunk: Chunk) -> None:
    """Fill `chunk` with the form's parameters; CodecError for what no form has."""
    if form == NUMBER:
        byte = fields.byte()
        chunk.places = chunk.least = byte & 0x1F
        more = fields.byte() if byte & _MORE else 0
        chunk.comma, chunk.narrow = bool(more & _COMMA), bool(byte & _NARROW)
        chunk.nudges = np.zeros(0, np.int64) if more & _NUDGED else None
        if byte & _TRIMMED:
            chunk.least = fields.byte()
        if chunk.places > PLACES_MAX or chunk.least > chunk.places or more & ~(_COMMA | _NUDGED):
            raise CodecError("more decimals than there can be")
    elif form == CLOCK:
        chunk.template = fields.string(64)
        Clock(chunk.template)
    elif form == BITS:
        chunk.width = fields.byte()
        if chunk.width not in (2, 4, 8):
            raise CodecError("no such floating-point type")
    elif form != TEXT:
        raise CodecError(f"unknown form {form} of a column: a newer QRES wrote this")


def read_extras(fields: Fields) -> list[bytes]:
    """Return the extras' table."""
    return [fields.string(_EXTRA_BYTES_MAX) for _ in range(fields.varint(EXTRAS_MAX))]


def assign_extras(chunk: Chunk, bad: Array, texts: list[bytes]) -> bool:
    """Make the cells that `bad` marks (bool, a row each) extras with these texts; False when they are too many.

    Few different ones may be many, many different ones only few: a column of words is TEXT.
    """
    if not texts:
        return True
    table = {text: i for i, text in enumerate(dict.fromkeys(texts), 1)}
    many = len(texts) == chunk.rows or len(texts) * 8 > chunk.rows + 8
    if len(table) > (1 if len(texts) == chunk.rows else 16 if many else EXTRAS_MAX - 1):  # one is left for gaps
        return False
    if max(map(len, table)) > _EXTRA_BYTES_MAX:
        return False
    chunk.codes = np.zeros(chunk.rows, np.uint8)
    chunk.codes[bad] = [table[text] for text in texts]
    chunk.extras = list(table)
    chunk.integers = held(chunk.integers, bad)
    if chunk.nudges is not None:
        chunk.nudges = np.where(bad, 0, chunk.nudges)
    return True


def held(values: Array, bad: Array) -> Array:
    """Return `values` with the bad ones replaced by the good one before, which costs a predictor least."""
    if not len(values) or bad.all():
        return np.zeros_like(values)
    at = np.where(bad, 0, np.arange(len(values)))
    at[: int((~bad).argmax())] = (~bad).argmax()
    return values[np.maximum.accumulate(at)]


def shuffle(values: Array) -> bytes:
    """Return floating-point `values` as their bytes, little-endian, first all lowest bytes, then the next."""
    width = values.dtype.itemsize
    raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).view(np.uint8)
    return np.ascontiguousarray(raw.reshape(-1, width).T).tobytes()


def unshuffle(blob: bytes, rows: int, width: int) -> Array:
    """Return what `shuffle` was given; CodecError for another length."""
    if len(blob) != rows * width:
        raise CodecError("bytes do not match rows")
    raw = np.ascontiguousarray(np.frombuffer(blob, np.uint8).reshape(width, rows).T)
    return raw.view(f"<f{width}").reshape(rows)
