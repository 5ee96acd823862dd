"""Text of many cells at once: cells cut out of a buffer, and cells as a matrix of bytes with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Cells(NamedTuple):
    """Texts inside a buffer: uint8 `buffer`, and `start` and `length` (int64) of each cell."""

    buffer: Array
    start: Array
    length: Array

    def text(self, row: int) -> bytes:
        """Return the text of one row as bytes."""
        first = int(self.start[row])
        return self.buffer[first : first + int(self.length[row])].tobytes()

    def rows(self) -> int:
        """Return the number of cells."""
        return len(self.start)

    def texts(self, rows: Sequence[int] | None = None) -> list[bytes]:
        """Return the texts of some rows, or of all."""
        start, length = (self.start, self.length) if rows is None else (self.start[rows], self.length[rows])
        data = self.buffer.tobytes() if len(start) else b""
        return [data[first : first + count] for first, count in zip(start.tolist(), length.tolist())]


class Glyphs(NamedTuple):
    """Texts as a matrix: row i reads `matrix[i][mask[i]]`."""

    matrix: Array
    mask: Array

    def texts(self) -> list[bytes]:
        """Return each row's text."""
        data, ends = self.matrix[self.mask].tobytes(), np.cumsum(self.mask.sum(axis=1)).tolist()
        return [data[a:b] for a, b in zip([0, *ends[:-1]], ends)]


def cells_of(texts: Sequence[bytes]) -> Cells:
    """Return cells over the joined `texts`."""
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    return Cells(np.frombuffer(b"".join(texts), np.uint8), np.cumsum(length) - length, length)


def glyphs_of(cells: Cells) -> Glyphs:
    """Return cells as a matrix as wide as the longest of them."""
    width = int(cells.length.max(initial=0))
    columns = np.arange(width)
    mask = columns < cells.length[:, None]
    at = np.where(mask, cells.start[:, None] + columns, 0)
    matrix = cells.buffer[at] if len(cells.buffer) else np.zeros(at.shape, np.uint8)
    return Glyphs(matrix, mask)


def overwrite(glyphs: Glyphs, rows: Array, text: bytes) -> Glyphs:
    """Return `glyphs` with `text` in the given rows."""
    matrix, mask = glyphs
    wider = len(text) - matrix.shape[1]
    if wider > 0:
        matrix, mask = np.pad(matrix, ((0, 0), (0, wider))), np.pad(mask, ((0, 0), (0, wider)))
    matrix[rows, : len(text)] = np.frombuffer(text, np.uint8)
    mask[rows] = np.arange(matrix.shape[1]) < len(text)
    return Glyphs(matrix, mask)


def lines(columns: Sequence[Glyphs], delimiter: bytes, end: bytes) -> bytes:
    """Return the rows of some columns as text: cells joined by `delimiter`, each row closed by `end`."""
    rows = len(columns[0].matrix)
    matrices, masks = [], []
    for i, (matrix, mask) in enumerate(columns):
        after = np.frombuffer(end if i == len(columns) - 1 else delimiter, np.uint8)
        matrices += [matrix, np.broadcast_to(after, (rows, len(after)))]
        masks += [mask, np.ones((rows, len(after)), bool)]
    text: Array = np.concatenate(matrices, axis=1)[np.concatenate(masks, axis=1)]
    return text.tobytes()
