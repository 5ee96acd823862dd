"""The loops that choose values near samples: the same text for Numba, on arrays, and for plain Python, on lists."""

from typing import Any

from qres_host.blocks.loops import wrap32
from qres_host.native import jit


@jit
def hold(v: Any, eps: int, out: Any) -> int:
    """The fewest constant runs within `eps` of v, at multiples of eps + 1 where one fits.  Returns how many."""
    t = runs = 0
    end = len(v)
    grid = eps + 1
    while t < end:
        low, high = int(v[t]) - eps, int(v[t]) + eps
        until = t + 1
        while until < end and max(low, int(v[until]) - eps) <= min(high, int(v[until]) + eps):
            low = max(low, int(v[until]) - eps)
            high = min(high, int(v[until]) + eps)
            until += 1
        value = -(-low // grid) * grid
        if value > high:
            value = (low + high) >> 1
        for i in range(t, until):
            out[i] = value
        runs += 1
        t = until
    return runs


@jit
def cheapest(v: Any, eps: int, grid: int, costs: Any, bit: int, back: Any, path: Any) -> int:
    """Indices of multiples of `grid` within `eps` of v such that the steps between them cost least (Viterbi).

    costs[n] is that of a step of +-n; longer ones than there are costs for cost 2 * bit more with each bit of length.
    `back` has as many places per value as multiples can be within reach.  Returns the least sum.
    """
    end = len(v)
    places = len(back) // end
    last = len(costs) - 1
    sums = [0] * places
    fresh = [0] * places
    low = before = count = 0
    for t in range(end):
        had = count
        before = low
        low = -((eps - int(v[t])) // grid)
        count = (int(v[t]) + eps) // grid - low + 1
        for j in range(count):
            best = 0
            chosen = 0
            for i in range(had):
                step = abs(low + j - before - i)
                total = sums[i]
                if step > last:
                    total += int(costs[last])
                    while step > last:
                        step >>= 1
                        total += 2 * bit
                else:
                    total += int(costs[step])
                if i == 0 or total < best:
                    best = total
                    chosen = i
            fresh[j] = best
            back[t * places + j] = chosen
        for j in range(count):
            sums[j] = fresh[j]
    j = 0
    for i in range(count):
        if sums[i] < sums[j]:
            j = i
    least = sums[j]
    for t in range(end - 1, -1, -1):
        path[t] = -((eps - int(v[t])) // grid) + j
        j = int(back[t * places + j])
    return least


@jit
def go_on(v: Any, threshold: int, slopes: bool, out: Any) -> int:
    """Values predicted from those before, where that is less than `threshold` off: the last one, or the last slope.

    Returns how many values were sent, as they are.
    """
    last = slope = sent = 0
    for t in range(len(v)):
        now = last + slope if slopes else last
        if t == 0 or abs(now - int(v[t])) >= threshold or now != wrap32(now):
            now = int(v[t])
            sent += 1
        slope = now - last if t > 0 else 0
        last = now
        out[t] = now
    return sent
