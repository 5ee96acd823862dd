"""What a gateway's serial frames mean: bytes in, records out, no I/O.

`Streams.feed` takes the items of a deframer and returns records. Radio frames must carry the swarm key's
tag and a session and counter that were not accepted before; a frame that several gateways heard counts
once. Packets of samples decode on their own, given the model that they name; those whose model has not
arrived yet are held, boundedly. Whatever is refused is a `Rejected` record: counted, never accepted.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qres import codec, config, model, packet
from qres.detect import Spikes

from qres_host import told, wire
from qres_host.coverage import Coverage
from qres_host.records import (
    Alert,
    Coded,
    Event,
    Found,
    Frames,
    Joined,
    Missed,
    Model,
    Ota,
    Packet,
    Rejected,
    Samples,
    Update,
)
from qres_host.runs import runs
from qres_host.sender import AGAIN, Sender
from qres_host.tags import Tags

BUILD_BYTES = 5
NAME_CHARACTERS = 32  # of a board, as its configuration allows
MODELS_MAX = 256
HELD_MAX = 512
_SIGMA = int(str(config.DEFAULTS["sigma"]))  # of the spike detector: the same as on the boards
# The head on the serial line, what a gateway adds to a frame, and the frame's own head with its counter in two parts.
_HEADS = np.dtype([
    ("type", "u1"), ("seq", "<u2"),
    ("swarm_ms", "<u8"), ("rssi_dbm", "i1"),
    ("first", "u1"), ("node", "<u4"), ("session", "<u2"), ("low", "<u2"), ("high", "u1"),
])  # fmt: skip
_BEFORE = _HEADS.itemsize - packet.HEAD  # bytes before a frame ...
_BEHIND = wire.CRC_BYTES  # ... and behind it
_LEAST, _MOST = _BEFORE + packet.HEAD + packet.TAG + _BEHIND, _BEFORE + packet.FRAME_MAX + _BEHIND
_NO_FRAME = bytes(_LEAST)
_KINDS = np.zeros(256, np.uint8)  # by a frame's first byte
_KINDS[[packet.VERSION << 4 | kind for kind in range(packet.DATA, packet.OTA + 1)]] = range(packet.DATA, packet.OTA + 1)
_NODE_MAX = 0x3FFFFFFF  # 30 bits
_SWARM_MS_MAX = 1 << 47  # the limit that announcements have
_POINT = struct.Struct("<IH")
_Other = tuple[int, str, wire.Run | wire.Text]  # no radio frame: arrival, device, what came
_Stop = tuple[int, int, _Other | None]  # how many radio frames before it; 0: what came there; 1: that frame itself
_order = itemgetter(0, 1)

_EVENTS = {
    wire.TRACE: "trace",
    wire.REPLY: "reply",
    wire.HELLO: "hello",
    wire.PEERS: "peers",
    wire.LOG: "log",
}
_OBJECTS = ("reply", "hello", "peers")


class Streams:
    """Decodes everything that the gateways of one swarm report. `swarm_key`: 32 bytes.

    Counters: `accepted`, `duplicates` (copies by another way), `rejected`, `held` packets that wait for
    their model, `held_lost` that waited in vain.
    """

    def __init__(self, swarm_key: bytes) -> None:
        self.accepted = self.duplicates = self.rejected = self.held_lost = 0
        self.models: OrderedDict[bytes, model.Model] = OrderedDict()
        self._tags = Tags(swarm_key)
        self._nodes: dict[int, Sender] = {}
        self._held: OrderedDict[tuple[int, int, int], tuple[bytes, Packet, bytes]] = OrderedDict()
        self._event_at = (-1, 0)

    @property
    def held(self) -> int:
        """How many packets wait for their model now."""
        return len(self._held)

    def feed(self, arrival_ms: int, device: str, items: Iterable[wire.Run | wire.Text]) -> list[Found]:
        """Take what `Deframer.runs` returned for bytes that arrived at `arrival_ms` from `device`."""
        return self.feed_all([(arrival_ms, device, items)])

    def feed_all(self, chunks: Iterable[tuple[int, str, Iterable[wire.Run | wire.Text]]]) -> list[Found]:
        """The same for many: (arrival_ms, device, items) of each, in the order in which they came."""
        arrivals: list[int] = []  # of runs of radio frames: what checks them does so with all at once
        devices: list[str] = []
        counts: list[int] = []
        frames: list[bytes] = []
        stops: list[_Stop] = []
        for arrival_ms, device, items in chunks:
            for item in items:
                if isinstance(item, wire.Run) and item.type == wire.RADIO:
                    frames += item.bodies
                    arrivals.append(arrival_ms)
                    devices.append(device)
                    counts.append(len(item.bodies))
                else:
                    stops.append((len(frames), 0, (arrival_ms, device, item)))
        out: list[Found] = []
        if frames:
            self._radio(out, stops, arrivals, devices, counts, frames)
        else:
            for _, _, other in stops:
                if other is not None:
                    self._other(out, other)
        return out

    def lost(self, node: int) -> int:
        """Return how many frames of a node are known to be missing, by the gaps of its counters."""
        return self._nodes[node].lost if node in self._nodes else 0

    def coverage(self, node: int) -> Coverage:
        """Return which samples of a node have arrived."""
        return self._nodes[node].coverage if node in self._nodes else Coverage()

    def _event(
        self,
        out: list[Found],
        arrival_ms: int,
        device: str,
        kind: str,
        text: str,
        value: dict[str, Any] | None,
    ) -> None:
        at, n = self._event_at
        n = n + 1 if at == arrival_ms else 0
        self._event_at = (arrival_ms, n)
        out.append(Event(arrival_ms, n, device, kind, text, value))

    def _points(self, payload: bytes) -> None:
        """Take what `points_frames` wrote. A checkpoint's name follows from its content, so none can be forged."""
        at = 0
        while len(payload) - at > _POINT.size:
            number, size = _POINT.unpack_from(payload, at)
            at += _POINT.size + size
            with contextlib.suppress(ValueError):
                self._nodes.setdefault(number, Sender()).keep(codec.Checkpoint(number, payload[at - size : at]))

    def _reject(self, out: list[Found], arrival_ms: int, device: str, reason: str) -> None:
        self.rejected += 1
        out.append(Rejected(arrival_ms, device, reason))

    def _report(self, out: list[Found], arrival_ms: int, device: str, of: int, payload: bytes) -> None:
        kind = _EVENTS.get(of, "")
        text = payload.decode("utf-8", "replace")
        value = None
        if kind in _OBJECTS:
            try:
                value = json.loads(payload)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                kind = ""
        if not kind:
            self._reject(out, arrival_ms, device, "malformed")
            return
        self._event(out, arrival_ms, device, kind, text, value)

    def _radio(
        self,
        out: list[Found],
        stops: list[_Stop],
        arrivals: Sequence[int],
        devices: Sequence[str],
        counts: Sequence[int],
        frames: list[bytes],
    ) -> None:
        """Take radio frames, `counts` of them by each arrival and device, each step for all, and `stops` between them.

        `frames` are bodies of the serial line. The same as `packet.parse` and `packet.verify`.
        """
        sizes = np.fromiter(map(len, frames), np.int64, len(frames))
        if sizes.min() < _LEAST or sizes.max() > _MOST:
            frames = [frame if _LEAST <= len(frame) <= _MOST else _NO_FRAME for frame in frames]
        heads = np.frombuffer(b"".join([frame[: _HEADS.itemsize] for frame in frames]), _HEADS)
        kinds = _KINDS.take(heads["first"])
        node, session = heads["node"].astype(np.int64), heads["session"].astype(np.int64)
        counter = heads["low"] | heads["high"].astype(np.int64) << 16
        formed = (kinds > 0) & (node <= _NODE_MAX) & (heads["swarm_ms"] < _SWARM_MS_MAX)
        right = formed & self._tags.right(frames, _BEFORE, _BEHIND)
        verdicts = {i: "bad tag" if formed[i] else "malformed" for i in (~right).nonzero()[0].tolist()}
        lost = self._judge(verdicts, right.nonzero()[0], node, session, counter)
        bodies: list[bytes | None] = [frame[_HEADS.itemsize : -packet.TAG - _BEHIND] for frame in frames]
        watched = told.read([body or b"" for body in _where(bodies, kinds == packet.TELEMETRY)])
        said = watched[:, 0] >= 0
        columns = Frames(
            np.repeat(np.array(arrivals, np.int64), counts), np.repeat(np.array(devices, object), counts),
            heads["swarm_ms"].astype(np.int64), node, session, counter, kinds, heads["rssi_dbm"],
            sizes - _BEFORE - _BEHIND, lost, _where(bodies, said), watched,
        )  # fmt: skip
        stops += [(i, 1, None) for i in {*(~said).nonzero()[0].tolist(), *verdicts}]  # with more to do than most
        at = 0
        for i, _, other in sorted(stops, key=_order):
            verdict = verdicts.get(i, "") if other is None else ""
            end = i + 1 if other is None and not verdict else i
            self._heard(out, columns, at, end)
            at = end
            if other is not None:
                self._other(out, other)
            elif not verdict:
                (packet_at,) = columns.part(i, end).packets()
                self._body(out, packet_at, bodies[i] or b"")
            else:
                at = i + 1
                self._refuse(out, int(columns.arrival_ms[i]), columns.device[i], verdict)
        self._heard(out, columns, at, len(frames))

    def _refuse(self, out: list[Found], arrival_ms: int, device: str, verdict: str) -> None:
        if verdict == AGAIN:
            self.duplicates += 1
        else:
            self._reject(out, arrival_ms, device, verdict)

    def _other(self, out: list[Found], other: _Other) -> None:
        """Take what is no radio frame."""
        arrival_ms, device, item = other
        if isinstance(item, wire.Text):
            self._event(out, arrival_ms, device, "text", item.line, None)
            return
        for payload in item.payloads:
            if item.type == wire.POINTS:
                self._points(payload)
            else:
                self._report(out, arrival_ms, device, item.type, payload)

    def _judge(
        self,
        verdicts: dict[int, str],
        places: NDArray[np.int64],
        node: NDArray[np.int64],
        session: NDArray[np.int64],
        counter: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Add to `verdicts` what is wrong with the frames at `places`; return how many of its node each knows lost."""
        lost = np.zeros_like(node)
        order = places.take(node.take(places).argsort(kind="stable"))
        columns = node, session, counter = [column.take(order) for column in (node, session, counter)]
        starts, ends = runs(node, session, counter - np.arange(len(order)))
        heads = [column.take(starts).tolist() for column in columns]
        for number, of, first, at, end in zip(*heads, starts.tolist(), ends.tolist(), strict=True):
            sender = self._nodes.get(number)
            if sender is None:
                sender = self._nodes[number] = Sender()
            for alike, verdict, missing in sender.accept_run(of, first, end - at):
                alike_places = order[at : at + alike]
                lost[alike_places] = missing
                if verdict:
                    verdicts.update(dict.fromkeys(alike_places.tolist(), verdict))
                at += alike
        return lost

    def _heard(self, out: list[Found], columns: Frames, at: int, end: int) -> None:
        """Pass on the accepted frames from `at` to `end`."""
        if at < end:
            self.accepted += end - at
            out.append(columns.part(at, end))

    def _body(self, out: list[Found], at: Packet, body: bytes) -> None:
        """Decode the payload of an accepted frame."""
        try:
            self._content(out, at, body)
        except (packet.PacketError, model.ModelError, codec.CodecError):
            self._reject(out, at.arrival_ms, at.device, "undecodable")

    def _content(self, out: list[Found], at: Packet, body: bytes) -> None:
        if at.kind == packet.DATA:
            self._data(out, at, body)
        elif at.kind == packet.MODEL:
            self._model(out, at, body)
        elif at.kind == packet.TELEMETRY:  # and `told.read` found that it is none
            raise packet.PacketError("not telemetry")
        elif at.kind == packet.ALERT:
            out.append(Alert(at.node, at.swarm_ms, *packet.unpack_alert(body)))
        elif at.kind == packet.PULL and len(body) >= BUILD_BYTES:
            name = body[BUILD_BYTES:].decode(errors="replace")[:NAME_CHARACTERS]
            plain = "".join(c if c.isprintable() else "?" for c in name)
            out.append(Joined(at.node, at.swarm_ms, plain, body[:BUILD_BYTES]))
        elif at.kind == packet.OTA:
            out.append(Ota(at.node, at.swarm_ms, body))
        elif at.kind == packet.UPDATE:
            update = packet.unpack_update(body, int.from_bytes(body[4:6], "little"))
            record = Update(at.node, at.swarm_ms, update.epoch, update.base, update.residual, update.accuracy)
            out.append(record)

    def _model(self, out: list[Found], at: Packet, body: bytes) -> None:
        said = packet.unpack_model(body)
        if not said.channels:  # a beacon: it names a model, and whoever misses it asks
            return
        found = model.unpack(said.channels, said.order, said.packed)
        if found.hash not in self.models:
            self.models[found.hash] = found
            if len(self.models) > MODELS_MAX:
                self.models.popitem(last=False)
        out.append(
            Model(
                at.node, said.time_ms, said.stratum, said.epoch, said.inputs, said.channels, said.order,
                found.hash, said.packed, list(found.values),
            )
        )  # fmt: skip
        self._waiting(out, at, found.hash)

    def _waiting(self, out: list[Found], at: Packet, name: bytes) -> None:
        """Decode what waited for the model or the checkpoint of this name."""
        for key in [key for key, held in self._held.items() if held[0] == name]:
            _, packet_at, payload = self._held.pop(key)
            try:
                self._data(out, packet_at._replace(device=at.device), payload)  # whence the answer can go
            except codec.CodecError:
                self._reject(out, at.arrival_ms, packet_at.device, "undecodable")

    def _data(self, out: list[Found], at: Packet, body: bytes) -> None:
        node = self._nodes[at.node]
        try:
            block = codec.decode(body, self.models, node.points, at.node)
        except codec.MissingModel as missing:
            if missing.checkpoint:
                out.append(Missed(at.device, at.node, missing.model_hash))
            self._held[at.node, at.session, at.counter] = (missing.model_hash, at, body)
            if len(self._held) > HELD_MAX:
                self._held.popitem(last=False)
                self.held_lost += 1
            return
        if node.period_ms != block.period_ms or node.channels != block.channels:
            # Another sampling grid or sensor set is another stream of the same board.
            node.period_ms = block.period_ms
            node.coverage = Coverage()
            node.channels = block.channels
            node.spikes = Spikes(block.channels, _SIGMA)
        for start, end in node.coverage.add(block.index, block.index + len(block.steps)):
            low, high = start - block.index, end - block.index
            spikes = [
                self._spikes(node, block.residuals[i]) if i else 0  # a packet's first residual is none
                for i in range(low, high)
            ]
            out.append(
                Samples(
                    at.node, start, block.period_ms, block.regime, block.steps[low:high],
                    block.residuals[low:high], spikes, (node.coverage.missing, node.coverage.exact),
                )
            )  # fmt: skip
        values = sum(v is not None for row in block.steps for v in row)
        out.append(Coded(at.device, at.node, block.state, values, at.size, block.after if block.kept else None))
        if block.base is not None:
            node.keep(block.base)
        if block.kept and block.after is not None:
            node.keep(block.after)
            self._waiting(out, at, block.after.name)

    def _spikes(self, node: Sender, residuals: tuple[int | None, ...]) -> int:
        bits = 0
        for channel, residual in enumerate(residuals):
            if residual is not None:
                bits |= node.spikes.push(channel, residual) << channel
        return bits


def _where(bodies: list[bytes | None], chosen: NDArray[np.bool_]) -> list[bytes | None]:
    """Return the bodies that are chosen, None instead of the others."""
    if chosen.all():
        return bodies
    return [body if yes else None for body, yes in zip(bodies, chosen.tolist(), strict=True)]


def points_frames(points: Iterable[tuple[int, bytes]]) -> bytes:
    """Return serial frames that give `Streams` checkpoints, (node, packed) each, before the ports speak."""
    frames, payload = b"", b""
    for number, packed in points:
        entry = _POINT.pack(number, len(packed)) + packed
        if len(payload) + len(entry) > wire.PAYLOAD_MAX:
            frames += wire.encode_frame(wire.POINTS, 0, payload)
            payload = b""
        payload += entry
    return frames + wire.encode_frame(wire.POINTS, 0, payload) if payload else frames
