"""The seed's switch: reputation-weighted mean in Calm, trimmed mean in PreStorm and Storm, with one repair.

When as many as half of the nodes may lie, no mean of any kind is safe: then the median.
"""

if False:
    Entries = list[tuple[int, int, list[int]]]


def aggregate(entries: "Entries", faulty: int, regime: int) -> list[int]:
    """See the module."""
    if 2 * faulty >= len(entries):
        from qres.aggregate.median import aggregate as rule
    elif regime == 0:
        from qres.aggregate.weighted_mean import aggregate as rule
    else:
        from qres.aggregate.trimmed_mean import aggregate as rule
    return rule(entries, faulty, regime)
