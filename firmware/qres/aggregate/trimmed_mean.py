"""Coordinate-wise trimmed mean (Yin et al. 2018; seed section 5): drop the extremes of each side, average the rest."""

if False:
    Entries = list[tuple[int, int, list[int]]]


def aggregate(entries: "Entries", faulty: int, regime: int) -> list[int]:
    """Mean without the max(`faulty`, 20 %) smallest and largest of each coordinate; the median when nothing is left.

    Trimming less than the number of liars on each side would leave the result unbounded.
    """
    n = len(entries)
    trim = max(faulty, n // 5)
    if 2 * trim >= n:
        from qres.aggregate import median

        return median.aggregate(entries, faulty, regime)
    out = []
    kept = n - 2 * trim
    for i in range(len(entries[0][2])):
        column = sorted([(v[i], node) for node, _, v in entries])
        s = sum([column[j][0] for j in range(trim, n - trim)])
        out.append((2 * s + kept) // (2 * kept))
    return out
