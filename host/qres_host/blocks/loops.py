"""The loops of the fast level: the same text for Numba, on arrays, and for plain Python, on lists.

Every intermediate fits 64 bits, and nothing depends on wrapping: results are the same on both.
"""

from math import sqrt
from typing import Any, Final

from qres_host.native import COMPILED, jit

ONE: Final = 1 << 16  # a bit, where costs are whole numbers


def ready(array: Any) -> Any:
    """An array as the loops take it: itself, or without Numba a list, whose items are several times faster."""
    return array if COMPILED else array.tolist()


@jit
def wrap32(value: int) -> int:
    """The value modulo 2^32, as a signed 32-bit one."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@jit
def _log(n: int, logs: Any) -> int:
    """ONE * log2(n), about; 0 for 0."""
    shift = 0
    while n >= len(logs):
        n >>= 1
        shift += 1
    return int(logs[n]) + shift * ONE


@jit
def _finest(folded: int, small: int, fine: int) -> int:
    """The token of a folded value that is no token itself."""
    length = small
    while folded >> (length + 1):
        length += 1
    return (1 << small) + ((length - small - 1) << fine) + (folded >> (length - fine))


@jit
def count(r: Any, small: int, fine: int, u: Any, tokens: Any, counts: Any) -> int:
    """Fold residuals into `u`, split them into `tokens`, and add these up in `counts`.  Returns the greatest token."""
    most = 0
    for t in range(len(r)):
        value = int(r[t])
        folded = 2 * value if value >= 0 else -2 * value - 1
        token = _finest(folded, small, fine) if folded >> small else folded
        u[t] = folded
        tokens[t] = token
        counts[token] += 1
        if token > most:
            most = token
    return most


@jit
def price(counts: Any, end: int, merged: Any, low: Any, at: int, logs: Any) -> Any:
    """Bits, in parts of ONE, of values counted by finest tokens below `end` when they are coded as tokens merged[at:].

    low[at:] are the low bits of each; `logs` has ONE * log2(n) for small n.  Returns (bits, how many tokens are used).
    """
    bits = total = used = run = last = 0
    for k in range(end):
        n = int(counts[k])
        if n > 0:
            token = int(merged[at + k])
            if token != last and run > 0:
                bits -= run * _log(run, logs)
                used += 1
                run = 0
            last = token
            run += n
            total += n
            bits += n * int(low[at + k]) * ONE
    return bits - run * _log(run, logs) + total * _log(total, logs), used + (1 if run > 0 else 0)


@jit
def estimate(
    r: Any, small: int, fine: int, counts: Any, merged: Any, low: Any, logs: Any, times: float, own: float
) -> float:
    """Bits that residuals take, `times` over, with `own` for each token used, by the cheapest way of merging tokens.

    `counts` are zeros, one a finest token; `merged` and `low` as in `price`, for several ways.
    """
    most = 0
    for t in range(len(r)):
        value = int(r[t])
        folded = 2 * value if value >= 0 else -2 * value - 1
        token = _finest(folded, small, fine) if folded >> small else folded
        counts[token] += 1
        if token > most:
            most = token
    best = -1.0
    for at in range(0, len(merged), len(counts)):
        bits, used = price(counts, most + 1, merged, low, at, logs)
        total = bits / ONE * times + own * used
        if best < 0 or total < best:
            best = total
    return best


@jit
def sizes(tokens: Any, length: Any, keys: Any) -> int:
    """For each token, twice the bit length of the one before and that of the one before it.  Returns how many."""
    last = before = 0
    for t in range(len(tokens)):
        keys[t] = 2 * last + before
        before = last
        last = int(length[tokens[t]])
    return len(tokens)


@jit
def solve(square: Any, product: Any, size: int, leading: Any, factor: Any, out: Any) -> int:
    """Solve symmetric equations (`size` rows, flat) for each count in `leading` of their first unknowns alone.

    `factor` (size * size) and `out` (size for each of `leading`) are filled; by Cholesky's factors, which the systems
    share.  Returns how many were solved: those up to the first that is not positive definite.
    """
    for i in range(size):
        for j in range(i + 1):
            total = square[i * size + j]
            for k in range(j):
                total -= factor[i * size + k] * factor[j * size + k]
            if i > j:
                factor[i * size + j] = total / factor[j * size + j]
            elif total > 0:
                factor[i * size + i] = sqrt(total)
            else:
                return 0
    for n in range(len(leading)):
        at = n * size
        rows = int(leading[n])
        for i in range(rows):
            total = product[i]
            for k in range(i):
                total -= factor[i * size + k] * out[at + k]
            out[at + i] = total / factor[i * size + i]
        for i in range(rows - 1, -1, -1):
            total = out[at + i]
            for k in range(i + 1, rows):
                total -= factor[k * size + i] * out[at + k]
            out[at + i] = total / factor[i * size + i]
    return len(leading)


@jit
def put_tables(weights: Any, size: int, out: Any) -> int:
    """Write `size` weights, each within 0..65535, as bits to the bytes `out`; returns how many bytes.

    A weight is its bit length, coded as the folded difference from the one before (Golomb, one low bit), and its three
    bits below the top one; a zero is followed by the number of zeros, Elias gamma.
    """
    held = 0
    filled = 0
    at = 0
    last = 0
    i = 0
    while i < size:
        w = int(weights[i])
        length = 0
        while w >> length:
            length += 1
        folded = 2 * (length - last) if length >= last else 2 * (last - length) - 1
        last = length
        ones = folded >> 1
        held |= (((1 << ones) - 1) | (folded & 1) << (ones + 1)) << filled
        filled += ones + 2
        i += 1
        if length == 0:
            run = 1
            while i < size and int(weights[i]) == 0:
                run += 1
                i += 1
            bits = 0
            while run >> (bits + 1):
                bits += 1
            held |= ((1 << bits) - 1 | (run & ((1 << bits) - 1)) << (bits + 1)) << filled
            filled += 2 * bits + 1
        elif length > 1:
            low = length - 1 if length < 4 else 3
            held |= ((w >> (length - 1 - low)) & ((1 << low) - 1)) << filled
            filled += low
        while filled >= 8:
            out[at] = held & 255
            at += 1
            held >>= 8
            filled -= 8
    if filled > 0:
        out[at] = held & 255
        at += 1
    return at


@jit
def get_tables(data: Any, at: int, weights: Any, size: int) -> int:
    """Read what `put_tables` wrote from data[at:]; returns where it ended, or -1 for what it never wrote."""
    end = len(data)
    held = 0
    filled = 0
    last = 0
    i = 0
    while i < size:
        while filled < 48:
            held |= (int(data[at]) if at < end else 0) << filled
            at += 1
            filled += 8
        ones = 0
        while held & 1 and ones < 16:
            held >>= 1
            ones += 1
        folded = ones << 1 | (held >> 1 & 1)
        held >>= 2
        filled -= ones + 2
        length = last + (folded >> 1 if folded & 1 == 0 else -((folded + 1) >> 1))
        if length < 0 or length > 16:
            return -1
        last = length
        if length == 0:
            bits = 0
            while held & 1 and bits < 14:
                held >>= 1
                bits += 1
            held >>= 1
            run = 1 << bits | held & ((1 << bits) - 1)
            held >>= bits
            filled -= 2 * bits + 1
            if run > size - i:
                return -1
            for j in range(run):
                weights[i + j] = 0
            i += run
        else:
            low = length - 1 if length < 4 else 3
            weights[i] = (1 << low | held & ((1 << low) - 1)) << (length - 1 - low)
            held >>= low
            filled -= low
            i += 1
    at -= filled >> 3
    return at if at <= end else -1


@jit
def put_tokens(
    u: Any, tokens: Any, contexts: Any, freq: Any, start: Any, low: Any, size: int, bits: int, words: Any, state: int
) -> Any:
    """Code tokens and the low bits of `u` by a range asymmetric numeral system, last first.

    Context c has frequencies freq[c * size:] of sum 1 << bits and their running sums `start`; token k has low[k] low
    bits.  Fills `words` (16 bits each) and returns (state, how many); `state` is within 2^16..2^32 - 1.
    """
    at = 0
    for t in range(len(u) - 1, -1, -1):
        token = int(tokens[t])
        count = int(low[token])
        value = int(u[t]) & ((1 << count) - 1)
        while count > 0:  # at most 16 of them at a time, low ones read last
            part = count if count < 16 else 16
            if state >> (32 - part):
                words[at] = state & 0xFFFF
                at += 1
                state >>= 16
            state = state << part | value & ((1 << part) - 1)
            value >>= part
            count -= part
        k = int(contexts[t]) * size + token
        f = int(freq[k])
        if state >= f << (32 - bits):
            words[at] = state & 0xFFFF
            at += 1
            state >>= 16
        state = (state // f << bits) + state % f + int(start[k])
    return state, at


@jit
def get_tokens(
    words: Any,
    state: int,
    at: int,
    lookup: Any,
    freq: Any,
    start: Any,
    size: int,
    bits: int,
    base: Any,
    low: Any,
    length: Any,
    limits: Any,
    kind: int,
    out: Any,
) -> Any:
    """Read len(out) values of `put_tokens`, unfolded, from words[at:]; returns (state, where it ended).

    Where it ended is beyond the words if they are too few.  The context is the number of `limits` below the key: for
    kind 1, twice the bit length of the last folded value plus that of the one before; for 2, the last value; for 3, the
    sum of all values so far.
    """
    end = len(words)
    contexts = len(limits)
    mask = (1 << bits) - 1
    last = before = total = 0
    for t in range(len(out)):
        key = 2 * last + before if kind == 1 else total
        context = 0
        for i in range(contexts):
            if key > int(limits[i]):
                context += 1
        slot = state & mask
        token = int(lookup[(context << bits) + slot])
        k = context * size + token
        state = int(freq[k]) * (state >> bits) + slot - int(start[k])
        if state < 0x10000:
            state = state << 16 | (int(words[at]) if at < end else 0)
            at += 1
        u = int(base[token])
        count = int(low[token])
        while count > 0:
            part = (count - 1 & 15) + 1
            count -= part
            u |= (state & ((1 << part) - 1)) << count
            state >>= part
            if state < 0x10000:
                state = state << 16 | (int(words[at]) if at < end else 0)
                at += 1
        before = last
        last = int(length[token])
        value = u >> 1 if u & 1 == 0 else -((u + 1) >> 1)
        out[t] = value
        total = wrap32(total + value) if kind == 3 else value
    return state, at


@jit
def predict(y: Any, r: Any, other: Any, taps: Any, order: int, shift: int, undo: bool) -> int:
    """Residuals r[t] of y[order + t], or with `undo` y from r; everything modulo 2^32.  Returns len(r).

    The prediction weighs, by `taps` / 2^shift, the `order` values before (oldest first), and, by the taps beyond,
    values of another signal: other[t:], as many as there are such taps.  y starts with `order` zeros.
    """
    more = len(taps) - order
    half = (1 << shift) >> 1
    for t in range(len(r)):
        total = half
        for i in range(order):
            total += int(taps[i]) * int(y[t + i])
        for i in range(more):
            total += int(taps[order + i]) * int(other[t + i])
        total >>= shift
        if undo:
            y[t + order] = wrap32(int(r[t]) + total)
        else:
            r[t] = wrap32(int(y[t + order]) - total)
    return len(r)
