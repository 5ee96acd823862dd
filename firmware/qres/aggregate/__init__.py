"""Aggregators, one file each; `get` imports only the one that the configuration names.

Contract: `aggregate(entries, faulty, regime) -> vector`.  `entries` is a non-empty list of (node id, weight Q16.16,
vector), `faulty` how many of them may lie, `regime` 0 to 2.  Vectors are lists of int32 of one length.  The result does
not depend on the order of arrival: everything is sorted, sums are exact, and there is one rounding.
"""

if False:
    from typing import Any

NAMES = ("adaptive", "weighted_mean", "trimmed_mean", "median")


def get(name: str) -> "Any":
    """The `aggregate` function of an aggregator; ValueError for an unknown name."""
    if name == "adaptive":
        from qres.aggregate import adaptive

        return adaptive.aggregate
    if name == "weighted_mean":
        from qres.aggregate import weighted_mean

        return weighted_mean.aggregate
    if name == "trimmed_mean":
        from qres.aggregate import trimmed_mean

        return trimmed_mean.aggregate
    if name == "median":
        from qres.aggregate import median

        return median.aggregate
    raise ValueError("unknown aggregator " + name)
