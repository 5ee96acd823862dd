"""The database: bounded, complete, and the same whenever it is built from the same capture."""

from __future__ import annotations

import contextlib
import copy
import random
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres import packet
from qres_host import chunks
from qres_host.batch import BOARDS, Batch
from qres_host.capture import CaptureWriter, Record
from qres_host.decoder import Decoder
from qres_host.errors import QresError
from qres_host.records import Frames
from qres_host.replay import replay_capture
from qres_host.store import Store, open_database, read_samples
from traffic import KEY, PERIOD_MS, Swarm, mac_of, telling, together, truth

CELL = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))


def dump(path: Path) -> list[str]:
    """Return the logical content of a database as SQL."""
    with sqlite3.connect(path) as database:
        return list(database.iterdump())


def vacuumed(path: Path) -> bytes:
    """Return the bytes of the database after VACUUM INTO."""
    target = path.with_suffix(".vacuumed")
    with sqlite3.connect(path) as database:
        database.execute("VACUUM INTO ?", (str(target),))
    return target.read_bytes()


def fill(folder: Path, store: Store | None, rounds: int = 12, seed: int = 1) -> Swarm:
    """Capture traffic with losses and damage, cut into chunks anywhere, and decode it into `store`."""
    noise, swarm = random.Random(seed), Swarm()
    stream = bytearray(b"".join(c for c in swarm.rounds(rounds) if noise.random() > 0.1))
    for _ in range(5):
        stream[noise.randrange(len(stream))] ^= 1 << noise.randrange(8)
    capture = CaptureWriter(folder, segment_bytes=4000)
    decoder = Decoder(KEY, None, store)
    at, now_ms = 0, 0
    while at < len(stream):
        size = noise.randrange(1, 400)
        record = Record(now_ms, "virtual://gate", bytes(stream[at : at + size]))
        capture.append(*record)
        decoder.feed(record, wait=True)
        at, now_ms = at + size, now_ms + noise.randrange(0, 3)
    capture.close()
    return swarm


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.dictionaries(st.integers(0, 63), st.tuples(st.integers(0, 2), st.tuples(*[CELL] * n)), min_size=1)
    )
)
def test_chunks_keep_every_sample(rows: dict[int, chunks.Row]) -> None:
    assert chunks.unpack(chunks.pack(rows)) == rows


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_blob_is_a_chunk_or_a_value_error(blob: bytes) -> None:
    with contextlib.suppress(ValueError):
        chunks.unpack(blob)


def test_stored_samples_are_the_sensed_ones_and_rollups_agree(tmp_path: Path) -> None:
    swarm = Swarm()
    first = swarm.index
    store = Store(tmp_path / "x.db")
    decoder = Decoder(KEY, None, store)
    decoder.feed(Record(0, "gate", b"".join(swarm.rounds(12))), wait=True)
    store.close()
    database = open_database(tmp_path / "x.db")
    for board in range(3):
        node = packet.node_id(mac_of(board))
        rows = read_samples(database, node, PERIOD_MS, first, swarm.index)
        assert [(i, values) for i, _, values in rows] == [(i, truth(board, i)) for i in range(first, swarm.index)]
        temps = [values[0] for _, _, values in rows if values[0] is not None]
        for level in (1, 16, 256):
            query = (
                "SELECT sum(n), sum(total), min(low), max(high) FROM rollups WHERE node=? AND chunks=? AND channel=0"
            )
            rolled = database.execute(query, (node, level)).fetchone()
            assert rolled == (len(temps), sum(temps), min(temps), max(temps))
    rows_used = database.execute("SELECT count(*) FROM chunks").fetchone()[0]
    assert rows_used <= 3 * (12 * 16 // 64 + 1)
    assert database.execute("SELECT name, role FROM boards WHERE name IS NOT NULL").fetchall() == [("gate", "sentinel")]


def test_replaying_a_capture_rebuilds_the_database_bit_for_bit(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    CaptureWriter(capture).close()
    live = Store(tmp_path / "live.db", 0)
    fill(capture, live)
    live.close()
    again = [tmp_path / f"{i}.db" for i in range(2)]
    for path in again:
        replay_capture(capture, KEY, path)
    with sqlite3.connect(tmp_path / "live.db") as database:
        started = sqlite3.connect(again[0]).execute("SELECT value FROM meta").fetchone()
        database.execute("UPDATE meta SET value = ?", started)
    assert dump(again[0]) == dump(again[1]) == dump(tmp_path / "live.db")
    assert vacuumed(again[0]) == vacuumed(again[1]) == vacuumed(tmp_path / "live.db")
    assert len(dump(again[0])) > 100


def test_commits_in_any_grouping_give_the_same_content(tmp_path: Path) -> None:
    fill(tmp_path / "capture", None)
    one = tmp_path / "one.db"
    replay_capture(tmp_path / "capture", KEY, one)
    slow = Store(tmp_path / "slow.db", 0, queue_records=1)
    fill(tmp_path / "other", slow)
    slow.close()
    ignore_start = [line for line in dump(one) if "started_ms" not in line]
    assert ignore_start == [line for line in dump(slow.path) if "started_ms" not in line]


def test_a_full_queue_drops_and_counts_instead_of_growing(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.db", queue_records=2)
    lock = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")  # a writer elsewhere: ours has to wait
    swarm = Swarm()
    decoder = Decoder(KEY, None, store)
    for chunk in swarm.rounds(40):
        decoder.feed(Record(0, "gate", chunk))
    assert store.dropped > 0 and decoder.counters()["dropped"] == store.dropped
    lock.execute("ROLLBACK")
    lock.close()
    store.close()
    with sqlite3.connect(tmp_path / "x.db") as database:
        assert 0 < database.execute("SELECT sum(n) FROM frames").fetchone()[0] < 280


def test_frames_that_come_one_by_one_wait_in_little_memory() -> None:
    batch = Batch({})
    said = [together([telling(5, counter, samples=counter)._replace(counter=counter)]) for counter in range(1, 200)]
    tracemalloc.start()
    try:
        for _ in range(20):
            batch.add([Frames._make(copy.copy(column) for column in frames) for frames in said])
        waiting, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert batch.records == 20 * 199 and waiting < 350 * batch.records
    assert sum(map(len, batch.frames().values())) == batch.records


def test_a_board_is_written_when_its_address_is_another_and_only_then() -> None:
    batch = Batch({})
    one, other = telling(5), telling(5, mac=b"\2\0\0\0\0\x99")
    for frames in ([one, one], [one], [one, other], [other]):
        batch.add([together(frames)])
    assert [mac for _, mac, *_ in batch.rows[BOARDS]] == ["02:00:00:00:00:05", "02:00:00:00:00:99"]


def test_continuing_a_database_counts_no_sample_twice(tmp_path: Path) -> None:
    for _ in range(2):
        store = Store(tmp_path / "x.db")
        Decoder(KEY, None, store).feed(Record(0, "gate", b"".join(Swarm().rounds(6))), wait=True)
        store.close()
        with sqlite3.connect(tmp_path / "x.db") as database:
            assert database.execute("SELECT sum(n) FROM chunks").fetchone()[0] == 3 * 96


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is a letter to my aunt" * 400)
    with pytest.raises(QresError) as error:
        Store(tmp_path / "x.db")
    assert error.value.remedy
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(QresError, match="not a database of this version"):
        Store(tmp_path / "other.db")


def test_a_board_is_known_by_its_telemetry_however_frames_come_together(tmp_path: Path) -> None:
    swarm = Swarm(1)
    told = swarm.radio(swarm.telemetry(0))
    chunks = [told, swarm.radio(swarm.frame(0, packet.ALERT, packet.pack_alert(1, 1, 1)))]
    found = []
    for name, parts in (("apart.db", chunks), ("together.db", [b"".join(chunks)])):
        store = Store(tmp_path / name)
        decoder = Decoder(KEY, None, store)
        for chunk in parts:
            decoder.feed(Record(0, "gate", chunk), wait=True)
        store.close()
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as database:
            found.append([database.execute(f"SELECT * FROM {table}").fetchall() for table in ("boards", "frames")])
    assert found[0] == found[1] and found[0][0][0][1] == mac_of(0).hex(":")
