"""Packets over a lossy link: what arrives is right, who forgets falls back, any bytes are harmless."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import time
import tty
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qres import codec
from qres.config import load
from qres.encoder import CM, CODERS, Encoder
from qres.model import Model
from qres.sensing import Sensing
from qres_host import packets
from qres_host.acknowledge import Acknowledger, commands
from qres_host.collector import Collector
from qres_host.devices import parse_uri
from qres_host.records import Coded, Missed, Samples
from qres_host.replay import replay_capture
from qres_host.store import Store
from qres_host.streams import Streams, points_frames
from qres_host.view import View
from qres_host.wire import POINTS as POINTS_FRAME
from qres_host.wire import Deframer, encode_frame
from traffic import KEY, Swarm

CONFIG = {
    "swarm_key": "5a" * 32,
    "channels": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    "sensors": [1],
    "period_ms": 1000,
}
NODE = 77


class Link:
    """A board's packets to a host and its answers back, either lost with probability `loss`, some late or twice."""

    def __init__(self, seed: int, loss: float, coder: str) -> None:
        self.random = random.Random(f"link {seed}")
        self.loss = loss
        self.config = load({**CONFIG, "coder": coder})
        self.model = Model(3, 4, [9000, -3000, 0, 0, 9000] * 3)
        self.truth: dict[int, tuple[int | None, ...]] = {}
        self.got: dict[int, tuple[int | None, ...]] = {}
        self.points: dict[bytes, codec.Checkpoint] = {}
        self.late: list[bytes] = []
        self.sent = self.arrived = self.refused = self.started = 0
        self.value = [100, -50, 7]
        self.board = self.power_on()

    def power_on(self) -> Sensing:
        """Return a board that knows nothing but the swarm's model."""
        board = Sensing(self.config)
        board.node = NODE
        board.adopt(self.model)
        board.confirm(self.model)
        return board

    def sample(self, index: int) -> None:
        """Sense a step; send the packet that became full."""
        self.value = [v + self.random.randrange(-6, 7) for v in self.value]
        row = tuple(None if self.random.random() < 0.02 else v for v in self.value)
        self.truth[index] = row
        _, full = self.board.take(index, row, 0)
        if full:
            self.send(full)

    def window(self) -> None:
        """Now and then what there is goes out."""
        if self.random.random() < 0.1 and self.board.encoder.steps:
            self.send(self.board.flush(0) or b"")

    def send(self, payload: bytes) -> None:
        """Over the air and back."""
        self.sent += 1
        self.board.asked = 1
        heard = [payload] * (2 if self.random.random() < 0.1 else 1)
        if self.late and self.random.random() < 0.5:
            heard += self.late
            self.late = []
        if self.random.random() < self.loss:
            heard = heard[len(heard) :]
        elif self.random.random() < 0.1:
            self.late, heard = self.late + heard[:1], heard[1:]
        for each in heard:
            self.hear(each)
        if self.random.random() < 0.7:  # a window went by
            self.board.asked = 0

    def hear(self, payload: bytes) -> None:
        """What the host makes of a packet, and its answer."""
        held = missed = b""
        try:
            block = codec.decode(payload, {self.model.hash: self.model}, self.points, NODE)
        except codec.MissingModel as missing:
            assert missing.checkpoint
            self.refused += 1
            missed = missing.model_hash
        else:
            self.arrived += 1
            self.started += block.state == codec.CHECKPOINT
            self.got.update(enumerate(block.steps, block.index))
            assert block.after is not None
            for point in (block.base, block.after):
                if point is not None:
                    self.points.pop(point.name, None)
                    self.points[point.name] = point
            while len(self.points) > 8:
                del self.points[next(iter(self.points))]
            held = block.after.name if block.kept else b""
        if self.random.random() >= self.loss:
            for full in self.board.acknowledged(held, missed, 0):
                self.send(full)


@pytest.mark.parametrize("seed", range(20))
def test_packets_survive_a_link_that_loses_a_fifth_to_two_fifths_both_ways(seed: int) -> None:
    link = Link(seed, 0.2 + 0.01 * seed, CODERS[2 - seed % 2 * (seed % 4 // 2 + 1)])
    steps = 2400
    for index in range(1000, 1000 + steps):
        link.sample(index)
        link.window()
        if index == 1000 + steps // 2:  # the power was cut
            link.board = link.power_on()
    assert link.sent > 200 and link.refused == 0, "a packet that arrives decodes"
    assert all(link.truth[index] == row for index, row in link.got.items())
    assert link.started > 0.5 * link.arrived
    link.points.clear()  # the host lost its memory
    before = link.arrived
    for index in range(1000 + steps, 1000 + 3 * steps // 2):
        link.sample(index)
        link.window()
    assert 0 < link.refused < 40 and link.arrived > before + 30, "refused aloud, and then it goes on"
    assert all(link.truth[index] == row for index, row in link.got.items())


def test_whole_streams_round_trip_and_each_start_is_cheaper_than_the_one_before() -> None:
    generator = np.random.default_rng(3)
    walk = np.cumsum(np.cumsum(generator.normal(0, 3, (900, 2)), 0) * 0.05 + generator.normal(0, 4, (900, 2)), 0)
    columns = walk.astype(np.int32)
    model = packets.learn(columns[:450, ::-1])
    for coder in CODERS:
        sizes = []
        for start in packets.STARTS:
            made = packets.encode_stream(columns, coder, start, model)
            assert max(map(len, made)) <= 232
            assert (packets.decode_stream(made, model) == columns).all()
            sizes.append(sum(map(len, made)))
        assert sizes[2] < sizes[0], (coder, sizes)


def test_a_host_restores_checkpoints_from_its_database(tmp_path: Path) -> None:
    swarm, first = Swarm(1), Streams(KEY)
    encoder = Encoder(2, CM, 232, None)
    rows = [(20 + i % 3, 50) for i in range(40)]
    for i in range(20):
        encoder.add(swarm.index + i, rows[i])
    node = int.from_bytes(swarm.frame(0, 1, b"")[1:5], "little")
    point = encoder.checkpoint(node, 60_000)
    one = swarm.radio(swarm.frame(0, 1, encoder.finish(60_000, 0, True)))
    found = first.feed(0, "port", Deframer().runs(one))
    assert [r.point.name for r in found if isinstance(r, Coded) and r.point] == [point.name]
    assert commands(found) == [("port", "ack", point.name.hex())]
    store = Store(tmp_path / "a.db")
    store.put(found, wait=True)
    store.close()
    later = Encoder(2, CM, 232, point)
    for i in range(20, 40):
        later.add(swarm.index + i, rows[i])
    two = swarm.radio(swarm.frame(0, 1, later.finish(60_000, 0, True)))
    forgetful = Streams(KEY).feed(0, "port", Deframer().runs(two))
    assert Missed("port", node, point.name) in forgetful
    assert commands(forgetful) == [("port", "nak", point.name.hex())]
    again = Store(tmp_path / "a.db")
    streams = Streams(KEY)
    streams.feed(0, "checkpoints", Deframer().runs(points_frames(again.points())))
    again.close()
    (samples,) = [r for r in streams.feed(0, "port", Deframer().runs(two)) if isinstance(r, Samples)]
    assert samples.steps == rows[20:]


def test_a_packet_whose_checkpoint_comes_later_waits_for_it() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    encoder = Encoder(2, CM, 232, None)
    encoder.add(5, (1, 2))
    node = int.from_bytes(swarm.frame(0, 1, b"")[1:5], "little")
    point = encoder.checkpoint(node, 1000)
    one = swarm.radio(swarm.frame(0, 1, encoder.finish(1000, 0, True)))
    later = Encoder(2, CM, 232, point)
    later.add(6, (1, 3))
    two = swarm.radio(swarm.frame(0, 1, later.finish(1000, 0, True)))
    missed = streams.feed(0, "unplugged", Deframer().runs(two))
    assert streams.held == 1
    found = streams.feed(0, "port", Deframer().runs(one))
    assert {r.device for r in found if isinstance(r, Coded)} == {"port"}  # whence an answer can go
    again = [record._replace(device="port") for record in missed if isinstance(record, Missed)]
    assert len(again) == 1 and [name for _, name, _ in commands([*again, *found])] == ["ack"]
    assert sorted(r.first for r in found if isinstance(r, Samples)) == [5, 6] and streams.held == 0


def test_the_acknowledger_answers_in_command_lines() -> None:
    swarm = Swarm(1)
    encoder = Encoder(2, CM, 232, None)
    encoder.add(5, (1, 2))
    answer = Acknowledger(KEY).feed(swarm.radio(swarm.frame(0, 1, encoder.finish(1000, 0, True))))
    assert answer.startswith(b'{"cmd": "ack", "arg": "') and answer.endswith(b'"}\n')


POINTS = st.binary(min_size=4, max_size=300)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=240), POINTS, st.integers(0, 2))
def test_any_packet_from_any_checkpoint_is_data_or_a_codec_error(payload: bytes, packed: bytes, coder: int) -> None:
    try:
        point = codec.Checkpoint(NODE, packed)
    except ValueError:
        return
    head = bytes([codec.CHECKPOINT | coder << 2, 1 + len(payload) % 255, 0]) + point.name
    model = Model(2, 4)
    for data in (
        head + payload,
        bytes([coder << 2]) + payload,
        bytes([codec.SWARM | coder << 2, 9, 1, 9, 0]) + payload,
    ):
        with contextlib.suppress(codec.CodecError):
            assert len(codec.decode(data, {model.hash: model}, {point.name: point}, NODE).steps) <= 255


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_checkpoints_frame_is_harmless(payload: bytes) -> None:
    assert Streams(KEY).feed(0, "checkpoints", Deframer().runs(encode_frame(POINTS_FRAME, 0, payload))) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-40, 40)), min_size=1, max_size=60),
    st.integers(0, 2),
    st.integers(0, 5),
    st.integers(0, 9),
)
def test_any_rows_round_trip_within_their_bounds(
    rows: list[tuple[int, int]], coder: int, eps: int, silent: int
) -> None:
    modes = [(0, 0), (eps, silent)]
    encoder = Encoder(2, coder, 232, None, modes)
    kept = [row for i, row in enumerate(rows) if encoder.steps == i and encoder.add(i, row)]
    back = codec.decode(encoder.finish(1000, 0), {}).steps
    for (a, b), (c, d) in zip(kept, back, strict=True):
        assert a == c and d is not None and abs(b - d) <= eps + silent


def test_a_collector_acknowledges_through_the_port_and_remembers_over_a_restart(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    swarm, steps, point = Swarm(1), 12, None
    node = int.from_bytes(swarm.frame(0, 1, b"")[1:5], "little")
    try:
        for run in range(2):
            encoder = Encoder(2, CM, 232, point)
            for i in range(steps):
                encoder.add(swarm.index + i, (20 + i, 50))
            swarm.index += steps
            point = encoder.checkpoint(node, 60_000)
            data = swarm.radio(swarm.frame(0, 1, encoder.finish(60_000, 0, True)))
            with Collector(
                [parse_uri(os.ttyname(slave))], KEY, None, tmp_path / str(run), tmp_path / "x.db"
            ) as collector:
                while collector.devices[0].fd < 0:
                    time.sleep(0.01)
                os.write(master, data)
                heard = b""
                while not heard.endswith(b"\n"):
                    heard += os.read(master, 1000)
            assert json.loads(heard) == {"cmd": "ack", "arg": point.name.hex()}
        view = View()
        replay_capture(tmp_path / "1", KEY, tmp_path / "again.db", view)
        assert view.totals()["samples"] == steps and view.totals()["from_checkpoint"] == 1
    finally:
        os.close(slave)
        os.close(master)
