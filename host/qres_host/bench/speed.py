"""Calls on short blocks: how many a second, with Numba and without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypedDict

from qres_host.bench.process import Ended, apart
from qres_host.bench.streams import Stream

ROWS = 64
HINT = "int32"
LEAST_S = 0.5


class CallRow(TypedDict, total=False):
    """Blocks of 64 samples of one channel, each encoded by a call of its own."""

    numba: bool
    level: str
    calls_s: float
    worst_ms: float
    error: str


def calls(streams: list[Stream], level: str, numba: bool) -> CallRow:
    """How many calls of `archive.compress` a second, over blocks of every stream in turn."""
    row: CallRow = {"numba": numba, "level": level}
    cut = [s.x[at : at + ROWS, 0].tobytes() for s in streams for at in range(0, len(s.x) - ROWS + 1, 8 * ROWS)]
    try:
        return next(apart(lambda: _calls(cut, row), numba=numba))
    except (Ended, StopIteration) as error:
        return {**row, "error": str(error)}


def _calls(cut: list[bytes], row: CallRow) -> Iterator[CallRow]:
    try:
        from qres_host import archive

        if any(archive.decompress(archive.compress(part, HINT, row["level"])) != part for part in cut[:20]):
            raise ValueError("what was decoded differs from the input")
        done, worst, start = 0, 0.0, time.perf_counter()
        while (now := time.perf_counter()) - start < LEAST_S:
            archive.compress(cut[done % len(cut)], HINT, row["level"])
            worst = max(worst, time.perf_counter() - now)
            done += 1
        yield {**row, "calls_s": done / (now - start), "worst_ms": worst * 1000}
    except Exception as error:  # reported as this row's result
        yield {**row, "error": f"{type(error).__name__}: {error}"[:200]}
