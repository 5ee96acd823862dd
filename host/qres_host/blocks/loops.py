"""The loops of the fast level: the same text for Numba, on arrays, and for plain Python, on lists.

Every intermediate fits 64 bits, and nothing depends on wrapping: results are the same on both.
"""

from typing import Any, Final

from qres_host.native import COMPILED, jit

ESCAPE: Final = 24  # ones before 32 raw bits, in short blocks
FIRST: Final = 11  # low bits of a first value, which tells nothing of the next
MEMORY: Final = 16  # values after which the running mean of a short block is halved


def ready(array: Any) -> Any:
    """An array as the loops take it: itself, or without Numba a list, whose items are several times faster."""
    return array if COMPILED else array.tolist()


@jit
def _wrap(value: int) -> int:
    """The value modulo 2^32, as a signed 32-bit one."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@jit
def _golomb(total: int, count: int) -> int:
    """Low bits for values whose sum over `count` was `total`."""
    k = 0
    while (count << k) < total and k < 31:
        k += 1
    return k


@jit
def _order(x: Any, base: int, rows: int) -> int:
    """The order of differences, 0 to 2, with the least sum of magnitudes; the first value counts for none."""
    sum0 = sum1 = sum2 = 0
    for t in range(2, rows):
        now = int(x[base + t])
        last = int(x[base + t - 1])
        sum0 += abs(now)
        sum1 += abs(now - last)
        sum2 += abs(now - 2 * last + int(x[base + t - 2]))
    if sum1 <= sum0 and sum1 <= sum2:
        return 1
    return 0 if sum0 <= sum2 else 2


@jit
def short_encode(x: Any, rows: int, channels: int, out: Any) -> int:
    """Write `x`, columns one after the other, to the bytes `out`; returns how many."""
    held = 0  # bits not yet written, and how many
    filled = 0
    at = 0
    for channel in range(channels):
        base = channel * rows
        order = _order(x, base, rows)
        held |= order << filled
        filled += 2
        last = slope = 0
        total, count = 8, 1
        for t in range(rows):
            now = int(x[base + t])
            error = _wrap(now - (last + slope if order == 2 else last))
            slope = now - last if t > 0 else 0
            last = now if order > 0 else 0
            folded = 2 * error if error >= 0 else -2 * error - 1
            k = _golomb(total, count) if t > 0 else FIRST
            ones = folded >> k
            if ones >= ESCAPE:
                held |= ((1 << ESCAPE) - 1) << filled
                filled += ESCAPE
                while filled >= 8:
                    out[at] = held & 255
                    at += 1
                    held >>= 8
                    filled -= 8
                held |= folded << filled
                filled += 32
            else:
                held |= ((1 << ones) - 1) << filled
                filled += ones + 1
                held |= (folded & ((1 << k) - 1)) << filled
                filled += k
            if t > 0:
                total += folded if folded < 0x1000000 else 0x1000000
                count += 1
            if count >= MEMORY:
                total = (total + 1) >> 1
                count >>= 1
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
def short_decode(data: Any, at: int, rows: int, channels: int, out: Any) -> int:
    """Read what `short_encode` wrote from data[at:]; returns where it ended, beyond the data if that is too short."""
    size = len(data)
    held = 0
    filled = 0
    for channel in range(channels):
        base = channel * rows
        order = 3
        last = slope = 0
        total, count = 8, 1
        for t in range(rows):
            while filled < 32:
                held |= (int(data[at]) if at < size else 0) << filled
                at += 1
                filled += 8
            if order == 3:
                order = held & 3
                held >>= 2
                filled -= 2
                if order == 3:
                    order = 0
            k = _golomb(total, count) if t > 0 else FIRST
            ones = 0
            while ones < ESCAPE and held & 1:
                held >>= 1
                ones += 1
            filled -= ones
            if ones < ESCAPE:
                held >>= 1
                filled -= 1
            else:
                k = 32
            while filled < k:
                held |= (int(data[at]) if at < size else 0) << filled
                at += 1
                filled += 8
            folded = held & ((1 << k) - 1)
            held >>= k
            filled -= k
            if ones < ESCAPE:
                folded = (folded | ones << k) & 0xFFFFFFFF
            error = folded >> 1 if folded & 1 == 0 else -((folded + 1) >> 1)
            now = _wrap(error + (last + slope if order == 2 else last))
            slope = now - last if t > 0 else 0
            last = now if order > 0 else 0
            out[base + t] = now
            if t > 0:
                total += folded if folded < 0x1000000 else 0x1000000
                count += 1
            if count >= MEMORY:
                total = (total + 1) >> 1
                count >>= 1
    return at - (filled >> 3)


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
    """Read what `put_tables` wrote from data[at:], rounded down; returns where it ended, or -1 for what it never wrote."""
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
    """Read len(out) values of `put_tokens`, unfolded, from words[at:]; returns (state, where it ended, beyond the words if short).

    The context is the number of `limits` below the key: kind 1, twice the bit length of the last folded value plus the one
    before's; kind 2, the last value; kind 3, the sum of all values so far.
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
        total = _wrap(total + value) if kind == 3 else value
    return state, at


@jit
def predict(y: Any, r: Any, other: Any, taps: Any, order: int, shift: int, undo: bool) -> int:
    """Residuals r[t] of y[order + t], or with `undo` y from r; everything modulo 2^32.  Returns len(r).

    The prediction weighs, by `taps` / 2^shift, the `order` values before (oldest first), and, by the taps beyond, values
    of another signal: other[t:], as many as there are such taps.  y starts with `order` zeros, `other` is padded alike.
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
            y[t + order] = _wrap(int(r[t]) + total)
        else:
            r[t] = _wrap(int(y[t + order]) - total)
    return len(r)
