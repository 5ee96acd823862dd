"""The peers of the batch bench: one module a family, each with `coders()` that says what can run here."""

from __future__ import annotations

from qres_host.bench.coder import Coder, Skipped
from qres_host.bench.peers import blosc, flac, general, lec, pco, rice, xor

FAMILIES = (pco, flac, general, blosc, rice, lec, xor)


def peers() -> tuple[list[Coder], list[Skipped]]:
    """All peers that can run here, and those that cannot with the reason."""
    found = [coder for family in FAMILIES for coder in family.coders()]
    return [c for c in found if isinstance(c, Coder)], [s for s in found if isinstance(s, Skipped)]
