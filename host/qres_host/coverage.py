"""Which sample indexes of a stream have arrived: ranges, gaps, and whether the stream is exact."""

from __future__ import annotations

from bisect import bisect_right

MAX_RANGES = 4096  # a stream with more gaps than that forgets where its oldest ones were, not that they were


class Coverage:
    """A set of sample indexes as sorted, disjoint, non-touching ranges [start, end).

    `forgotten` counts missing indexes whose place is no longer kept, so `missing` stays true.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.forgotten = 0

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """Add [start, end); return the parts of it that were not there yet, in order."""
        starts, ends = self._starts, self._ends
        if not starts or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            self._forget()
            return [(start, end)]
        if start == ends[-1]:
            ends[-1] = end
            return [(start, end)]
        first = bisect_right(ends, start - 1) if start else 0
        last = bisect_right(starts, end)
        new, at = [], start
        for low, high in zip(starts[first:last], ends[first:last], strict=True):
            if at < low:
                new.append((at, min(low, end)))
            at = max(at, high)
        if at < end:
            new.append((at, end))
        if first < last:
            start, end = min(start, starts[first]), max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
        self._forget()
        return new

    def gaps(self) -> list[tuple[int, int]]:
        """Return the missing ranges [start, end) between the first and the last index, oldest first."""
        return list(zip(self._ends, self._starts[1:], strict=False))

    @property
    def missing(self) -> int:
        """How many indexes between the first and the last have not arrived."""
        return sum(high - low for low, high in self.gaps()) + self.forgotten

    @property
    def exact(self) -> bool:
        """Whether every index from the first to the last has arrived (and there is one)."""
        return len(self._starts) == 1 and not self.forgotten

    @property
    def span(self) -> tuple[int, int]:
        """The first index and the one after the last; (0, 0) when empty."""
        return (self._starts[0], self._ends[-1]) if self._starts else (0, 0)

    def _forget(self) -> None:
        if len(self._starts) > MAX_RANGES:
            self.forgotten += self._starts[1] - self._ends[0]
            del self._starts[1], self._ends[0]
