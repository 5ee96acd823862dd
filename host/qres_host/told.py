"""Telemetry as a host keeps it: checked when it comes, decoded whole when somebody looks.

Of a board that tells much, the newest is shown and the rest is only stored, so decoding each at once would be most of
the work of listening. Here many are checked in one pass, which accepts exactly what `qres.telemetry.unpack` does and
gives the few fields by which a view sees changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres import telemetry

from qres_host.runs import Places

_SIZES = {name: int(kind[5:]) if kind != "uint" else 0 for name, kind in telemetry.FIELDS}  # bytes, 0 of varints
_VARINT_MAX = 9  # bytes
_BEFORE = b"\0"  # the first payload follows something that ended, as the others may
_BEHIND = bytes(sum(_SIZES.values()) + len(_SIZES) + 8)  # so that one that is cut off ends too late, but not outside


class Watch(NamedTuple):
    """What a view follows of a payload of telemetry: fields of it in their order, bytes as little-endian numbers."""

    mac: int
    role: int
    regime: int
    battery_permille: int
    epoch: int
    model: int

    def raw(self, name: str) -> bytes:
        """Return `mac` or `model` as bytes."""
        return int(getattr(self, name)).to_bytes(_SIZES[name], "little")


class _Part(NamedTuple):
    """So many fields of one size that follow each other; `watched` are the places of some, one row each."""

    size: int
    fields: int
    watched: NDArray[np.intp]
    columns: slice  # of these among all that are watched


def _parts() -> list[_Part]:
    parts, columns = list[_Part](), 0
    for size, group in groupby(_SIZES.items(), lambda field: field[1]):
        names = [name for name, _ in group]
        watched = [i for i, name in enumerate(names) if name in Watch._fields]
        columns += len(watched)
        place = slice(columns - len(watched), columns)
        parts.append(_Part(size, len(names), np.array(watched, np.intp)[:, None], place))
    return parts


_PARTS = _parts()


def read(payloads: Sequence[bytes]) -> NDArray[np.int64]:
    """Return a row with the fields of Watch for each payload; all of it is -1 where that is no telemetry."""
    flat = np.frombuffer(b"".join([_BEFORE, *payloads, _BEHIND]), np.uint8)
    ends = np.fromiter(map(len, payloads), np.intp, len(payloads)).cumsum() + len(_BEFORE)
    at = np.full_like(ends, len(_BEFORE))
    at[1:] = ends[:-1]
    more = flat > 127  # bytes of varints that others follow, and bytes that look so
    closing, long = (~more).nonzero()[0], _long(more)
    rows = np.empty((len(payloads), len(Watch._fields)), np.int64)
    sound = np.ones(len(payloads), bool)
    for size, fields, watched, columns in _PARTS:
        if size:
            end = at + size * fields
            rows[:, columns] = _little(flat, at + size * watched, size).T
        else:
            nth = closing.searchsorted(at)
            end = closing.take(nth + (fields - 1)) + 1
            if watched.size:
                first = np.maximum(closing.take(nth + (watched - 1)) + 1, at)
                rows[:, columns] = _varints(flat, first, closing.take(nth + watched)).T
            sound &= long.searchsorted(at) >= long.searchsorted(end - _VARINT_MAX)
        at = end
    sound &= at == ends
    rows[~sound] = -1
    return rows


def _long(more: NDArray[np.bool_]) -> Places:
    """Return where nine bytes begin that end no varint: among varints one of them is longer than allowed."""
    two = more[:-1] & more[1:]
    four = two[:-2] & two[2:]
    eight = four[:-4] & four[4:]
    return (eight[:-1] & more[8:]).nonzero()[0]


def _little(flat: NDArray[np.uint8], at: Places, size: int) -> NDArray[np.int64]:
    """Return the numbers of `size` bytes, less than 8, that begin at `at`."""
    eight: NDArray[np.int64] = flat.take(at[..., None] + np.arange(8)).view("<i8")[..., 0]
    return eight & ((1 << 8 * size) - 1)


def _varints(flat: NDArray[np.uint8], first: Places, last: Places) -> NDArray[np.int64]:
    """Return the numbers of varints from their first bytes to their last; longer ones than allowed give anything."""
    values = flat.take(first).astype(np.int64) & 127
    longest = min(int((last - first).max(initial=0)) + 1, _VARINT_MAX)
    for i in range(1, longest):
        digits = flat.take(np.minimum(first + i, last)).astype(np.int64) & 127
        values |= np.where(first + i <= last, digits << 7 * i, 0)
    return values
