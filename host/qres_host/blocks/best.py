"""The best level: few bits, by context mixing (`mixer`, `residual`, `series`); about a tenth of the speed of `fast`.

A block is the id, one byte of choices a channel, then the lattices of channels that have one, then the coded rows.
What suits a channel is found by coding its first rows in each way.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host.blocks import ladder, lattice, mixer, series
from qres_host.blocks.tables import mixer_tables
from qres_host.blocks.varint import Reader
from qres_host.native import COMPILED

ID: Final = 2
"""Coder id: context mixing."""
_CENTRED: Final = 1  # the choices of a channel: residuals are taken from the prediction,
_LADDERS: Final = 2  # ladders predict too,
_LATTICE: Final = 4  # values are indices of a lattice,
_SHIFT_AT: Final = 3  # and from this bit on, how far filters see deltas reduced
_SHIFT_MAX: Final = 17
_TRIALS: Final = (0, _LADDERS | _CENTRED, _LADDERS)
_TRIAL_SHARE: Final = 24
_TRIAL_ROWS: Final = (768, 4096)
_MARGINS: Final = (0, 14, 0)  # thousandths that a trial must be better by: exact values repeat more later on
_SPARE_BYTES: Final = 64
_AHEAD: Final = 4  # bytes that a decoder has taken beyond the last that it needed
_CONTEXT_BITS: Final = (10, 17)

Matrix = NDArray[np.int32]


def _array(values: Any, kind: str) -> Any:
    """Whole numbers as the loops take them: an array, or without Numba a list, whose items are faster."""
    return np.array(values, kind) if COMPILED else list(values)


def _zeros(count: int, kind: str) -> Any:
    return np.zeros(count, kind) if COMPILED else [0] * count


def _flat(x: Matrix) -> Any:
    """A copy of the rows, one after the other."""
    return x.flatten() if COMPILED else x.ravel().tolist()


@lru_cache(maxsize=1)
def _constants() -> tuple[Any, Any, Any]:
    """The tables; the weights of a channel and the maps before the first decision."""
    tables = mixer_tables()
    return _array(tables, "i4"), _array(mixer.start_weights(), "i4"), _array(mixer.start_map(tables), "i4")


def _model(bits: int, channels: int) -> tuple[Any, ...]:
    """2^bits of each context, weights and maps before the first decision."""
    _, weights, maps = _constants()
    unknown = mixer.CONTEXTS << bits
    if COMPILED:
        return np.full(unknown, 32768 << 6, "i4"), np.tile(weights, channels), maps.copy()
    return [32768 << 6] * unknown, weights * channels, maps.copy()


def _code(x: Any, rows: int, channels: int, data: Any, end: int, choices: list[int], decode: bool) -> tuple[int, Any]:
    """Code `x` into `data` or the reverse; return where the coder stopped (-1: no int32) and each channel's cost."""
    coder = _zeros(mixer.CODER, "i8")
    coder[mixer.END] = end
    coder[mixer.DECODE] = int(decode)
    costs = _zeros(channels, "i8")
    experts = [series.EXPERTS if c & _LADDERS else series.EXPERTS_PLAIN for c in choices]
    fields = _array(series.start([c & _CENTRED for c in choices], experts, [c >> _SHIFT_AT for c in choices]), "i8")
    filters = _array(ladder.start(channels), "i8")
    work = _zeros(mixer.SCRATCH, "i8")
    bits = min(max((rows * channels).bit_length() + 3, _CONTEXT_BITS[0]), _CONTEXT_BITS[1])
    work[mixer.FOLD] = 32 - bits
    model = _model(bits, channels)
    failed = series.code_series(x, rows, channels, coder, data, _constants()[0], model, fields, filters, work, costs)
    return (-1 if failed else int(coder[mixer.AT])), costs


def _choose(x: Matrix) -> list[int]:
    """The choices of each channel, by coding the first rows in several ways."""
    rows, channels = x.shape
    steps = np.abs(np.diff(x.astype(np.int64), axis=0)).max(axis=0, initial=0)
    shifts = [max(int(step).bit_length() - 20, 0) << _SHIFT_AT for step in steps]
    trial = x[: min(max(rows // _TRIAL_SHARE, _TRIAL_ROWS[0]), _TRIAL_ROWS[1])]
    costs = []
    for kind in _TRIALS:
        flat, data = _flat(trial), _buffer(trial.size)
        costs.append(_code(flat, len(trial), channels, data, 0, [shift | kind for shift in shifts], False)[1])
    chosen = []
    for c in range(channels):
        scores = [int(costs[k][c]) * (1000 + _MARGINS[k]) for k in range(len(_TRIALS))]
        chosen.append(shifts[c] | _TRIALS[scores.index(min(scores))])
    return chosen


def _buffer(values: int) -> Any:
    """Room for the code of so many values, however bad."""
    return _zeros(8 * values + _SPARE_BYTES, "u1")


def _lattices(x: Matrix) -> tuple[Matrix, list[int], bytes]:
    """The columns that have a lattice as its indices, which those are, and the lattices."""
    y = x.copy()
    kinds, packed = [], b""
    for c in range(x.shape[1]):
        column = x[:, c].astype(np.int64)
        found = lattice.find(column)
        kinds.append(_LATTICE if found else 0)
        if found:
            y[:, c] = found.apply(column)
            packed += found.pack()
    return y, kinds, packed


def encode(x: Matrix) -> bytes:
    """The rows of `x`, at least one, as bytes."""
    rows, channels = x.shape
    y, kinds, packed = _lattices(x)
    choices = [a | b for a, b in zip(kinds, _choose(y), strict=True)]
    data = _buffer(x.size)
    end, _ = _code(_flat(y), rows, channels, data, 0, choices, False)
    return bytes((ID, *choices)) + packed + bytes(data[:end])


def decode(data: bytes, rows: int, channels: int) -> Matrix:
    """The matrix that `encode` coded; CodecError for other bytes."""
    choices = list(data[1 : 1 + channels])
    if len(choices) < channels or max(choices) >> _SHIFT_AT > _SHIFT_MAX:
        raise CodecError("bad choices")
    reader = Reader(data, 1 + channels)
    lattices = [lattice.unpack(reader, rows) if c & _LATTICE else None for c in choices]
    body = data[reader.at :]
    flat = _zeros(rows * channels, "i4")
    source = np.frombuffer(body, "u1").copy() if COMPILED else list(body)
    end, _ = _code(flat, rows, channels, source, len(body), choices, True)
    if end < 0 or len(body) != end - _AHEAD:
        raise CodecError("not what the coder writes")
    y = np.array(flat, np.int32).reshape(rows, channels)
    for c, found in enumerate(lattices):
        if found:
            y[:, c] = found.undo(y[:, c].astype(np.int64))
    return y
