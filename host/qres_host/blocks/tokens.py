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
from qres_host.blocks import loops
from qres_host.blocks.loops import ready

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
ROUGH: Final = ((5, 1), (10, 3))
"""Splits that estimates look at."""


@lru_cache(maxsize=64)
def _merge(small: int, fine: int) -> tuple[Ints, Ints]:
    """Where each token of the split starts among the finest ones, and the token of each of the finest ones."""
    starts = np.searchsorted(FINEST.base, split(small, fine).base)
    return starts, np.searchsorted(starts, np.arange(FINEST.base.size), side="right") - 1


@lru_cache(maxsize=8)
def _maps(choices: tuple[tuple[int, int], ...]) -> tuple[Any, Any]:
    """For several splits, one after the other: the token of each of the finest ones, and its low bits."""
    merged = [_merge(*choice)[1] for choice in choices]
    low = [split(*choice).low[tokens] for choice, tokens in zip(choices, merged)]
    return ready(np.concatenate(merged)), ready(np.concatenate(low))


LOG_SIZE: Final = 4096
_LOGS: Final = ready(np.rint(loops.ONE * np.log2(np.maximum(np.arange(LOG_SIZE), 1))).astype(np.int64))


def entropy(counts: Ints, times: float = 1.0) -> float:
    """Bits of the tokens so counted (a row a context), `times` over, with their tables."""
    used = counts[counts > 0].astype(np.float64)
    totals = counts.sum(axis=1).astype(np.float64)
    bits = totals @ np.log2(np.maximum(totals, 1)) - used @ np.log2(used)
    return float(bits * times + SYMBOL_BITS * used.size)


class Counted(NamedTuple):
    """Residuals folded (0, -1, 1, -2, ... as 0, 1, 2, 3, ...), their finest tokens, how often each below `end` occurs.

    Arrays, or lists without Numba.
    """

    u: Any
    token: Any
    counts: Any
    end: int


def counted(r: Ints) -> Counted:
    """Fold residuals and count them by their finest tokens."""
    sizes = r.size, r.size, FINEST.base.size
    u, token, counts = (np.zeros(size, np.int64) if native.COMPILED else [0] * size for size in sizes)
    return Counted(u, token, counts, loops.count(ready(r), SMALL_MAX, FINE_MAX, u, token, counts) + 1)


def cheapest(values: Counted) -> Split:
    """The split of SPLITS that costs least for these values."""
    merged, low = _maps(SPLITS)
    best = float("inf"), 0
    for i in range(len(SPLITS)):
        bits, used = loops.price(values.counts, values.end, merged, low, i * len(values.counts), _LOGS)
        best = min(best, (bits / loops.ONE + SYMBOL_BITS * used, i))
    return split(*SPLITS[best[1]])


def cost(r: Ints, times: float = 1.0) -> float:
    """An estimate of the bits that these residuals take, `times` over."""
    counts: Any = np.zeros(FINEST.base.size, np.int64) if native.COMPILED else [0] * FINEST.base.size
    merged, low = _maps(ROUGH)
    return float(loops.estimate(ready(r), SMALL_MAX, FINE_MAX, counts, merged, low, _LOGS, times, SYMBOL_BITS))


def tokens(finest: Ints, parts: Split) -> Ints:
    """The tokens of a split from the finest ones."""
    result: Ints = _merge(parts.small, parts.fine)[1][finest]
    return result


def weights(counts: Ints, bits: int) -> Ints:
    """Counts of tokens, a row a context, as weights of four significant bits each."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scaled = np.where(counts > 0, np.maximum(counts * (1 << bits) // total, 1), 0)
    length = np.frexp(scaled.astype(np.float64))[1].astype(np.int64)
    drop = np.maximum(length - 4, 0)
    result: Ints = np.minimum((scaled + ((1 << drop) >> 1)) >> drop << drop, 0xF000)
    return result


def frequencies(w: Ints, bits: int) -> Ints:
    """Weights, a row a context, as frequencies of sum 1 << bits, none of them 0; an empty row is all token 0."""
    w = w.copy()
    w[:, 0] += w.sum(axis=1) == 0
    freq = (w << bits) // w.sum(axis=1, keepdims=True)
    freq = np.where(w > 0, np.maximum(freq, 1), 0)
    for row, missing in zip(freq, ((1 << bits) - freq.sum(axis=1)).tolist()):
        if missing >= 0:
            row[row.argmax()] += missing
        else:  # many small ones were rounded up: all above 1 give in proportion, and the first of them the rest
            above = np.maximum(row - 1, 0)
            row -= above * -missing // above.sum()
            rest = int(row.sum()) - (1 << bits)
            row[np.flatnonzero(row > 1)[:rest]] -= 1
    return freq


class Coder:
    """The frequencies of one column, ready for the loops."""

    def __init__(self, w: Ints, bits: int, parts: Split) -> None:
        """`w`: weights, a row a context."""
        freq = frequencies(w, bits)
        self.contexts, self.size = freq.shape
        self.bits = bits
        self.parts = parts
        self.freq = freq.ravel()
        self.start = (np.cumsum(freq, axis=1) - freq).ravel()

    def put(self, u: Ints, token: Ints, context: NDArray[np.uint8], state: int) -> tuple[int, NDArray[np.uint16]]:
        """Code folded values onto `state`; returns the new one and the words, in the order of writing."""
        room = 3 * u.size
        words: Any = np.empty(room, np.uint16) if native.COMPILED else [0] * room
        values, coded, chosen = ready(u), ready(token), ready(context)
        freq, start, low = ready(self.freq), ready(self.start), ready(self.parts.low)
        state, used = loops.put_tokens(values, coded, chosen, freq, start, low, self.size, self.bits, words, state)
        return state, np.array(words[:used], np.uint16)

    def get(self, words: Any, state: int, at: int, rows: int, limits: Ints, kind: int) -> tuple[int, int, Any]:
        """Read `rows` values; returns the state, the place and the values (an array, or a list without Numba)."""
        lookup = np.repeat(np.tile(np.arange(self.size, dtype=np.int32), self.contexts), self.freq)
        out: Any = np.empty(rows, np.int64) if native.COMPILED else [0] * rows
        tables = ready(lookup), ready(self.freq), ready(self.start), self.size, self.bits
        parts = ready(self.parts.base), ready(self.parts.low), ready(self.parts.length)
        state, at = loops.get_tokens(words, state, at, *tables, *parts, ready(limits), kind, out)
        return state, at, out
