"""How a column of 64-bit integers becomes int32 channels ("lanes") of the block coder, and back.

Arithmetic is modulo 2^64, so unsigned columns pass through unchanged. The plans, cheapest first:

    0 PLAIN    one lane: the values
    1 REGULAR  no lane: start, period, and the rows where the step differs (a clock with gaps, a constant)
    2 OFFSET   one lane: value = base + step * lane
    3 DELTA    one lane: differences to the value before, = base + step * lane; the first value stands in the plan
    4 SPLIT    two lanes: the upper and the lower 32 bits
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from qres.codec import CodecError

from qres_host.archive.fields import Fields, signed, to_int64, varint

Array = npt.NDArray[Any]

PLAIN, REGULAR, OFFSET, DELTA, SPLIT = range(5)
LANES = {PLAIN: 1, REGULAR: 0, OFFSET: 1, DELTA: 1, SPLIT: 2}
_HALF = 1 << 31


class Plan(NamedTuple):
    """One way to store a column: its number, its parameters as bytes, its lanes, and the values' step in a lane."""

    kind: int
    parameters: bytes
    lanes: list[Array]
    step: int  # a change of one in the lane changes the value by so much; 0: a lane must stay exact


def plan(values: Array, jumps: int = 0) -> Plan:
    """Return the plan for int64 `values`. A regular column may have `jumps` irregular steps."""
    found = _regular(values, jumps)
    if found is not None:
        return found
    low, high = int(values.min()), int(values.max())
    if low >= -_HALF and high < _HALF:
        return Plan(PLAIN, b"", [values.astype(np.int32)], 1)
    fitted = _fit(values, low, high)
    if fitted is not None:
        base, step, lane = fitted
        return Plan(OFFSET, signed(base) + varint(step), [lane], step)
    steps = np.diff(values)
    if (np.abs(values[1:].astype(np.float64) - values[:-1].astype(np.float64)) < 2.0**62).all():
        fitted = _fit(steps, int(steps.min()), int(steps.max()))
        if fitted is not None:
            base, step, lane = fitted
            lane = np.concatenate((lane[:1], lane))
            return Plan(DELTA, signed(int(values[0])) + signed(base) + varint(step), [lane], 0)
    upper, lower = (values >> 32).astype(np.int32), values.astype(np.uint64).astype(np.uint32).view(np.int32)
    return Plan(SPLIT, b"", [upper, lower], 0)


def _regular(values: Array, jumps: int) -> Plan | None:
    if len(values) < 2:
        return Plan(REGULAR, signed(int(values[0]) if len(values) else 0) + b"\0\0", [], 0)
    # The most frequent of a few steps is the period: a median would sort them all.
    some = np.arange(0, len(values) - 1, max((len(values) - 1) // 64, 1))
    probes, counts = np.unique(values[some + 1] - values[some], return_counts=True)
    period = int(probes[counts.argmax()])
    if len(some) - int(counts.max()) > jumps:
        return None
    steps = values[1:] - values[:-1]
    where = np.flatnonzero(steps != period)
    if len(where) > jumps:
        return None
    out = bytearray(signed(int(values[0])) + signed(period) + varint(len(where)))
    before = -1
    for at, step in zip(where.tolist(), steps[where].tolist()):
        out += varint(at - before - 1) + signed(to_int64(step - period))
        before = at
    return Plan(REGULAR, bytes(out), [], 0)


def _fit(values: Array, low: int, high: int) -> tuple[int, int, Array] | None:
    """Return (base, step, lane) when base + step * lane with an int32 lane gives `values`."""
    if high - low >= 1 << 62:
        return None
    step = 1
    if high - low >= 1 << 32:
        step = int(np.gcd.reduce(values - low))
        if (high - low) // max(step, 1) >= 1 << 32:
            return None
    base = low + step * _HALF
    if base >= 1 << 63:
        return None
    return base, step, ((values - low) // step - _HALF).astype(np.int32)


def unplan(kind: int, fields: Fields, rows: int) -> tuple[int, ...]:
    """Return the parameters of plan `kind` as numbers, checked; what `join` takes."""
    if kind == REGULAR:
        numbers = [fields.signed(), fields.signed()]
        row = -1
        for _ in range(fields.varint(max(rows - 1, 0))):
            row += fields.varint(rows) + 1
            if row >= rows - 1:
                raise CodecError("a jump behind the last row")
            numbers += (row, fields.signed())
        return tuple(numbers)
    if kind == OFFSET:
        return fields.signed(), fields.varint()
    if kind == DELTA:
        return fields.signed(), fields.signed(), fields.varint()
    if kind in LANES:
        return ()
    raise CodecError(f"unknown storage of integers {kind}: a newer QRES wrote this")


def join(kind: int, numbers: tuple[int, ...], lanes: list[Array], rows: int) -> Array:
    """Return the int64 column of `rows` values from the plan's `numbers` and its decoded `lanes`."""
    if kind == PLAIN:
        return lanes[0].astype(np.int64)
    if kind == REGULAR:
        steps = np.full(rows, numbers[1], np.int64)
        if rows:
            steps[0] = numbers[0]
        if len(numbers) > 2:
            steps[np.array(numbers[2::2]) + 1] += np.array(numbers[3::2], np.int64)
        return np.cumsum(steps, dtype=np.int64)
    if kind == OFFSET:
        return _line(lanes[0], numbers[0], numbers[1])
    if kind == DELTA:
        steps = _line(lanes[0], numbers[1], numbers[2])
        if rows:
            steps[0] = numbers[0]
        return np.cumsum(steps, dtype=np.int64)
    return lanes[0].astype(np.int64) << 32 | lanes[1].view(np.uint32).astype(np.int64)


def _line(lane: Array, base: int, step: int) -> Array:
    return lane.astype(np.int64) * np.int64(to_int64(step)) + np.int64(base)
