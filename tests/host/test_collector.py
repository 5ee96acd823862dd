"""The collector on real ptys: every byte is captured first, decoded after, and every loss is counted."""

from __future__ import annotations

import contextlib
import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qres_host.capture import CaptureReader, Record
from qres_host.collector import Collector
from qres_host.decoder import Decoder, batches
from qres_host.devices import Uri, parse_uri
from qres_host.errors import NO_DEVICE, QresError
from qres_host.records import Found, Frames
from qres_host.replay import replay_capture
from qres_host.store import Store
from qres_host.view import View
from traffic import KEY, Swarm, mac_of, truth


class Port:
    """A pty whose other end the test holds."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.path = os.ttyname(self.slave)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        while data:
            data = data[os.write(self.master, data) :]

    def close(self) -> None:
        """Pull the cable."""
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def port() -> Iterator[Port]:
    """A pty that is closed after the test if it still is open."""
    made = Port()
    yield made
    for fd in (made.master, made.slave):
        with contextlib.suppress(OSError):
            os.close(fd)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_from_port_to_view_capture_and_database(port: Port, tmp_path: Path) -> None:
    swarm, view = Swarm(), View()
    for board in range(3):
        view.register(mac_of(board).hex(":"), truth=lambda i, board=board: truth(board, i))
    stream = b"".join(swarm.rounds(10))
    with Collector([parse_uri(port.path)], KEY, view, tmp_path / "cap", tmp_path / "x.db") as collector:
        until(lambda: collector.devices[0].fd >= 0)
        port.write(stream)
        until(lambda: view.totals()["samples"] == 480)
        assert "heap 91234 free" in [line.text for line in collector.decoder.words.kept]
        assert [line.text for line in collector.decoder.words.since(10)] == ["heap 91234 free"]
    totals = view.totals()
    assert (totals["verified"], totals["mismatched"], totals["rejected"], totals["dropped"]) == (480, 0, 0, 0)
    assert b"".join(r.data for r in CaptureReader(tmp_path / "cap")) == stream
    again = replay_capture(tmp_path / "cap", KEY, tmp_path / "again.db")
    assert again["samples"] == 480 and again["streams_exact"] == 3
    import sqlite3

    dumps = [list(sqlite3.connect(tmp_path / name).iterdump()) for name in ("x.db", "again.db")]
    assert dumps[0] == dumps[1]


def test_a_port_that_is_pulled_in_the_middle_of_a_frame_comes_back(tmp_path: Path) -> None:
    swarm, view, link = Swarm(1), View(), tmp_path / "board"
    ports = [Port(), Port()]
    link.symlink_to(ports[0].path)
    with Collector([Uri("serial", str(link))], KEY, view, tmp_path / "cap", None) as collector:
        until(lambda: collector.devices[0].fd >= 0)
        parts = [swarm.announce()]
        for _ in range(3):
            parts.append(swarm.radio(swarm.data(0, 10, swarm.model)))
            swarm.index += 10
        ports[0].write(parts[0] + parts[1] + parts[2][:-9])
        until(lambda: view.totals()["samples"] == 10)
        link.unlink()
        ports[0].close()
        until(lambda: collector.devices[0].fd < 0)
        link.symlink_to(ports[1].path)
        until(lambda: collector.devices[0].fd >= 0)
        ports[1].write(parts[3])
        until(lambda: view.totals()["samples"] == 20)
        assert collector.counters()["reopened"] == 1
        totals = view.totals()
        assert (totals["frames_lost"], totals["serial_bad"], totals["rejected"]) == (1, 1, 0)
    ports[1].close()
    assert replay_capture(tmp_path / "cap", KEY)["serial_bad"] == 1


def test_when_decoding_is_too_slow_chunks_are_dropped_counted_and_captured(port: Port, tmp_path: Path) -> None:
    swarm, gate = Swarm(), threading.Event()
    chunks = swarm.rounds(12)
    with Collector(
        [parse_uri(port.path)], KEY, None, tmp_path, None, queue_chunks=2, listen=lambda _: gate.wait(30) and None
    ) as collector:
        until(lambda: collector.devices[0].fd >= 0)
        for chunk in chunks:
            before = collector.chunks
            port.write(chunk)
            until(lambda before=before: collector.chunks > before)
        assert collector.counters()["dropped"] > 0
        gate.set()
    assert b"".join(r.data for r in CaptureReader(tmp_path)) == b"".join(chunks)
    assert replay_capture(tmp_path, KEY)["streams_exact"] == 3


def test_named_ports_must_open_and_say_why_not(tmp_path: Path) -> None:
    with pytest.raises(QresError) as error:
        Collector([parse_uri("/dev/null")], KEY, must_open=True).start()
    assert error.value.exit_code == NO_DEVICE


def test_a_full_disk_ends_with_one_line(port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector([parse_uri(port.path)], KEY, None, tmp_path)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if threading.current_thread().name == "qres-read":
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    collector.start()
    until(lambda: collector.devices[0].fd >= 0)
    port.write(b"something\n")
    until(lambda: collector.error is not None)
    with pytest.raises(QresError, match="cannot write the capture"):
        collector.stop()


def test_commands_reach_the_board(port: Port) -> None:
    with Collector([parse_uri(port.path)], KEY) as collector:
        until(lambda: collector.devices[0].fd >= 0)
        assert collector.send(collector.devices[0], "time", 5)
        assert os.read(port.master, 100) == b'{"cmd":"time","arg":5}\n'


def test_a_capture_plays_as_a_device(tmp_path: Path) -> None:
    swarm, view = Swarm(), View(speed=1000.0)
    from qres_host.capture import CaptureWriter

    writer = CaptureWriter(tmp_path)
    for i, chunk in enumerate(swarm.rounds(3)):
        writer.append(i * 10, "virtual://gate", chunk)
    writer.close()
    with Collector([parse_uri(f"replay://{tmp_path}")], KEY, view):
        until(lambda: view.totals()["streams_exact"] == 3 and view.totals()["samples"] == 144)


def one_by_one(found: list[Found]) -> list[object]:
    """Return records with the frames apart."""
    return [each for record in found for each in (record.packets() if isinstance(record, Frames) else [record])]


def test_chunks_decoded_together_give_what_each_alone_gives() -> None:
    chunks = [
        Record(n, f"port{port}", data) for n, data in enumerate([*Swarm().rounds(6), b""]) for port in range(n % 3 + 1)
    ]
    views = [View(clock=lambda: 1), View(clock=lambda: 1)]
    together, alone = Decoder(KEY, views[0]), Decoder(KEY, views[1])
    found = [record for at in range(0, len(chunks), 7) for record in together.feed_all(chunks[at : at + 7])]
    assert one_by_one(found) == one_by_one([record for chunk in chunks for record in alone.feed(chunk)])
    assert together.counters() == alone.counters() and together.counters()["duplicates"] > 0
    assert together.words.kept == alone.words.kept
    assert [view.fleet() | {"version": 0} for view in views] == [views[0].fleet() | {"version": 0}] * 2


def test_what_came_before_a_segment_that_cannot_be_read_is_decoded() -> None:
    def reading() -> Iterator[Record]:
        yield from [Record(n, "gate", b"x" * (1 << 17)) for n in range(3)]
        raise OSError(5, "Input/output error")

    batches_read = []
    with pytest.raises(OSError, match="Input"):
        for batch in batches(reading()):
            batches_read.append([record.arrival_ms for record in batch])
    assert batches_read == [[0, 1], [2]] and list(batches([])) == []


def test_flipped_bits_and_hostile_frames_end_as_counts_not_as_samples(tmp_path: Path) -> None:
    swarm, view = Swarm(), View()
    for board in range(3):
        view.register(mac_of(board).hex(":"), truth=lambda i, board=board: truth(board, i))
    import random

    noise = random.Random(3)
    decoder = Decoder(KEY, view, Store(tmp_path / "x.db"))
    for n, chunk in enumerate(swarm.rounds(30)):
        hurt = bytearray(chunk)
        for _ in range(noise.randrange(3)):
            hurt[noise.randrange(len(hurt))] ^= 1 << noise.randrange(8)
        decoder.feed(Record(n, "gate", bytes(hurt) + noise.randbytes(noise.randrange(4) * 40)), wait=True)
    assert decoder.store is not None
    decoder.store.close()
    totals = view.totals()
    assert totals["samples"] > 100 and totals["mismatched"] == 0
    assert totals["serial_bad"] > 0 and totals["serial_gaps"] > 0
