"""Machine code in the place of kernels: the same bytes and samples, and plain again afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import qres.cm
import qres.mixed
from qres_host import native
from qres_host.coders import compiled
from qres_host.packets import decode_stream, encode_stream
from qres_host.tags import Tags
from traffic import KEY, Swarm


@pytest.mark.parametrize("coder", ["cm", "rice", "huffman"])
def test_packets_are_the_same_with_machine_code(coder: str) -> None:
    rows = np.cumsum(np.random.default_rng(3).integers(-9, 10, (150, 3)), axis=0).astype(np.int32)
    rows[70:90] = rows[70]
    plain = encode_stream(rows, coder)
    tables = bytes(qres.cm.make_tables())
    with compiled():
        assert encode_stream(rows, coder) == plain
        assert (decode_stream(plain) == rows).all()
        assert bytes(qres.cm.make_tables()) == tables
    assert (decode_stream(plain) == rows).all()


def test_the_plain_kernels_come_back_with_the_last_user() -> None:
    before = qres.mixed.learn, qres.cm.symbol
    with compiled():
        changed = (qres.mixed.learn, qres.cm.symbol) != before
        assert changed == native.COMPILED
        with compiled():
            pass
        assert ((qres.mixed.learn, qres.cm.symbol) != before) == native.COMPILED
    assert (qres.mixed.learn, qres.cm.symbol) == before


def test_tags_say_what_the_boards_check_says() -> None:
    from qres import packet

    frame = Swarm().frame(0, packet.TELEMETRY, b"some payload")
    tags = Tags(KEY)
    hurt = [frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :] for at in range(len(frame))]
    frames = [frame, *hurt, b"", frame[:8], frame]
    assert tags.right(frames).tolist() == [packet.verify(KEY, each) for each in frames[:-3]] + [False, False, True]
    assert tags.right(frames).sum() == 2 and Tags(bytes(32)).right([frame]).tolist() == [False]
    around = [b"before" + each + b"by" for each in frames]
    assert tags.right(around, 6, 2).tolist() == tags.right(frames).tolist()
    assert tags.right([frame] * 3).all() and not len(tags.right([]))
