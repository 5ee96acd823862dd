"""Rows beside each other that are alike, in tables that are kept as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]


def runs(*columns: NDArray[Any]) -> tuple[Places, Places]:
    """Return where runs of rows that are alike in all columns begin, and where they end (exclusive)."""
    fresh = np.zeros(len(columns[0]), bool)
    fresh[:1] = True
    for column in columns:
        differs = column[1:] != column[:-1]
        fresh[1:] |= differs if differs.ndim == 1 else differs.any(axis=1)
    starts = fresh.nonzero()[0]
    ends = np.empty_like(starts)
    ends[:-1], ends[-1:] = starts[1:], len(fresh)
    return starts, ends
