"""Coordinate-wise median: whatever fewer than half of the nodes say, the result stays within what the others say."""

if False:
    Entries = list[tuple[int, int, list[int]]]


def aggregate(entries: "Entries", faulty: int, regime: int) -> list[int]:
    """Median of each coordinate; of an even number, the mean of the middle two, rounded up at a half."""
    n = len(entries)
    out = []
    for i in range(len(entries[0][2])):
        column = sorted([v[i] for _, _, v in entries])
        out.append((column[(n - 1) >> 1] + column[n >> 1] + 1) >> 1)
    return out
