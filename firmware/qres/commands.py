"""Commands of the host to the board on its cable."""

from binascii import a2b_base64

from qres import events as ev
from qres import packet
from qres.compat import const
from qres.wake import ANNOUNCE

if False:
    from typing import Any

    from qres.node import Node

NAMES = ("time", "ack", "nak", "ota", "status")  # all others are about the board: qres.port.service
_NAMES_BYTES = const(456)  # of checkpoints that wait to be told of


def command(node: "Node", now: int, name: str, argument: "Any", out: "list[tuple[Any, ...]]") -> None:
    """ "time" (unix ms, the sentinel's clock), "ack" and "nak" (names of checkpoints, in hexadecimal), "ota" (an OTA
    frame's payload, base64: the sentinel sends it, and hears it itself), and "status"."""
    if name == "time" and node.sentinel and isinstance(argument, int) and 0 <= argument < 1 << 47:
        node.clock.set(now, argument, 0)
        node.clear()
        node.plan(now)
        node.agenda.at(argument, ANNOUNCE)
    elif name in ("ack", "nak") and node.sentinel and packet.names_of(argument):
        names = packet.names_of(argument)
        _tell_of(node, names if name == "ack" else b"", names if name == "nak" else b"")
    elif name == "ota" and node.sentinel and _payload(argument):
        payload = _payload(argument)
        node.say(packet.OTA, payload, out, now)
        out.append((ev.STAGE, payload))
    elif name == "status":
        from qres import telemetry

        frame = node.link.seal(packet.TELEMETRY, telemetry.pack(telemetry.values(node, now)))
        node.report(now, 0, frame, out)
        if node.sentinel:
            out.append((ev.REPORT, ev.WIRE_PEERS, telemetry.peers(node, now)))
    else:
        out.append((ev.REPLY, b'{"error":"unknown command or argument"}'))
        return
    out.append((ev.REPLY, b'{"cmd":"' + name.encode() + b'","ok":true}'))


def _payload(text: "Any") -> bytes:
    """The bytes of base64; none when it is none, or too long for a frame."""
    try:
        data: bytes = a2b_base64(text)
    except (TypeError, ValueError):
        return b""
    return data if len(data) <= packet.PAYLOAD_MAX else b""


def _tell_of(node: "Node", held: bytes, missed: bytes) -> None:
    """The host holds and misses the checkpoints of these names: the boards hear it with the next announcement."""
    node.acks = (node.acks + held)[-_NAMES_BYTES:]
    node.naks = (node.naks + missed)[-_NAMES_BYTES:]
    node.hear_names(held, missed)
