"""Aggregators, one file each; `get` imports only the one that the configuration names.

Contract: `aggregate(entries, faulty, regime) -> vector`.  `entries` is a non-empty list of (node id, weight Q16.16, vector),
`faulty` how many of them may lie, `regime` 0 to 2.  Vectors are lists of int32 of one length.  The result does not depend on
the order of arrival: everything is sorted, sums are exact, and there is one rounding.
"""

NAMES = ("adaptive", "weighted_mean", "trimmed_mean", "median")


def get(name: str) -> "object":
    """The `aggregate` function of an aggregator; ValueError for an unknown name."""
    if name == "adaptive":
        from qres.aggregate import adaptive as module
    elif name == "weighted_mean":
        from qres.aggregate import weighted_mean as module  # type: ignore[no-redef]
    elif name == "trimmed_mean":
        from qres.aggregate import trimmed_mean as module  # type: ignore[no-redef]
    elif name == "median":
        from qres.aggregate import median as module  # type: ignore[no-redef]
    else:
        raise ValueError("unknown aggregator " + name)
    return module.aggregate
