"""The loops of finding lattices: the same text for Numba, on arrays, and for plain Python, on lists."""

from typing import Any

from qres_host.native import jit


@jit
def gcd(a: int, b: int) -> int:
    """The greatest common divisor of two numbers from 0 on."""
    while b > 0:
        a, b = b, a % b
    return a


@jit
def distinct(ordered: Any, out: Any) -> Any:
    """The distinct ones of values in order, and the common divisor of their differences; how many, and that divisor."""
    out[0] = ordered[0]
    count = 1
    step = 0
    for t in range(1, len(ordered)):
        gap = int(ordered[t]) - int(ordered[t - 1])
        if gap > 0:
            out[count] = ordered[t]
            count += 1
            if step != 1:
                step = gcd(gap, step)
    return count, step


@jit
def frequent(values: Any, least: int, chance: float, steps: Any, counts: Any) -> int:
    """Common divisors of the two differences of each three values: those that occur too often for chance, their counts.

    `chance` is the share of pairs of any numbers that have no common divisor.  `steps` and `counts` are room for a
    third of the values.  Returns how many there are.
    """
    third = len(values) // 3
    found = 0
    for t in range(third):
        a = abs(int(values[third + t]) - int(values[t]))
        b = abs(int(values[2 * third + t]) - int(values[third + t]))
        common = gcd(a, b)
        if common > 1:
            k = 0
            while k < found and int(steps[k]) != common:
                k += 1
            if k == found:
                steps[k] = common
                counts[k] = 0
                found += 1
            counts[k] += 1
    kept = 0
    for k in range(found):
        step = int(steps[k])
        if int(counts[k]) >= least + chance * third / (step * step):
            steps[kept] = step
            counts[kept] = counts[k]
            kept += 1
    return kept


@jit
def mark(values: Any, low: int, seen: Any) -> int:
    """Set `seen` at each value less the least one, `low`.  Returns how many values there are."""
    for t in range(len(values)):
        seen[int(values[t]) - low] = True
    return len(values)


@jit
def _room(scaled: Any, index: Any, step: int, whole: int) -> Any:
    """How far the offset may move (none below 1) for this step, and its middle."""
    least = most = int(scaled[0]) - step * int(index[0])
    for t in range(1, len(scaled)):
        rest = int(scaled[t]) - step * int(index[t])
        if rest > most:
            most = rest
        if rest < least:
            least = rest
    return least + whole - most, most + (least + whole - most) // 2


@jit
def grid(scaled: Any, index: Any, low: int, high: int, whole: int) -> Any:
    """The step from `low` to `high` for which the offset may move farthest: how far, its middle, and the step.

    Offsets give offset + step * index <= scaled, and less than `whole` below.
    """
    while high - low > 2:  # how far is concave: search its top by thirds
        third = (high - low) // 3
        if _room(scaled, index, low + third, whole)[0] < _room(scaled, index, high - third, whole)[0]:
            low += third
        else:
            high -= third
    best, offset = _room(scaled, index, low, whole)
    found = low
    for step in range(low + 1, high + 1):
        room, middle = _room(scaled, index, step, whole)
        if room >= best:
            best, offset, found = room, middle, step
    return best, offset, found
