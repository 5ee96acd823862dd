"""The loops that count tokens and price them: the same text for Numba, on arrays, and for plain Python, on lists."""

from typing import Any, Final

from qres_host.blocks.loops import wrap32
from qres_host.native import jit

ONE: Final = 1 << 16  # a bit, where costs are whole numbers


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
def _predict(
    y: Any, at: int, other: Any, beside: int, taps: Any, order: int, shift: int, rows: int, totals: Any
) -> int:
    """2^shift times predictions of y[at + order:] for some rows into `totals`: `taps` weigh values of both signals.

    The first `order` taps weigh the values before (oldest first), those beyond other[beside:], as many as they are.
    Half of 2^shift is added, to round.  Two taps after the other, so that compiled code takes several rows at a time.
    """
    half = (1 << shift) >> 1
    for t in range(rows):
        totals[t] = half
    for i in range(0, order, 2):
        first = int(taps[i])
        second = int(taps[i + 1]) if i + 1 < order else 0
        values = y[at + i : at + i + rows + 1]
        for t in range(rows):
            totals[t] += first * values[t] + second * values[t + 1]
    for i in range(len(taps) - order):
        tap = int(taps[order + i])
        values = other[beside + i : beside + i + rows]
        for t in range(rows):
            totals[t] += tap * values[t]
    return rows


@jit
def residuals(
    y: Any,
    other: Any,
    taps: Any,
    order: int,
    shift: int,
    totals: Any,
    small: int,
    fine: int,
    r: Any,
    tokens: Any,
    counts: Any,
) -> int:
    """What taps do not predict of y[order:], with the finest token of each, and these counted; the greatest token.

    See `_predict`; `totals` is room for some predictions.
    """
    most = 0
    for start in range(0, len(r), len(totals)):
        rows = min(len(totals), len(r) - start)
        _predict(y, start, other, start, taps, order, shift, rows, totals)
        for t in range(start, start + rows):
            value = wrap32(y[t + order] - (totals[t - start] >> shift))
            folded = 2 * value if value >= 0 else -2 * value - 1
            token = _finest(folded, small, fine) if folded >> small else folded
            r[t] = value
            tokens[t] = token
            counts[token] += 1
            if token > most:
                most = token
    return most


@jit
def _price(counts: Any, end: int, merged: Any, low: Any, at: int, logs: Any) -> Any:
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
def cheapest(counts: Any, end: int, merged: Any, low: Any, logs: Any, times: float, own: float) -> Any:
    """The least bits of these counts, `times` over, by any way of merging tokens, and the number of that way.

    `merged` and `low` are as in `_price`, for several ways, one after the other; `own`: bits of each token used.
    """
    best = -1.0
    found = 0
    for at in range(0, len(merged), len(counts)):
        bits, used = _price(counts, end, merged, low, at, logs)
        total = bits / ONE * times + own * used
        if best < 0 or total < best:
            best = total
            found = at // len(counts)
    return best, found


@jit
def estimate(
    y: Any,
    other: Any,
    width: int,
    lead: int,
    taps: Any,
    order: int,
    shift: int,
    totals: Any,
    small: int,
    fine: int,
    counts: Any,
    merged: Any,
    low: Any,
    logs: Any,
    times: float,
    own: float,
) -> float:
    """About how many bits it takes, `times` over, what taps do not predict of y, by the cheapest way of merging tokens.

    y and the other signal are pieces of `width` rows, the first `lead` of which are only predicted from; no other
    signal and no taps are arrays without items.  `counts` are zeros; the rest is as in `residuals` and `cheapest`.
    """
    beside = 1 - (len(taps) - order)
    most = 0
    for piece in range(0, len(y), width):
        for start in range(piece + lead, piece + width, len(totals)):
            rows = min(len(totals), piece + width - start)
            _predict(y, start - order, other, start + beside, taps, order, shift, rows, totals)
            for t in range(start, start + rows):
                value = wrap32(y[t] - (totals[t - start] >> shift))
                folded = 2 * value if value >= 0 else -2 * value - 1
                token = _finest(folded, small, fine) if folded >> small else folded
                counts[token] += 1
                if token > most:
                    most = token
    best, _ = cheapest(counts, most + 1, merged, low, logs, times, own)
    return float(best)


@jit
def sample(tokens: Any, merged: Any, length: Any, stretch: int, step: int, some: Any, keys: Any, counts: Any) -> int:
    """Every `step`-th stretch of merged tokens into `some`; returns how many.

    Their keys, twice the bit length of the token before and that of the one before it, go into `keys` and `counts`.
    """
    last = before = taken = 0
    for start in range(0, len(tokens), stretch * step):
        end = start + stretch if start + stretch < len(tokens) else len(tokens)
        for t in range(start, end):
            token = int(merged[tokens[t]])
            key = 2 * last + before
            before = last
            last = int(length[token])
            some[taken] = token
            keys[taken] = key
            counts[key] += 1
            taken += 1
    return taken


@jit
def levels(v: Any, first: int, limits: Any, stretch: int, step: int, out: Any) -> int:
    """How many limits lie below the value before, less the first, of each row that `sample` takes; how many rows."""
    taken = 0
    for start in range(0, len(v), stretch * step):
        end = start + stretch if start + stretch < len(v) else len(v)
        for t in range(start, end):
            key = wrap32(int(v[t - 1]) - first) if t > 0 else 0
            context = 0
            for i in range(len(limits)):
                if key > int(limits[i]):
                    context += 1
            out[taken] = context
            taken += 1
    return taken


@jit
def limits(counts: Any, parts: int, out: Any) -> int:
    """Limits between keys 0, 1, 2, ..., so counted, that part them in about `parts` parts; returns how many."""
    total = 0
    for k in range(len(counts)):
        total += int(counts[k])
    running = 0
    part = 1
    found = 0
    for k in range(len(counts)):
        running += int(counts[k])
        if running < total and part < parts and running > part * total // parts:
            out[found] = k
            found += 1
            while part < parts and running > part * total // parts:
                part += 1
    return found


@jit
def entropy(some: Any, keys: Any, taken: int, contexts: Any, table: Any, size: int, logs: Any, times: float) -> Any:
    """Bits of `taken` tokens below `size`, `times` over, each in the context contexts[key]; how many are used.

    `table` has `size` zeros for each context.
    """
    for t in range(taken):
        table[int(contexts[keys[t]]) * size + int(some[t])] += 1
    bits = used = 0
    for start in range(0, len(table), size):
        total = 0
        for k in range(start, start + size):
            n = int(table[k])
            if n > 0:
                total += n
                bits -= n * _log(n, logs)
                used += 1
        bits += total * _log(total, logs)
    return bits / ONE * times, used


@jit
def place(
    v: Any,
    first: int,
    tokens: Any,
    merged: Any,
    length: Any,
    kind: int,
    limits: Any,
    contexts: Any,
    size: int,
    places: Any,
    table: Any,
) -> int:
    """Where the merged token of each row stands in tables of `size` tokens, one a context; counted in `table`.

    The context is as `get_tokens` says; for kind 1 it is contexts[key].  Returns how many rows there are.
    """
    last = before = 0
    for t in range(len(tokens)):
        token = int(merged[tokens[t]])
        context = 0
        if kind == 1:
            context = int(contexts[2 * last + before])
            before = last
            last = int(length[token])
        elif kind > 1:
            key = wrap32(int(v[t - 1]) - first) if t > 0 else 0
            for i in range(len(limits)):
                if key > int(limits[i]):
                    context += 1
        at = context * size + token
        places[t] = at
        table[at] += 1
    return len(tokens)
