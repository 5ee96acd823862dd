"""What a host tells the gateway of the packets that it decoded: which checkpoints it holds, and which it misses.

A board starts its packets from the state after one that was acknowledged. The commands go to the gateway's board, which
tells the others over the air, once in a radio window.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from qres import packet

from qres_host.records import Coded, Found, Missed
from qres_host.streams import Streams
from qres_host.wire import Deframer

NAMES = packet.NAMES_MAX  # that a command holds


def commands(found: Iterable[Found]) -> list[tuple[str, str, str]]:
    """Return the commands that answer decoded records: (device, name, argument), "ack" before "nak" for each device."""
    answers: dict[str, tuple[list[str], list[str]]] = {}
    for record in found:
        if isinstance(record, Coded) and record.point is not None:
            held, missed = answers.setdefault(record.device, ([], []))
            name = record.point.name.hex()
            held.append(name)
            while name in missed:  # it came after all
                missed.remove(name)
        elif isinstance(record, Missed):
            answers.setdefault(record.device, ([], []))[1].append(record.name.hex())
    return [
        (device, command, "".join(names[i : i + NAMES]))
        for device, both in answers.items()
        for command, names in zip(("ack", "nak"), both, strict=True)
        for i in range(0, len(names), NAMES)
    ]


class Acknowledger:
    """The host's end of a gateway's serial line, reduced to this: bytes in, command lines out."""

    def __init__(self, swarm_key: bytes) -> None:
        """`swarm_key`: 32 bytes."""
        self._streams = Streams(swarm_key)
        self._deframer = Deframer()

    def feed(self, data: bytes) -> bytes:
        """Take what the gateway wrote; return what to write back."""
        found = self._streams.feed(0, "", self._deframer.runs(data))
        lines = [json.dumps({"cmd": name, "arg": argument}) + "\n" for _, name, argument in commands(found)]
        return "".join(lines).encode()
