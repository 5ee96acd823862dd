"""Frames on the serial line, board side (docs/wire.md): 0x00 | COBS(type | seq | payload | CRC-16) | 0x00."""

import json

if False:
    from typing import Any

LINE_BYTES = 352  # the longest line of a host: a whole frame in base64
PAYLOAD_BYTES = 2048  # the longest payload that a host accepts
_USB_PACKET = 64  # USB-Serial-JTAG stalls after a write of whole packets
# CRC-16/CCITT-FALSE four bits at a time: 16 entries instead of 256, for the heap's sake.
_CRC = (
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
    0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
)  # fmt: skip


def crc16(data: "bytes | bytearray") -> int:
    """CRC-16/CCITT-FALSE of `data` (polynomial 0x1021, start 0xFFFF)."""
    table = _CRC
    crc = 0xFFFF
    for b in data:
        crc = ((crc & 0xFFF) << 4) ^ table[(crc >> 12) ^ (b >> 4)]
        crc = ((crc & 0xFFF) << 4) ^ table[(crc >> 12) ^ (b & 15)]
    return crc


def cobs(data: bytes, out: bytearray) -> None:
    """Append `data` to `out` without a zero byte (consistent overhead byte stuffing)."""
    pieces = data.split(b"\0")
    last = len(pieces) - 1
    for i in range(last + 1):
        piece = pieces[i]
        at = 0
        while len(piece) - at >= 254:
            out.append(255)
            out += piece[at : at + 254]
            at += 254
        if i < last or at == 0 or at < len(piece):
            out.append(len(piece) - at + 1)
            out += piece[at:]


def encode(kind: int, seq: int, payload: "bytes | bytearray") -> bytearray:
    """The bytes to write for one frame: `kind` 1 to 31, `seq` 0 to 65535.

    Never a multiple of 64 bytes.  Raises ValueError for a payload beyond PAYLOAD_BYTES.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise ValueError("payload too long")
    body = bytearray((kind, seq & 255, seq >> 8))
    body += payload
    crc = crc16(body) ^ 0xFFFF  # inverted, else a frame that a zero byte lengthens or shortens could pass
    body.append(crc >> 8)
    body.append(crc & 255)
    out = bytearray(1)
    cobs(bytes(body), out)
    out.append(0)
    if len(out) % _USB_PACKET == 0:
        out.append(0)
    return out


def command(line: bytes) -> "tuple[str, Any] | bytes":
    """(name, argument) of a host's line {"cmd": name, "arg": value}; else the payload of the REPLY that refuses it."""
    if len(line) > LINE_BYTES:
        return b'{"error": "line too long"}'
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if isinstance(record, dict) and isinstance(record.get("cmd"), str):
        return record["cmd"], record.get("arg")
    return b'{"error": "not a command: {\\"cmd\\": name, \\"arg\\": value} expected"}'
