"""The seed's switch: reputation-weighted mean in Calm, trimmed mean in PreStorm and Storm, with two repairs.

A plain weighted mean is whatever one liar wants it to be, so in Calm every coordinate is first cut to the range that
the trimmed mean averages over (winsorized). When as many as half of the nodes may lie, no mean is safe: the median.
"""

if False:
    Entries = list[tuple[int, int, list[int]]]


def aggregate(entries: "Entries", faulty: int, regime: int) -> list[int]:
    """See the module."""
    if 2 * faulty >= len(entries):
        from qres.aggregate.median import aggregate as rule
    elif regime == 0:
        from qres.aggregate.weighted_mean import aggregate as rule

        entries = winsorized(entries, faulty)
    else:
        from qres.aggregate.trimmed_mean import aggregate as rule
    return rule(entries, faulty, regime)


def winsorized(entries: "Entries", faulty: int) -> "Entries":
    """The entries with each coordinate cut to its values without the `faulty` smallest and largest."""
    limits = []
    for i in range(len(entries[0][2])):
        column = sorted([v[i] for _, _, v in entries])
        limits.append((column[faulty], column[-1 - faulty]))
    cut = []
    for node, weight, v in entries:
        cut.append((node, weight, [min(max(x, low), high) for x, (low, high) in zip(v, limits)]))
    return cut
