"""A block: some rows of a table as one record. All int32 lanes of its columns go to the block coder as one matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host import blocks
from qres_host.archive import general, lanes
from qres_host.archive.chunk import BITS, CLOCK, NUMBER, TEXT, Chunk, read_extras, read_parameters
from qres_host.archive.clock import Clock
from qres_host.archive.fields import Fields, signed, string, varint
from qres_host.blocks import lossy

Array = npt.NDArray[Any]

ROWS_MAX = 1 << 22  # what a reader accepts in one block, times columns
TEXT_MAX = 1 << 28  # bytes of text in one block, all columns together
TIMED, UNORDERED, OPEN_END, STORED = 1, 2, 4, 8
_HAS_EXTRAS = 0x10
_KEY_LIMIT = 2.0**62
_NOT_A_TIME = -(1 << 63)  # the integer of NumPy's NaT


class Summary(NamedTuple):
    """What a reader knows of a block without decoding it.

    `flags`: TIMED (`low` and `high` bound the time column, in whole seconds for dates and in the column's own unit
    for numbers), UNORDERED (its time steps back), OPEN_END (the text ended without a line end), STORED (bytes as
    they are).
    """

    rows: int
    flags: int = 0
    low: int = 0
    high: int = 0

    def pack(self) -> bytes:
        """Return the summary as bytes."""
        key = signed(self.low) + varint(self.high - self.low) if self.flags & TIMED else b""
        return varint(self.rows) + bytes((self.flags,)) + key


def read_summary(fields: Fields) -> Summary:
    """Return the summary that begins at `fields`."""
    rows, flags = fields.varint(1 << 50), fields.byte()
    if flags & ~(TIMED | UNORDERED | OPEN_END | STORED):
        raise CodecError("unknown flags of a block: a newer QRES wrote this")
    if not flags & TIMED:
        return Summary(rows, flags)
    low = fields.signed()
    return Summary(rows, flags, low, low + fields.varint())


def moments(chunk: Chunk, text: bool) -> Array:
    """Return a time column as float64: seconds for CLOCK, the numbers themselves else; NaN where there is none.

    `text`: extras are text (csv), not the bytes of an array's element.
    """
    if chunk.form == CLOCK:
        found: Array = chunk.integers / Clock(chunk.template).second
    elif chunk.form == TEXT:
        return np.full(chunk.rows, np.nan)
    else:
        found = chunk.floats(np.float64).astype(np.float64)
        if chunk.form == NUMBER:
            found = np.where(chunk.integers == _NOT_A_TIME, np.nan, found)
    if chunk.codes is not None:
        found = found.copy()
        for code, extra in enumerate(chunk.extras, 1):
            found[chunk.codes == code] = _moment(extra, text and chunk.form != CLOCK)
    return found


def _moment(extra: bytes, text: bool) -> float:
    try:
        return float(extra) if text else math.nan
    except ValueError:
        return math.nan


def summarise(rows: int, time: Array | None, flags: int = 0) -> Summary:
    """Return the summary of a block of `rows` whose time column is `time` (see `moments`; None: there is none)."""
    known = time[np.isfinite(time)] if time is not None else np.zeros(0)
    if time is None or not len(known) or abs(known).max() > _KEY_LIMIT:
        return Summary(rows, flags)
    if len(known) < len(time) or (np.diff(known) < 0).any():
        flags |= UNORDERED
    return Summary(rows, flags | TIMED, math.floor(known.min()), math.ceil(known.max()))


class Loss(NamedTuple):
    """How far decoded values may lie from the true ones: `mode` of the block coder, and per column the limit in LSB.

    `ranges`: the least and the greatest integer that each column's type can hold.
    """

    mode: str
    limits: Sequence[int]
    ranges: Sequence[tuple[int, int]]


def encode(summary: Summary, chunks: Sequence[Chunk], level: str, time: int, loss: Loss | None = None) -> bytes:
    """Return the payload of a block. `time` is the index of the time column, -1 for none."""
    out, matrix, limits, tight = bytearray(summary.pack()), [], [], []
    for i, chunk in enumerate(chunks):
        jumps = chunk.rows // 16 if i == time else 0
        plan = lanes.plan(chunk.integers, jumps) if chunk.form in (NUMBER, CLOCK) else None
        kind = plan.kind if plan else 0
        out.append(chunk.form | (_HAS_EXTRAS if chunk.extras else 0) | kind << 5)
        out += chunk.parameters()
        if chunk.extras:
            assert chunk.codes is not None
            out += chunk.extra_table() + general.pack(chunk.codes.tobytes(), level)
        if plan is None:
            out += general.pack(chunk.blob, level)
            continue
        out += plan.parameters
        matrix += plan.lanes
        limit = loss.limits[i] // plan.step if loss and plan.step and i != time else 0
        limits += [limit] * len(plan.lanes)
        tight += [loss is not None and _overflows(chunk.integers, loss.limits[i], loss.ranges[i])] * len(plan.lanes)
        if chunk.nudges is not None:
            nudge = lanes.plan(chunk.nudges)
            out += bytes((nudge.kind,)) + nudge.parameters
            matrix += nudge.lanes
            limits += [0] * len(nudge.lanes)
            tight += [False] * len(nudge.lanes)
    wide = _lanes_a_matrix(summary.rows)
    for first in range(0, len(matrix), wide):
        part = np.stack(matrix[first : first + wide]).T  # lanes stay in one piece each: `fast` codes them one by one
        if loss is not None:
            part = _lose(
                np.ascontiguousarray(part), loss.mode, limits[first : first + wide], tight[first : first + wide], level
            )
        out += string(blocks.encode(part, level))
    return bytes(out)


def _lanes_a_matrix(rows: int) -> int:
    return max(min(blocks.CHANNELS_MAX, blocks.VALUES_MAX // max(rows, 1)), 1)


def _overflows(values: Array, limit: int, allowed: tuple[int, int]) -> bool:
    """Return whether values moved by up to `limit` may leave the range that is allowed."""
    return int(values.min()) - limit < allowed[0] or int(values.max()) + limit > allowed[1]


def _lose(matrix: Array, mode: str, limits: list[int], tight: list[bool], level: str) -> Array:
    """Return lanes changed within `limits`; those that are `tight` stay between their own least and greatest value."""
    bound = np.minimum(np.array(limits, dtype=object), (1 << 31) - 1).astype(np.int64)
    lost: Array = lossy.bounded(matrix, bound) if mode == "bounded" else lossy.silent(matrix, bound, level)
    # Moving a value towards its column's range brings it nearer to the true one, so the limit still holds.
    return np.where(tight, np.clip(lost, matrix.min(axis=0), matrix.max(axis=0)), lost).astype(np.int32)


def decode(payload: bytes, columns: int) -> tuple[Summary, list[Chunk]]:
    """Return a block's summary and its chunks; CodecError for any bytes that `encode` did not write."""
    fields = Fields(payload)
    summary = read_summary(fields)
    rows = summary.rows
    if rows > ROWS_MAX or rows * columns > max(ROWS_MAX, columns):
        raise CodecError("more rows in a block than there can be")
    heads, room = [], TEXT_MAX
    for _ in range(columns):
        heads.append(_read_head(fields, rows, room))
        room -= len(heads[-1][0].blob)
    decoded = iter(_read_lanes(fields, rows, sum(lanes.LANES[kind] for _, plans in heads for kind, _ in plans)))
    fields.end()
    for chunk, plans in heads:
        joined = [
            lanes.join(kind, numbers, [next(decoded) for _ in range(lanes.LANES[kind])], rows)
            for kind, numbers in plans
        ]
        if plans:
            chunk.integers = joined[0]
        if len(plans) > 1:
            chunk.nudges = joined[1]
    return summary, [chunk for chunk, _ in heads]


def _read_head(fields: Fields, rows: int, room: int) -> tuple[Chunk, list[tuple[int, tuple[int, ...]]]]:
    """Return a chunk without its integers, and the plans of these and of its nudges: kind and numbers."""
    byte = fields.byte()
    chunk, kind = Chunk(byte & 15, rows), byte >> 5
    read_parameters(chunk.form, fields, chunk)
    if byte & _HAS_EXTRAS:
        chunk.extras = read_extras(fields)
        codes = np.frombuffer(general.unpack(fields, rows), np.uint8)
        if len(codes) != rows or int(codes.max(initial=0)) > len(chunk.extras):
            raise CodecError("codes do not match rows")
        chunk.codes = codes
    if chunk.form not in (NUMBER, CLOCK):
        chunk.blob = general.unpack(fields, room)
        if chunk.form == TEXT:
            chunk.cells()
        elif chunk.form == BITS:
            chunk.floats(None)
        if kind:
            raise CodecError("no integers to store")
        return chunk, []
    plans = [(kind, lanes.unplan(kind, fields, rows))]
    if chunk.nudges is not None:
        kind = fields.byte()
        plans.append((kind, lanes.unplan(kind, fields, rows)))
    return chunk, plans


def _read_lanes(fields: Fields, rows: int, count: int) -> list[Array]:
    out: list[Array] = []
    wide = _lanes_a_matrix(rows)
    for first in range(0, count, wide):
        part = min(count - first, wide)
        matrix = blocks.decode(fields.string(len(fields.data)), rows, part)
        out += [np.ascontiguousarray(matrix[:, i]) for i in range(part)]
    return out
