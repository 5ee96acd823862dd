"""Frames in the database: all that came, once, in chunks that fill up over any number of transactions."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres import packet, telemetry
from qres_host import frames
from qres_host.frames import FRAMES, FrameTable, Place, gather, read_frames
from qres_host.records import Packet
from qres_host.store import open_database
from traffic import telling, together

NODE = 7


def heard(counter: int, device: str = "gate", session: int = 1, at_ms: int = 5) -> Packet:
    """Return a frame; every third is telemetry."""
    said = telling(NODE, samples=counter)
    told = said.told if counter % 3 == 0 else None
    kind = packet.TELEMETRY if told is not None else packet.DATA
    rssi_dbm, size = -128 + counter % 256, 18 + counter % 233
    return Packet(at_ms, device, 2**46, NODE, session, counter, kind, rssi_dbm, size, 0, told)


def write(table: FrameTable, *packets: Packet) -> None:
    """Write frames as one transaction does."""
    fresh: dict[Place, list[bytes]] = {}
    gather(fresh, [together(packets)])
    table.write(fresh)


def stored(database: sqlite3.Connection) -> list[tuple[int, int, str, int]]:
    """Return session, counter, device and arrival of what the database holds, checked against what was heard."""
    found = list(read_frames(database, NODE))
    for frame in found:
        said = heard(frame.counter, frame.device, frame.session, frame.arrival_ms)
        assert (frame.kind, frame.rssi_dbm, frame.size, frame.swarm_ms) == (
            said.kind, said.rssi_dbm, said.size, said.swarm_ms,
        )  # fmt: skip
        assert frame.told == (telemetry.unpack(said.told) if said.told is not None else None)
    return [(frame.session, frame.counter, frame.device, frame.arrival_ms) for frame in found]


@pytest.mark.parametrize("seed", range(6))
def test_frames_in_any_order_by_two_gateways_are_there_once(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed)
    database = open_database(tmp_path / "x.db")
    keys = [(session, counter) for session in (1, 2) for counter in range(1, 200) if noise.random() < 0.9]
    order = sorted(keys, key=lambda key: key[0] * 1000 + key[1] + noise.randrange(40))
    sent = [heard(counter, noise.choice(("gate", "räuber")), session) for session, counter in order]
    table, at = FrameTable(database), 0
    while at < len(sent):
        size = noise.randrange(1, 50)
        write(table, *sent[at : at + size])
        at += size
        if noise.random() < 0.1:
            table = FrameTable(database)  # another run
    assert stored(database) == sorted((p.session, p.counter, p.device, 5) for p in sent)
    assert database.execute("SELECT sum(n), count(*) FROM frames").fetchone() == (len(sent), 2 * -(-200 // FRAMES))


def test_a_frame_that_is_there_already_stays_as_it_was(tmp_path: Path) -> None:
    database = open_database(tmp_path / "x.db")
    write(FrameTable(database), heard(3), heard(4))
    again = FrameTable(database)
    write(again, heard(3, "other", at_ms=9), heard(5, at_ms=9))
    write(again, heard(4, at_ms=10))
    assert stored(database) == [(1, 3, "gate", 5), (1, 4, "gate", 5), (1, 5, "gate", 9)]


def test_chunks_that_left_the_memory_fill_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "OPEN_CHUNKS", 2)
    database = open_database(tmp_path / "x.db")
    table = FrameTable(database)
    for start in range(3):
        write(table, *[heard(counter) for counter in range(start, 160, 3)])
        assert len(table._open) <= 2
    assert [counter for _, counter, _, _ in stored(database)] == list(range(160))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_any_blob_is_a_chunk_or_a_value_error(blob: bytes) -> None:
    with contextlib.suppress(ValueError):
        chunk = frames.unpack(blob)
        assert all(offset < FRAMES for rows in chunk.values() for offset in rows)


def test_in_a_chunk_devices_stand_as_they_first_came_however_frames_come_together() -> None:
    sent = [heard(9, "räuber"), heard(3), heard(2, "räuber"), heard(5, at_ms=6), heard(3, at_ms=7)]
    alone: dict[Place, list[bytes]] = {}
    for each in sent:
        gather(alone, [together([each])])
    for parts in ([sent], [sent[:2], sent[2:]]):
        fresh: dict[Place, list[bytes]] = {}
        gather(fresh, [together(part) for part in parts])
        assert list(fresh.items()) == list(alone.items())
    assert [device for *_, device in alone] == ["räuber", "gate"]


def test_a_chunk_that_was_cut_is_none() -> None:
    fresh: dict[Place, list[bytes]] = {}
    gather(fresh, [together([heard(3)]), together([heard(4)])])
    ((_, told),) = fresh.items()
    rows = {row[0]: row for row in told}
    blob = frames.pack({"x" * 300: rows})
    assert frames.unpack(blob) == {"x" * 255: rows}
    for size in range(1, len(blob)):
        with pytest.raises(ValueError, match="not a chunk of frames"):
            frames.unpack(blob[:size])
