"""Serial traffic of a small swarm, made without boards: what a gateway would write, deterministic from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import numpy as np
from qres import codec, packet, telemetry
from qres.model import Model
from qres_host.records import Frames, Packet
from qres_host.told import read
from qres_host.wire import HELLO, PEERS, RADIO, TRACE, encode_frame

KEY = bytes(range(32))
PERIOD_MS = 60_000
T0_MS = 1_764_000_000_000
CHANNELS = [{"name": "temp", "unit": "degC", "scale": "0.1"}, {"name": "humidity", "unit": "%", "scale": "1"}]
GATEWAY_MAC = bytes.fromhex("02515245ff01")


def mac_of(board: int) -> bytes:
    """Return the MAC of the board number `board`."""
    return bytes.fromhex("0251524500") + bytes([board + 1])


def truth(board: int, index: int) -> tuple[int | None, ...]:
    """Return what the sensors of a board read at a grid index."""
    noise = random.Random(f"{board} {index}")
    if noise.random() < 0.02:
        return (None, 50)
    spike = 400 if noise.random() < 0.01 else 0
    return (200 + board * 10 + noise.randrange(-3, 4) + spike, 50 + noise.randrange(2))


def telling(node: int, swarm_ms: int = T0_MS, **over: int | bytes) -> Packet:
    """Return a frame with the telemetry of a node: what is named, else 0."""
    values = {name: 0 if kind == "uint" else bytes(int(kind[5:])) for name, kind in telemetry.FIELDS}
    payload = telemetry.pack({**values, "mac": b"\2\0" + node.to_bytes(4, "big"), **over})
    return Packet(0, "gate", swarm_ms, node, 1, 1, packet.TELEMETRY, -60, len(payload) + 18, 0, payload)


def together(packets: Iterable[Packet]) -> Frames:
    """Return frames as the record that a decoder makes of them."""
    *numbers, told = zip(*packets, strict=True)
    columns = [np.array(column, object if column is numbers[1] else np.int64) for column in numbers]
    return Frames._make([*columns, list(told), read([payload or b"" for payload in told])])


class Swarm:
    """Boards that talk; every method returns the bytes of a gateway's port, or the frame on the air."""

    def __init__(self, boards: int = 3) -> None:
        self.boards = boards
        self.index = T0_MS // PERIOD_MS
        self.seq = 0
        self.counters = [0] * (boards + 1)
        self.model = Model(len(CHANNELS), 4)
        self.epoch = 0

    def now_ms(self) -> int:
        """Return swarm time."""
        return self.index * PERIOD_MS

    def serial(self, kind: int, payload: bytes) -> bytes:
        """Return a serial frame with the next sequence number."""
        self.seq += 1
        return encode_frame(kind, self.seq - 1, payload)

    def radio(self, frame: bytes, rssi: int = -60) -> bytes:
        """Return the serial frame of a radio frame that the gateway heard."""
        head = self.now_ms().to_bytes(8, "little") + (rssi & 0xFF).to_bytes(1, "little")
        return self.serial(RADIO, head + frame)

    def frame(self, board: int, kind: int, payload: bytes, session: int = 7) -> bytes:
        """Return a sealed frame of a board (the gateway is the last)."""
        mac = mac_of(board) if board < self.boards else GATEWAY_MAC
        self.counters[board] += 1
        return packet.seal(KEY, kind, packet.node_id(mac), session, self.counters[board], payload)

    def hello(self) -> bytes:
        """Return the gateway's HELLO."""
        said = {
            "mac": GATEWAY_MAC.hex(":"),
            "name": "gate",
            "role": "sentinel",
            "channels": CHANNELS,
            "period_ms": PERIOD_MS,
        }
        return self.serial(HELLO, json.dumps(said).encode())

    def announce(self) -> bytes:
        """Return the gateway's announcement of a new model."""
        self.epoch += 1
        self.model = Model(len(CHANNELS), 4, [40000 - 64 * self.epoch, 1000, 0, 0, 3 << 12] * len(CHANNELS))
        model = self.model
        said = packet.Announcement(self.now_ms(), 0, self.epoch, self.boards, model.channels, model.order, model.packed)
        return self.radio(self.frame(self.boards, packet.MODEL, said.pack(1)), rssi=0)

    def data(self, board: int, steps: int, model: Model | None = None) -> bytes:
        """Return the radio frame with the next `steps` samples of a board; `index` must be advanced by the caller."""
        encoder = codec.Encoder(len(CHANNELS), codec.RICE, packet.PAYLOAD_MAX, model)
        for i in range(steps):
            assert encoder.add(self.index + i, truth(board, self.index + i))
        return self.frame(board, packet.DATA, encoder.finish(PERIOD_MS, 0))

    def telemetry(self, board: int, **over: int | bytes) -> bytes:
        """Return the radio frame with a board's telemetry."""
        values: dict[str, int | bytes] = {field[0]: (0 if field[1] == "uint" else b"") for field in telemetry.FIELDS}
        values.update(
            mac=mac_of(board),
            battery_permille=900 - board,
            uptime_s=1000,
            awake_ms=50_000,
            next_wake_s=14_400,
        )
        values.update({"model": self.model.hash, "epoch": self.epoch, **over})
        return self.frame(board, packet.TELEMETRY, telemetry.pack(values))

    def peers(self) -> bytes:
        """Return the gateway's view of the others."""
        rows = [[packet.node_id(mac_of(b)), 500 + b, 0, 1] for b in range(self.boards)]
        return self.serial(PEERS, json.dumps({"t": self.now_ms(), "peers": rows}).encode())

    def rounds(self, count: int, steps: int = 16) -> list[bytes]:
        """Return chunks of `count` rounds: each a model, data of every board, telemetry, text, a trace line."""
        chunks = [b"QRES gateway\r\n" + self.hello()]
        for _ in range(count):
            chunks.append(self.announce())
            for board in range(self.boards):
                chunks.append(self.radio(self.data(board, steps, self.model)))
                chunks.append(self.radio(self.telemetry(board)))
            self.index += steps
            chunks += [
                b"heap 91234 free\r\n",
                self.peers(),
                self.serial(TRACE, b'{"e": [4, 1], "a": [], "s": 1}'),
            ]
        return chunks
