"""Columns whose values lie on a lattice: found, replaced by indices, restored exactly, and written down in few bytes.

Sensors quantise, and units are converted afterwards, so that few of the integers in a column's range occur.  Four
kinds: a whole step and an offset; a step that is no integer (value = (offset + step * index) >> SHIFT); any few values
(a sorted list, the index is the rank); a whole step for most values, and what the others have beyond it.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host.blocks import columns
from qres_host.blocks.fit import estimate, quick_estimate, stretches, times_of
from qres_host.blocks.linear import wrap
from qres_host.blocks.tokens import cost, entropy
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
    rests: Ints = NONE

    def apply(self, column: Ints) -> Ints:
        """The index of each value, int64 within 32 bits; without rests only for values of this lattice."""
        if self.values.size:
            low = int(self.values[0])
            if int(self.values[-1]) - low >= RANGE_MAX:
                return np.searchsorted(self.values, column).astype(np.int64)
            ranks = np.zeros(int(self.values[-1]) - low + 1, np.int64)
            ranks[self.values - low] = np.arange(self.values.size)
            return ranks[column - low]
        if not self.shift:
            return (column - self.offset) // self.step
        # the greatest index that does not lie above the value
        return ((((column + 1) << self.shift) - 1 - self.offset) // self.step).astype(np.int64)

    def undo(self, index: Ints) -> Ints:
        """The values; CodecError for an index that a list of values does not have."""
        if self.values.size:
            if index.size and (int(index.min()) < 0 or int(index.max()) >= self.values.size):
                raise CodecError("no such value")
            return self.values[index]
        values = self.offset + self.step * index
        return wrap(values + self.rests if self.rests.size else values >> self.shift)

    def pack(self) -> bytes:
        """The lattice as bytes."""
        if self.rests.size:
            rests = columns.encode([self.rests])
            return bytes((MOSTLY,)) + put_signed(self.offset) + put(self.step) + put(len(rests)) + rests
        if self.values.size:
            head = bytes((LISTED,)) + put_signed(int(self.values[0])) + put(self.values.size)
            gaps = columns.encode([np.diff(self.values)], ordered=False) if self.values.size > 1 else b""
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
        return Lattice(offset, step, rests=columns.decode(_part(reader), 0, rows, 1)[0])
    return Lattice(offset, step, SHIFT if kind == FINE_GRID else 0)


def _part(reader: Reader) -> bytes:
    """The bytes of a column of its own, after their number."""
    length = reader.get()
    if reader.at + length > len(reader.data):
        raise CodecError("truncated")
    reader.at += length
    return reader.data[reader.at - length : reader.at]


def _unpack_list(reader: Reader, rows: int) -> Lattice:
    """A lattice of any values."""
    first, count = reader.int32(), reader.get()
    packed = _part(reader)
    if not 1 <= count <= min(rows, LISTED_MAX):
        raise CodecError("no such lattice")
    gaps = columns.decode(packed, 0, count - 1, 1)[0] if count > 1 else NONE
    if count > 1 and int(gaps.min()) < 1:
        raise CodecError("no such lattice")
    values = first + np.cumsum(np.concatenate([np.zeros(1, np.int64), gaps]))
    if int(values[-1]) > 0x7FFFFFFF:
        raise CodecError("no such lattice")
    return Lattice(0, 0, values=values)


def find(column: Ints) -> Lattice | None:
    """The lattice of a column (int64 within 32 bits) if it is worth its bytes; None for most columns."""
    if column.size < 2:
        return None
    taken = column[:: max(1, column.size // SAMPLE)]
    some = _sorted(taken)
    if some.size < 2:
        return None
    step = int(np.gcd.reduce(some[1:] - some[0]))
    if step > 1 and not np.any((column - some[0]) % step):
        found: Lattice | None = Lattice(int(column.min()), step)
    else:
        found = _list(column, taken, some)
    most = _mostly(column, taken)
    return most if most is not None and _pays(column, most, found) else found


def _sorted(values: Ints) -> Ints:
    """The distinct values, in order."""
    some = np.sort(values)
    distinct: Ints = some[np.concatenate([np.ones(1, np.bool_), some[1:] != some[:-1]])]
    return distinct


def _list(column: Ints, taken: Ints, some: Ints) -> Lattice | None:
    """The lattice of a column's few values, if it pays; `some` are the distinct ones of those taken."""
    if some.size > min(DENSITY_MAX * int(some[-1] - some[0]), DISTINCT_MAX * taken.size):
        return None
    values = _distinct(column)
    if values.size > min(column.size // REPEATS_MIN, LISTED_MAX, DENSITY_MAX * int(values[-1] - values[0])):
        return None
    found = _fine_grid(values) or Lattice(0, 0, values=values)
    return found if _pays(column, found, None) else None


def _mostly(column: Ints, taken: Ints) -> Lattice | None:
    """The lattice of a step that most values are multiples of, if there is such.

    Differences of three such values have the step in common; chance gives few of them any step but 1.
    """
    three = taken[:: max(1, taken.size // (3 * TRIPLES))][: 3 * TRIPLES]
    three = three[: three.size // 3 * 3].reshape(3, -1)
    common = np.gcd(three[1] - three[0], three[2] - three[0])
    common = common[common > 1]
    if common.size < TRIPLES_MIN:
        return None
    steps, counts = np.unique(common, return_counts=True)
    worth = np.where(counts >= TRIPLES_MIN, counts * np.log2(steps), 0)
    if not worth.any():
        return None
    step = int(steps[worth.argmax()])
    rests, counts = np.unique(taken % step, return_counts=True)
    if entropy(counts[None]) > REST_SHARE * taken.size * np.log2(step):
        return None
    usual = int(rests[counts.argmax()])
    offset = usual + (int(column.min()) - usual) // step * step
    beyond = (column - offset) % step
    return Lattice(offset, step, rests=beyond) if beyond.any() else None


def _own(lattice: Lattice | None) -> float:
    """About how many bits a lattice takes itself."""
    if lattice is None:
        return 0
    return cost(np.diff(lattice.values)) if lattice.values.size else GRID_BITS + cost(lattice.rests)


def _pays(column: Ints, lattice: Lattice, other: Lattice | None) -> bool:
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


def _distinct(column: Ints) -> Ints:
    """The sorted values that occur."""
    low, high = int(column.min()), int(column.max())
    if high - low >= RANGE_MAX:
        return _sorted(column)
    seen = np.zeros(high - low + 1, np.bool_)
    seen[column - low] = True
    return low + np.flatnonzero(seen)


def _fine_grid(values: Ints) -> Lattice | None:
    """A step and an offset that give all these values, if there are such."""
    gaps = np.diff(values)
    least = int(gaps.min())
    near = gaps[gaps <= least + 1]
    if least < 2 or near.size < 4:
        return None
    step = float(near.mean())
    for reach in (4, 64, 1 << 32):  # wider gaps are counted in steps once the step is known better
        taken = gaps[gaps <= reach * step]
        counts = np.rint(taken / step)
        step = float(taken.sum() / counts.sum())
    index = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.rint(gaps / step).astype(np.int64))])
    scaled = values << SHIFT
    slack = 2 << SHIFT
    low = int(step * (1 << SHIFT)) - slack // int(index[-1])
    high = low + 2 * (slack // int(index[-1])) + 1
    while high - low > 2:  # room(step) is concave: search its top by thirds
        third = (high - low) // 3
        if _room(scaled, index, low + third)[0] < _room(scaled, index, high - third)[0]:
            low += third
        else:
            high -= third
    room, offset, best = max((*_room(scaled, index, s), s) for s in range(max(low, 1), high + 1))
    return Lattice(offset, best, SHIFT) if room > 0 else None


def _room(scaled: Ints, index: Ints, step: int) -> tuple[int, int]:
    """How far the offset may move (none below 1) for this step, and its middle."""
    rest = scaled - step * index
    least, most = int(rest.max()), int(rest.min()) + (1 << SHIFT)
    return most - least, least + (most - least) // 2
