"""Telemetry as a host keeps it: checked when it comes, decoded when somebody looks.

Of a board that tells much, the newest is shown and the rest is only stored, so decoding each at once would be most of
the work of listening. The pattern accepts exactly what `qres.telemetry.unpack` does, in one call.
"""

from __future__ import annotations

import re
from operator import itemgetter

from qres import telemetry

SPANS = (("mac", "battery_permille"), ("epoch", "model"))
"""First and last fields of the parts that hold what a view follows; the hardware address is the first field."""
assert telemetry.FIELDS[0] == ("mac", "bytes6")


class Telemetry(tuple[bytes, bytes, bytes]):
    """What a board says of itself: the payload of its frame, then of that the bytes of each of SPANS."""

    __slots__ = ()

    payload = property(itemgetter(0), doc="All of it, as it came.")
    watched = property(itemgetter(slice(1, None)), doc="The bytes of SPANS: alike while nothing changes there.")

    @property
    def mac(self) -> bytes:
        """The board's hardware address, six bytes."""
        return self[0][:6]

    def values(self) -> dict[str, int | bytes]:
        """Return the values of `telemetry.FIELDS` by name."""
        return telemetry.unpack(self[0])


def _pattern() -> re.Pattern[bytes]:
    starts, ends = zip(*SPANS, strict=True)
    fields = []
    for name, kind in telemetry.FIELDS:
        # A varint takes up to nine bytes, all but its last above 127. There is one way to match: nothing to try again.
        field = rb"[\x80-\xff]{0,8}+[\x00-\x7f]" if kind == "uint" else b".{%d}" % int(kind[5:])
        fields.append(b"(" * (name in starts) + field + b")" * (name in ends))
    return re.compile(b"".join(fields), re.DOTALL)


_match = _pattern().fullmatch


def read(payload: bytes) -> Telemetry | None:
    """Return the telemetry of a payload, None when it is none."""
    found = _match(payload)
    return Telemetry(found.group(0, 1, 2)) if found is not None else None
