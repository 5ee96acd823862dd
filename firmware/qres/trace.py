"""A board's life as text: one JSON line per step, enough to run the step again on any machine.

{"e": event, "a": actions, "s": CRC-32 of the snapshot after the step, but for its last four bytes}, bytes as hex.
Bytes in an action beyond 64 are given as "#length:crc32:end", the CRC-32 of all but the last four, and these; and so
is a list of actions that makes the line too long: an action is there to be compared, an event to be repeated.  (The
last four bytes of a snapshot are its own CRC-32; a CRC-32 over both would be the same for all snapshots.)  A restored
snapshot comes before the BOOT that follows it, in parts: {"r": [part, parts, hex]}.
"""

import json

from qres.compat import const, crc32
from qres.events import BOOT, OTA, PACKET, SAMPLE

LINE_BYTES = const(2048)  # what one serial frame carries
_PART_BYTES = const(900)
_BRIEF_BYTES = const(64)


def _digest(data: "bytes | bytearray") -> str:
    return "#%d:%08x:%s" % (len(data), crc32(bytes(data[:-4])), "".join(["%02x" % b for b in data[-4:]]))


def _plain(item: tuple, brief: bool) -> list:
    """`item` with bytes as text, tuples as lists."""
    out = []
    for v in item:
        if isinstance(v, (bytes, bytearray)):
            v = _digest(v) if brief and len(v) > _BRIEF_BYTES else "".join(["%02x" % b for b in v])
        elif isinstance(v, tuple):
            v = list(v)
        out.append(v)
    return out


def encode(event: tuple, actions: list, snapshot: bytes) -> bytes:
    """The line of one step; at most LINE_BYTES for every event that a port delivers."""
    e = json.dumps(_plain(event, False))
    a = json.dumps([_plain(action, True) for action in actions])
    if len(e) + len(a) + 40 > LINE_BYTES:
        a = json.dumps(_digest(a.encode()))
    return ('{"e": %s, "a": %s, "s": %d}' % (e, a, crc32(snapshot[:-4]))).encode()


def encode_restore(blob: bytes) -> list[bytes]:
    """The lines of a restored snapshot."""
    parts = (len(blob) + _PART_BYTES - 1) // _PART_BYTES
    lines = []
    for i in range(parts):
        text = "".join(["%02x" % b for b in blob[i * _PART_BYTES : (i + 1) * _PART_BYTES]])
        lines.append(('{"r": [%d, %d, "%s"]}' % (i, parts, text)).encode())
    return lines


def decode(line: bytes) -> tuple:
    """("step", event, line) or ("restore", part, parts, bytes); raises ValueError alone.

    A step holds when encode() of what it gives now equals its line, as parsed by same().
    """
    try:
        record = json.loads(line)
        if "r" in record:
            part, parts, text = record["r"]
            return "restore", part, parts, bytes.fromhex(text)
        event = list(record["e"])
        if event[0] == BOOT:
            event[4] = bytes.fromhex(event[4])
            event[6] = bytes.fromhex(event[6])
        elif event[0] in (PACKET, OTA):
            event[2] = bytes.fromhex(event[2])
        elif event[0] == SAMPLE:
            event[2] = tuple(event[2])
        return "step", tuple(event), line
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError("not a trace line") from error


def same(line: bytes, other: bytes) -> bool:
    """Whether two lines say the same, whatever their spacing."""
    return line == other or json.loads(line) == json.loads(other)
