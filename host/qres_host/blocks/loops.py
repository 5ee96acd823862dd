"""The loops of the fast level: the same text for Numba, on arrays, and for plain Python, on lists.

Every intermediate fits 64 bits, and nothing depends on wrapping: results are the same on both.
"""

from typing import Any, Final

from qres_host.native import COMPILED, jit

RECIPROCAL_BITS: Final = 30
"""How much finer than states reciprocals are; states are below frequency << (32 - bits) where they are divided."""


def ready(array: Any) -> Any:
    """An array as the loops take it: itself, or without Numba a list, whose items are several times faster."""
    return array if COMPILED else array.tolist()


@jit
def wrap32(value: int) -> int:
    """The value modulo 2^32, as a signed 32-bit one."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@jit
def weigh(counts: Any, size: int, bits: int, out: Any) -> int:
    """Counts of tokens, `size` a context, as weights of four significant bits each.  Returns how many."""
    for start in range(0, len(counts), size):
        total = 0
        for k in range(start, start + size):
            total += int(counts[k])
        for k in range(start, start + size):
            n = int(counts[k])
            w = 0
            if n > 0:
                w = (n << bits) // total
                if w < 1:
                    w = 1
                drop = 0
                while w >> (drop + 4):
                    drop += 1
                w = (w + ((1 << drop) >> 1)) >> drop << drop
                if w > 0xF000:
                    w = 0xF000
            out[k] = w
    return len(counts)


@jit
def frequencies(weights: Any, size: int, bits: int, freq: Any, start: Any) -> int:
    """Weights, `size` a context, as frequencies of sum 1 << bits, none of them 0, and their running sums.

    A context without weights is all its first token.  Returns how many.
    """
    whole = 1 << bits
    for first in range(0, len(weights), size):
        total = 0
        for k in range(first, first + size):
            total += int(weights[k])
        missing = whole
        most = first
        for k in range(first, first + size):
            w = int(weights[k])
            f = (w << bits) // total if total > 0 else 0
            if w > 0 and f < 1:
                f = 1
            freq[k] = f
            missing -= f
            if f > int(freq[most]):
                most = k
        if missing >= 0:
            freq[most] += missing
        else:  # many small ones were rounded up: all above 1 give in proportion, and the first of them the rest
            above = 0
            for k in range(first, first + size):
                above += int(freq[k]) - 1 if int(freq[k]) > 1 else 0
            rest = -missing
            for k in range(first, first + size):
                if int(freq[k]) > 1:
                    given = (int(freq[k]) - 1) * -missing // above
                    freq[k] -= given
                    rest -= given
            k = first
            while rest > 0:
                if int(freq[k]) > 1:
                    freq[k] -= 1
                    rest -= 1
                k += 1
        total = 0
        for k in range(first, first + size):
            start[k] = total
            total += int(freq[k])
    return len(weights)


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
    r: Any, places: Any, freq: Any, start: Any, low: Any, reciprocal: Any, bits: int, words: Any, state: int
) -> Any:
    """Code residuals by a range asymmetric numeral system, last first, into `words` from its end on.

    The token of row t stands at places[t] in tables of all contexts: frequencies of sum 1 << bits in each context,
    their running sums `start`, 2^(RECIPROCAL_BITS + bits) divided by them, rounded down, and how many low bits of the
    folded residual follow.  `state` is within 2^16..2^32 - 1.  Returns (state, where the words begin).
    """
    at = len(words)
    for t in range(len(r) - 1, -1, -1):
        place = int(places[t])
        count = int(low[place])
        if count > 0:
            value = int(r[t])
            value = (2 * value if value >= 0 else -2 * value - 1) & ((1 << count) - 1)
            while count > 0:  # at most 16 of them at a time, low ones read last
                part = count if count < 16 else 16
                if state >> (32 - part):
                    at -= 1
                    words[at] = state & 0xFFFF
                    state >>= 16
                state = state << part | value & ((1 << part) - 1)
                value >>= part
                count -= part
        f = int(freq[place])
        if state >= f << (32 - bits):
            at -= 1
            words[at] = state & 0xFFFF
            state >>= 16
        # A product takes a third of the time of a division; it is below 2^62, and its quotient is at most 1 too small.
        quotient = state * int(reciprocal[place]) >> (RECIPROCAL_BITS + bits)
        rest = state - quotient * f
        if rest >= f:
            rest -= f
            quotient += 1
        state = (quotient << bits) + rest + int(start[place])
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
def restore(r: Any, other: Any, taps: Any, order: int, shift: int, y: Any) -> int:
    """What `residuals` were taken of, behind the `order` zeros that y starts with.  Returns len(r)."""
    more = len(taps) - order
    half = (1 << shift) >> 1
    for t in range(len(r)):
        total = half
        for i in range(order):
            total += int(taps[i]) * int(y[t + i])
        for i in range(more):
            total += int(taps[order + i]) * int(other[t + i])
        y[t + order] = wrap32(int(r[t]) + (total >> shift))
    return len(r)
