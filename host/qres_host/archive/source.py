"""What an importer gives: metadata, and blocks of chunks that are read when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from qres_host import blocks
from qres_host.archive.chunk import Chunk
from qres_host.archive.meta import Meta

Batch = tuple[list[Chunk], int]
"""The columns of one block, and its flags (OPEN_END)."""

_ROWS = {"fast": 1 << 16, "best": 1 << 17}
LEVELS = tuple(_ROWS)
_DATES = ("time", "timestamp", "date", "datetime", "epoch", "ts", "t", "date time", "unix", "utc", "when")
_PREFIXES = ("time", "timestamp", "date", "datetime", "epoch")  # before an underscore; `t_in` may well be a temperature


class Source(NamedTuple):
    """A table to be stored. `read` begins anew at every call; `size` is that of the input in bytes."""

    meta: Meta
    read: Callable[[], Iterator[Batch]]
    size: int


def block_rows(columns: int, level: str) -> int:
    """Return how many rows a block has: less for many columns, because all of a block's columns are in memory."""
    return max(min(_ROWS[level], blocks.VALUES_MAX // max(2 * columns, 1)), 1)


def is_time_name(name: str) -> bool:
    """Return whether a column of that name is about time: `time`, `Timestamp`, `time (s)`, `epoch_ms`, `time_hour`."""
    plain = name.strip().strip('"').lower()
    head = plain.replace("[", "(").partition("(")[0].strip()
    return head in _DATES or head.rpartition("_")[0] in _DATES or head.partition("_")[0] in _PREFIXES
