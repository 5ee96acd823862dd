"""Columns whose values lie on a lattice: found, replaced by indices, restored exactly, and written down in few bytes.

Sensors quantise, and units are converted afterwards, so that few of the integers in a column's range occur.  Four
kinds: a whole step and an offset; a step that is no integer (value = (offset + step * index) >> SHIFT); any few values
(a sorted list, the index is the rank); a whole step for most values, and what the others have beyond it.
"""

from math import log2
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host.blocks import columns, lattice_loops, tokens
from qres_host.blocks.fit import estimate, quick_estimate, stretches, times_of
from qres_host.blocks.linear import wrap
from qres_host.blocks.loops import ready
from qres_host.blocks.tokens import cost
from qres_host.blocks.varint import Reader, put, put_signed

SHIFT: Final = 20
SAMPLE: Final = 1024
RANGE_MAX: Final = 1 << 22
"""Above this range a column's distinct values are sorted, not marked."""
DENSITY_MAX: Final = 0.6
"""Share of the integers in range that may occur."""
DISTINCT_MAX: Final = 0.95
"""Share of the values looked at first that may be distinct."""
REPEATS_MIN: Final = 2
"""A list of values pays if each occurs more often than this on average."""
LISTED_MAX: Final = 1 << 16

GRID_BITS: Final = 80
"""About what a lattice without a list costs."""
SURE: Final = 0.97
HOPELESS: Final = 0.99
"""Shares of the bits, by the quick estimate, that decide at once."""

TRIPLES: Final = 64
"""Values looked at, three at a time, for a step that most differences are multiples of."""
TRIPLES_MIN: Final = 6
"""So many of them must have the step in common: it is that of most values, or chance."""
REST_SHARE: Final = 0.8
"""Share of the bits of a remainder of any size that the remainders may take."""

GRID, FINE_GRID, LISTED, MOSTLY = 0, 1, 2, 3

CHANCE: Final = 6 / np.pi**2
"""Of pairs of any numbers, such a share has the common divisor 1, and by its square less a greater one."""

Values = NDArray[np.int32]
Ints = NDArray[np.int64]
NONE: Final[Ints] = np.zeros(0, np.int64)


class Lattice(NamedTuple):
    """value = (offset + step * index) >> shift, or, where `values` is not empty, values[index].

    Where `rests` is not empty, rests[row] is added to that.
    """

    offset: int
    step: int
    shift: int = 0
    values: Ints = NONE
    rests: NDArray[Any] = NONE

    def apply(self, column: NDArray[Any]) -> Values:
        """The index of each value; without rests only for values of this lattice."""
        if self.values.size:
            low = int(self.values[0])
            if int(self.values[-1]) - low >= RANGE_MAX:
                return np.searchsorted(self.values, column).astype(np.int32)
            ranks = np.zeros(int(self.values[-1]) - low + 1, np.int32)
            ranks[self.values - low] = np.arange(self.values.size)
            return ranks[column.astype(np.int64) - low]
        wide = column.astype(np.int64)
        if self.shift:  # the greatest index that does not lie above the value
            wide = (wide << self.shift) + ((1 << self.shift) - 1)
        return ((wide - self.offset) // self.step).astype(np.int32)

    def undo(self, index: NDArray[Any]) -> Ints:
        """The values; CodecError for an index that a list of values does not have."""
        if self.values.size:
            if index.size and (int(index.min()) < 0 or int(index.max()) >= self.values.size):
                raise CodecError("no such value")
            listed: Ints = self.values[index]
            return listed
        values: Ints = self.offset + self.step * np.asarray(index, np.int64)
        return wrap(values + self.rests if self.rests.size else values >> self.shift)

    def pack(self) -> bytes:
        """The lattice as bytes."""
        if self.rests.size:
            rests = columns.encode([self.rests.astype(np.int32)])
            return bytes((MOSTLY,)) + put_signed(self.offset) + put(self.step) + put(len(rests)) + rests
        if self.values.size:
            head = bytes((LISTED,)) + put_signed(int(self.values[0])) + put(self.values.size)
            gaps = columns.encode([_gaps(self.values)], ordered=False) if self.values.size > 1 else b""
            return head + put(len(gaps)) + gaps
        return bytes((FINE_GRID if self.shift else GRID,)) + put_signed(self.offset) + put(self.step)


def unpack(reader: Reader, rows: int) -> Lattice:
    """Read what `pack` wrote for a column of `rows` values; CodecError for anything else."""
    kind = reader.byte()
    if kind == LISTED:
        return _unpack_list(reader, rows)
    offset, step = reader.signed(), reader.get()
    if kind > MOSTLY or not step:
        raise CodecError("no such lattice")
    if kind == MOSTLY:
        return Lattice(offset, step, rests=columns.decode(reader.take(reader.get()), 0, rows, 1)[0])
    return Lattice(offset, step, SHIFT if kind == FINE_GRID else 0)


def _unpack_list(reader: Reader, rows: int) -> Lattice:
    """A lattice of any values."""
    first, count = reader.int32(), reader.get()
    packed = reader.take(reader.get())
    if not 1 <= count <= min(rows, LISTED_MAX):
        raise CodecError("no such lattice")
    gaps = columns.decode(packed, 0, count - 1, 1)[0] if count > 1 else NONE
    if count > 1 and int(gaps.min()) < 1:
        raise CodecError("no such lattice")
    values = first + np.cumsum(np.concatenate([np.zeros(1, np.int64), gaps]))
    if int(values[-1]) > 0x7FFFFFFF:
        raise CodecError("no such lattice")
    return Lattice(0, 0, values=values)


def find(column: NDArray[Any]) -> Lattice | None:
    """The lattice of a column (integers within 32 bits) if it is worth its bytes; None for most columns."""
    if column.size < 2:
        return None
    v = np.ascontiguousarray(column, np.int32)
    taken = v[:: max(1, v.size // SAMPLE)].copy()
    some, step = _distinct(np.sort(taken))
    if some.size < 2:
        return None
    first = int(some[0])
    if step > 1 and _is_whole(v, first, step):
        found: Lattice | None = Lattice(int(v.min()), step)
    else:
        found = _list(v, taken, some)
    most = _mostly(v, taken)
    return most if most is not None and _pays(v, most, found) else found


def _is_whole(v: Values, first: int, step: int) -> bool:
    """Whether all values differ from the first one by multiples of the step."""
    above = v.astype(np.int64) - first
    return not np.any(above // step * step - above)  # a division by one number is several times faster than a remainder


def _distinct(ordered: Values) -> tuple[Ints, int]:
    """The distinct ones of values in order, and the common divisor of their differences."""
    out = tokens.room(ordered.size, "i8")
    count, step = lattice_loops.distinct(ready(ordered), out)
    return np.asarray(out[:count], np.int64), step


def _list(column: Values, taken: Values, some: Ints) -> Lattice | None:
    """The lattice of a column's few values, if it pays; `some` are the distinct ones of those taken."""
    if some.size > min(DENSITY_MAX * int(some[-1] - some[0]), DISTINCT_MAX * taken.size):
        return None
    values = _values(column)
    if values.size > min(column.size // REPEATS_MIN, LISTED_MAX, DENSITY_MAX * int(values[-1] - values[0])):
        return None
    found = _fine_grid(values) or Lattice(0, 0, values=values)
    return found if _pays(column, found, None) else None


def _mostly(column: Values, taken: Values) -> Lattice | None:
    """The lattice of a step that most values are multiples of, if there is such.

    Differences of three such values have the step in common; chance gives few of them any step but 1.
    """
    three = ready(taken[:: max(1, taken.size // (3 * TRIPLES))][: 3 * TRIPLES].copy())
    steps, counts = tokens.empty(TRIPLES, "i8"), tokens.empty(TRIPLES, "i8")
    kept = lattice_loops.frequent(three, TRIPLES_MIN, CHANCE, steps, counts)
    if not kept:
        return None
    _, step = max((n * log2(step), int(step)) for step, n in zip(steps[:kept], counts[:kept]))
    rests, seen = np.unique(taken.astype(np.int64) % step, return_counts=True)
    if tokens.entropy(seen) > REST_SHARE * taken.size * log2(step):
        return None
    usual = int(rests[seen.argmax()])
    offset = usual + (int(column.min()) - usual) // step * step
    beyond = ((column.astype(np.int64) - offset) % step).astype(np.int32)
    return Lattice(offset, step, rests=beyond) if beyond.any() else None


def _own(lattice: Lattice | None) -> float:
    """About how many bits a lattice takes itself."""
    if lattice is None:
        return 0
    if lattice.values.size:
        gaps = _gaps(lattice.values)
        return cost(ready(gaps), gaps.size)
    return GRID_BITS + (cost(ready(lattice.rests), lattice.rests.size) if lattice.rests.size else 0)


def _gaps(values: Ints) -> Values:
    """How much each value is above the one before."""
    return (values[1:] - values[:-1]).astype(np.int32)


def _pays(column: Values, lattice: Lattice, other: Lattice | None) -> bool:
    """Whether indices and the lattice itself take fewer bits than the other one's, by estimates, a quick one first.

    The other one may be none: the values as they are.
    """
    some = stretches(column)
    times = times_of(column, some)
    now = other.apply(some) if other else some
    more = _own(lattice) - _own(other)
    share = (quick_estimate(lattice.apply(some)) + more / times) / quick_estimate(now)
    if share >= HOPELESS or (share <= SURE and not lattice.rests.size):
        return share <= SURE
    return estimate(lattice.apply(column)) + more < estimate(other.apply(column) if other else column)


def _values(column: Values) -> Ints:
    """The sorted values that occur."""
    low, high = int(column.min()), int(column.max())
    if high - low >= RANGE_MAX:
        return _distinct(np.sort(column))[0]
    seen = np.zeros(high - low + 1, np.bool_)
    lattice_loops.mark(column, low, seen)
    return low + np.flatnonzero(seen)


def _fine_grid(values: Ints) -> Lattice | None:
    """A step and an offset that give all these values, if there are such."""
    gaps = values[1:] - values[:-1]
    least = int(gaps.min())
    near = gaps[gaps <= least + 1]
    if least < 2 or near.size < 4:
        return None
    step = float(near.mean())
    for reach in (4, 64, 1 << 32):  # wider gaps are counted in steps once the step is known better
        taken = gaps[gaps <= reach * step]
        counts = np.rint(taken / step)
        step = float(taken.sum() / counts.sum())
    index = np.zeros(values.size, np.int64)
    np.cumsum(np.rint(gaps / step), out=index[1:])
    slack = 2 * (1 << SHIFT) // int(index[-1])
    low = int(step * (1 << SHIFT)) - slack
    room, offset, best = lattice_loops.grid(
        ready(values << SHIFT), ready(index), max(low, 1), max(low, 1) + 2 * slack + 1, 1 << SHIFT
    )
    return Lattice(offset, best, SHIFT) if room > 0 else None
