"""Frames on the serial line: what the board writes, the host reads."""

from __future__ import annotations

import random
from binascii import crc_hqx

import pytest
from qres.port import framing
from qres_host.wire import Deframer, Frame, Text, encode_frame


def _payloads() -> list[bytes]:
    noise = random.Random(7)
    found = [bytes(n) for n in range(300)] + [b"\1" * n for n in range(240, 780)]
    found += [bytes(noise.choice((0, 0, 1, 255, 7)) for _ in range(n)) for n in range(0, 700, 3)]
    return [*found, noise.randbytes(2048), bytes(2048), b"\xff" * 2048]


def test_every_payload_comes_back_and_no_write_is_a_multiple_of_64() -> None:
    deframer = Deframer()
    lengths = set()
    for seq, payload in enumerate(_payloads()):
        data = bytes(framing.encode(1 + seq % 6, seq & 0xFFFF, payload))
        lengths.add(len(data) % 64)
        assert deframer.feed(data) == [Frame(1 + seq % 6, seq & 0xFFFF, payload)]
    assert 0 not in lengths and len(lengths) == 63
    assert (deframer.bad, deframer.gaps) == (0, 0)


def test_the_board_writes_the_same_bytes_as_the_host() -> None:
    for seq, payload in enumerate(_payloads()):
        data = bytes(framing.encode(2, seq, payload))
        assert data.rstrip(b"\0") == encode_frame(2, seq, payload).rstrip(b"\0")


def test_crc_is_ccitt_false() -> None:
    assert framing.crc16(b"123456789") == 0x29B1
    noise = random.Random(3)
    for n in range(100):
        data = noise.randbytes(n)
        assert framing.crc16(data) == crc_hqx(data, 0xFFFF)


def test_text_between_frames_survives() -> None:
    data = b"hello\r\n" + framing.encode(6, 0, b"a\0b") + b">>> print(1)\r\n" + framing.encode(6, 1, b"")
    assert Deframer().feed(bytes(data)) == [
        Text("hello"), Frame(6, 0, b"a\0b"), Text(">>> print(1)"), Frame(6, 1, b""),
    ]  # fmt: skip


def test_a_payload_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        framing.encode(1, 0, bytes(2049))
