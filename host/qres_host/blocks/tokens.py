"""Tokens of the fast level: what a folded residual is split into, what that costs, and the tables of their frequencies.

A token stands for a folded value u below 1 << small, or for the bit length of u with the `fine` bits below its top one;
the rest of u are its low bits.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import CodecError

from qres_host import native
from qres_host.blocks import loops, token_loops
from qres_host.blocks.loops import ready
from qres_host.blocks.token_loops import ONE

SMALL_MAX: Final = 10
FINE_MAX: Final = 3
CONTEXTS_MAX: Final = 8
SYMBOL_BITS: Final = 5.5
"""About what a used token costs in a table."""

Ints = NDArray[np.int64]


class Split(NamedTuple):
    """How values become tokens, and for each token the least value, the count of low bits and the bit length."""

    small: int
    fine: int
    base: Ints
    low: Ints
    length: Ints


@lru_cache(maxsize=64)
def split(small: int, fine: int) -> Split:
    """The split of these parameters; CodecError for others than 0 <= fine <= 3, fine <= small <= 10."""
    if not 0 <= fine <= FINE_MAX or not fine <= small <= SMALL_MAX:
        raise CodecError("no such tokens")
    base = list(range(1 << small))
    low = [0] * len(base)
    for length in range(small, 32):
        for step in range(1 << fine):
            base.append((1 << length) + (step << (length - fine)))
            low.append(length - fine)
    lengths = [value.bit_length() for value in base]
    return Split(small, fine, np.array(base, np.int64), np.array(low, np.int64), np.array(lengths, np.int64))


FINEST: Final = split(SMALL_MAX, FINE_MAX)
SPLITS: Final = ((2, 0), (3, 0), (4, 0), (4, 1), (5, 2), (6, 2), (7, 3), (8, 3), (10, 3))
ROUGH: Final = ((5, 1), (8, 3))
"""Splits that estimates look at."""


@lru_cache(maxsize=64)
def _merge(small: int, fine: int) -> tuple[Ints, Ints]:
    """Where each token of the split starts among the finest ones, and the token of each of the finest ones."""
    starts = np.searchsorted(FINEST.base, split(small, fine).base)
    return starts, np.searchsorted(starts, np.arange(FINEST.base.size), side="right") - 1


@lru_cache(maxsize=16)
def _maps(choices: tuple[tuple[int, int], ...]) -> tuple[Any, Any]:
    """For several splits, one after the other: the token of each of the finest ones, and its low bits."""
    merged = [_merge(*choice)[1] for choice in choices]
    low = [split(*choice).low[tokens] for choice, tokens in zip(choices, merged)]
    return ready(np.concatenate(merged)), ready(np.concatenate(low))


LOG_SIZE: Final = 4096
LOGS: Final = ready(np.rint(ONE * np.log2(np.maximum(np.arange(LOG_SIZE), 1))).astype(np.int64))
"""ONE * log2(n) for small n."""
ROWS_AT_ONCE: Final = 256
"""Rows that are predicted at a time."""
_NOTHING: Final = ready(np.zeros(0, np.int32))


def room(count: int, kind: str = "i4") -> Any:
    """Zeros for the loops to add to."""
    return np.zeros(count, kind) if native.COMPILED else [0] * count


def empty(count: int, kind: str = "i4") -> Any:
    """Room for the loops to fill."""
    return np.empty(count, kind) if native.COMPILED else [0] * count


def entropy(counts: Ints) -> float:
    """Bits of tokens so counted, with their table."""
    used = counts[counts > 0].astype(np.float64)
    total = float(counts.sum())
    return float(total * np.log2(max(total, 1)) - used @ np.log2(used) + SYMBOL_BITS * used.size)


def cheapest(counts: Any, end: int) -> Split:
    """The split of SPLITS that costs least for values whose finest tokens, all below `end`, are so counted."""
    merged, low = _maps(SPLITS)
    return split(*SPLITS[token_loops.cheapest(counts, end, merged, low, LOGS, 1.0, SYMBOL_BITS)[1]])


def cost(
    y: Any,
    width: int,
    lead: int = 0,
    times: float = 1.0,
    other: Any = _NOTHING,
    predicted: tuple[Any, int, int] = (_NOTHING, 0, 0),
) -> float:
    """An estimate of the bits that residuals take, `times` over; see `token_loops.estimate`.

    `predicted`: taps, order and shift, by default no prediction.
    """
    merged, low = _maps(ROUGH)
    counts, totals = room(FINEST.base.size), room(ROWS_AT_ONCE, "i8")
    tables = totals, SMALL_MAX, FINE_MAX, counts, merged, low, LOGS, times, SYMBOL_BITS
    return float(token_loops.estimate(y, other, width, lead, *predicted, *tables))


def entropy_of(some: Any, keys: Any, taken: int, contexts: Ints, table: Any, size: int, times: float) -> float:
    """Bits of tokens in contexts, with their tables; see `token_loops.entropy`."""
    bits, used = token_loops.entropy(some, keys, taken, ready(contexts), table, size, LOGS, times)
    return float(bits + SYMBOL_BITS * used)


def merged_tokens(parts: Split) -> Any:
    """The token of a split for each of the finest ones, as the loops take it."""
    return _maps(((parts.small, parts.fine),))[0]


def frequencies(w: Ints, bits: int) -> Ints:
    """Weights, a row a context, as frequencies of sum 1 << bits, none of them 0; an empty row is all token 0."""
    contexts, size = w.shape
    freq, start = room(w.size), room(w.size)
    loops.frequencies(ready(w.ravel()), size, bits, freq, start)
    return np.array(freq, np.int64).reshape(contexts, size)


class Coder:
    """The frequencies of one column, ready for the loops."""

    def __init__(self, weights: Any, size: int, bits: int, parts: Split) -> None:
        """`weights`: of `size` tokens for each context, one context after the other, as the loops take them."""
        self.size = size
        self.bits = bits
        self.parts = parts
        self.freq, self.start = room(len(weights)), room(len(weights))
        loops.frequencies(weights, size, bits, self.freq, self.start)

    def put(self, r: Any, places: Any, state: int) -> tuple[int, bytes]:
        """Code residuals onto `state`; returns the new one and the words, in the order of reading."""
        count = 3 * len(r)
        words: Any = np.empty(count, np.uint16) if native.COMPILED else [0] * count
        freq = np.asarray(self.freq)
        reciprocals = ready((1 << loops.RECIPROCAL_BITS + self.bits) // np.maximum(freq, 1).astype(np.int64))
        low = ready(np.tile(self.parts.low[: self.size], len(freq) // self.size))
        state, at = loops.put_tokens(r, places, self.freq, self.start, low, reciprocals, self.bits, words, state)
        return state, np.array(words[at:], "<u2").tobytes()

    def get(self, words: Any, state: int, at: int, rows: int, limits: Ints, kind: int) -> tuple[int, int, Any]:
        """Read `rows` values; returns the state, the place and the values (an array, or a list without Numba)."""
        freq = np.asarray(self.freq)
        lookup = np.repeat(np.tile(np.arange(self.size, dtype=np.int32), len(freq) // self.size), freq)
        out: Any = np.empty(rows, np.int64) if native.COMPILED else [0] * rows
        tables = ready(lookup), self.freq, self.start, self.size, self.bits
        parts = ready(self.parts.base), ready(self.parts.low), ready(self.parts.length)
        state, at = loops.get_tokens(words, state, at, *tables, *parts, ready(limits), kind, out)
        return state, at, out
