"""Telemetry as a host keeps it: checked when it comes, decoded when somebody looks.

Of a board that tells much, the newest is shown and the rest is only stored, so decoding each at once would be most of
the work of listening. The pattern accepts exactly what `qres.telemetry.unpack` does, in one call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from qres import telemetry

SPANS = (("mac", "battery_permille"), ("epoch", "model"))
"""First and last fields of the parts that hold what a view follows; the hardware address is the first field."""
assert telemetry.FIELDS[0] == ("mac", "bytes6")


def _pattern() -> re.Pattern[bytes]:
    starts, ends = zip(*SPANS, strict=True)
    fields = []
    for name, kind in telemetry.FIELDS:
        # A varint takes up to nine bytes, all but its last above 127. There is one way to match: nothing to try again.
        field = rb"[\x80-\xff]{0,8}+[\x00-\x7f]" if kind == "uint" else b".{%d}" % int(kind[5:])
        fields.append(b"(" * (name in starts) + field + b")" * (name in ends))
    return re.compile(b"".join(fields), re.DOTALL)


_match = _pattern().fullmatch


def read(payloads: Iterable[bytes]) -> tuple[list[bytes | None], list[bytes]]:
    """Return each payload that is telemetry, else None, and the bytes of its SPANS, by which changes are seen."""
    told: list[bytes | None] = []
    watched = []
    for payload in payloads:
        found = _match(payload)
        if found is None:
            told.append(None)
            watched.append(b"")
        else:
            told.append(payload)
            watched.append(found[1] + found[2])
    return told, watched
