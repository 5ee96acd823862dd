"""Mean weighted by influence (seed section 5, Calm).  Cheap, and open to whoever has earned influence."""

if False:
    Entries = list[tuple[int, int, list[int]]]


def aggregate(entries: "Entries", faulty: int, regime: int) -> list[int]:
    """Weighted mean of each coordinate, rounded to nearest; the plain mean when all weights are zero."""
    total = sum([w for _, w, _ in entries])
    flat = not total
    if flat:
        total = len(entries)
    out = []
    for i in range(len(entries[0][2])):
        s = sum([v[i] * (1 if flat else w) for _, w, v in entries])
        out.append((2 * s + total) // (2 * total))
    return out
