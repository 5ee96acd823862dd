"""The deframer: what is framed comes out, what is damaged never does, nothing grows without bound."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from qres_host.wire import HELLO, LOG, MAX_ENCODED, RADIO, Deframer, Frame, Text, encode_frame

TEXT_LINE = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=3)
PAYLOAD = st.binary(max_size=2048)


def feed_in_pieces(deframer: Deframer, data: bytes, cuts: list[int]) -> list[Frame | Text]:
    """Feed `data` cut at the given places."""
    items: list[Frame | Text] = []
    at = 0
    for cut in sorted(c % (len(data) + 1) for c in cuts):
        items += deframer.feed(data[at:cut])
        at = cut
    return items + deframer.feed(data[at:])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(PAYLOAD, TEXT_LINE), max_size=8), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_frames_and_text_come_out_in_order(parts: list[bytes | str], cuts: list[int]) -> None:
    stream, expected, seq = b"", [], 254
    for part in parts:
        if isinstance(part, str):
            # The byte after the first tells text from frame, so text that looks like a frame is not claimed.
            stream += part.encode() + b"\r\n"
            expected.append(("text", 0, part))
        else:
            stream += encode_frame(RADIO, seq, part)
            expected.append(("frame", seq, part))
            seq += 1
    deframer = Deframer()
    items = feed_in_pieces(deframer, stream, cuts) + deframer.close()
    got = [("text", 0, i.line) if isinstance(i, Text) else ("frame", i.seq, i.payload) for i in items]
    assert got == expected
    assert (deframer.bad, deframer.gaps, deframer.oversize) == (0, 0, 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=10))
def test_any_bytes_are_bounded_and_never_raise(chunks: list[bytes]) -> None:
    deframer = Deframer()
    for chunk in chunks:
        for item in deframer.feed(chunk):
            assert isinstance(item, Frame | Text)
        assert len(deframer._rest) <= MAX_ENCODED
    deframer.close()
    frame = encode_frame(HELLO, 9, b"after all that")
    # At most one frame is lost to what stood before: the second is read for certain.
    assert Frame(HELLO, 9, b"after all that") in deframer.feed(frame + frame)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_flipped_bit_is_never_accepted(payload: bytes, data: st.DataObject) -> None:
    good = encode_frame(RADIO, 5, payload)
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    deframer = Deframer()
    deframer.feed(encode_frame(LOG, 4, b"before"))
    frames = [
        i for i in deframer.feed(bytes(bad)) + deframer.feed(encode_frame(LOG, 6, b"after")) if isinstance(i, Frame)
    ]
    # Damage to a delimiter may leave the frame whole.
    accepted = {payload, b"after"}
    assert all(f.payload in accepted and f.seq in (5, 6) for f in frames)
    if all(f.seq != 5 for f in frames):
        assert deframer.gaps + deframer.bad + deframer.oversize >= 1


def test_text_is_passed_on_before_the_next_frame() -> None:
    deframer = Deframer()
    assert deframer.feed(b">>> print(1)\r\n1\r\nTrace") == [Text(">>> print(1)"), Text("1")]
    assert deframer.feed(b"back\r\n") == [Text("Traceback")]


def test_endless_garbage_without_a_delimiter_is_dropped_and_counted() -> None:
    deframer = Deframer()
    for _ in range(100):
        assert deframer.feed(b"\x02" * 1000) == []
    assert deframer.oversize == 1
    assert deframer._rest == b""
    deframer.feed(b"\0")
    assert deframer.feed(encode_frame(LOG, 0, b"ok")) == [Frame(LOG, 0, b"ok")]


def test_lost_frames_and_restarts_are_told_apart() -> None:
    deframer = Deframer()
    for seq in (65534, 65535, 0, 1, 4):
        deframer.feed(encode_frame(LOG, seq, b"x"))
    assert (deframer.gaps, deframer.restarts) == (2, 0)
    deframer.feed(encode_frame(LOG, 0, b"x"))
    assert (deframer.gaps, deframer.restarts) == (2, 1)
    deframer.feed(encode_frame(LOG, 3, b"x"))
    deframer.feed(encode_frame(LOG, 1, b"x"))  # a new boot whose frame 0 was lost
    assert (deframer.gaps, deframer.restarts) == (5, 2)


def test_an_empty_delimiter_after_a_write_of_64_bytes_changes_nothing() -> None:
    deframer = Deframer()
    one, two = encode_frame(LOG, 0, b"a" * 40), encode_frame(LOG, 1, b"b")
    assert len(deframer.feed(one + b"\0" + two + b"\0\0")) == 2
    assert deframer.bad == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), TEXT_LINE), max_size=20), st.integers(0, 2**32))
def test_many_frames_at_once_give_what_each_alone_gives(parts: list[bytes | str], seed: int) -> None:
    noise, pieces = random.Random(seed), []
    for seq, part in enumerate(parts):
        piece = part.encode() if isinstance(part, str) else encode_frame(RADIO, seq + 65_530, part)[1:-1]
        if piece and noise.random() < 0.3:  # damaged
            at = noise.randrange(len(piece))
            piece = piece[:at] + bytes([noise.randrange(1, 256)]) + piece[at + 1 :]
        if noise.random() < 0.1:
            piece = b"\2" * (MAX_ENCODED + 1)
        pieces.append(piece.replace(b"\0", b"\1"))
    together, alone = Deframer(), Deframer()
    items = together.feed(b"".join(piece + b"\0" for piece in pieces))
    assert items == [item for piece in pieces for item in alone.feed(piece + b"\0")]
    for name in ("frames", "bad", "oversize", "gaps", "restarts"):
        assert getattr(together, name) == getattr(alone, name)
