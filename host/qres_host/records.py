"""What the decoder finds in the bytes of a port: one record for each thing that somebody may want to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qres.codec import Checkpoint


class Packet(NamedTuple):
    """A radio frame that was accepted. `swarm_ms` is the gateway's clock; `size` bytes on the air.

    Telemetry needs no record beside it: `told` is what the board said of itself, None in frames of other kinds.
    """

    arrival_ms: int
    device: str
    swarm_ms: int
    node: int
    session: int
    counter: int
    kind: int
    rssi_dbm: int
    size: int
    lost: int  # frames of this node that are known to be missing so far
    told: bytes | None  # the payload, which `qres.telemetry.unpack` reads


class Frames(NamedTuple):
    """Radio frames that were accepted one after the other, by columns: one for each field of Packet, and one more.

    Of boards that tell much, nothing is done with each frame that can be done with many. A frame whose payload brings
    records of its own is the last, and they follow; so all but the last are telemetry.
    """

    arrival_ms: NDArray[np.int64]
    device: NDArray[np.object_]  # str
    swarm_ms: NDArray[np.int64]
    node: NDArray[np.int64]
    session: NDArray[np.int64]
    counter: NDArray[np.int64]
    kind: NDArray[np.uint8]
    rssi_dbm: NDArray[np.int8]
    size: NDArray[np.int64]
    lost: NDArray[np.int64]
    told: list[bytes | None]
    watched: NDArray[np.int64]  # a row each, as qres_host.told.read says

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """Return the frames of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        *columns, told, watched = zip(*parts, strict=True)
        whole = [each for part in told for each in part]
        return cls._make([*map(np.concatenate, columns), whole, np.concatenate(watched)])

    def part(self, at: int, end: int) -> Frames:
        """Return the frames from `at` to `end`."""
        return Frames._make(column[at:end] for column in self)

    def packets(self) -> Iterator[Packet]:
        """Yield the frames one by one."""
        columns = [column if isinstance(column, list) else column.tolist() for column in self[:-1]]
        return map(Packet._make, zip(*columns, strict=True))


class Rejected(NamedTuple):
    """A frame that was refused, and why: malformed, bad tag, replay, undecodable, wrong json."""

    arrival_ms: int
    device: str
    reason: str


class Samples(NamedTuple):
    """Consecutive new samples of a node; sample i was taken at swarm time (first + i) * period_ms.

    `steps`, `residuals` hold a value or None (missing) per sample and channel; `spikes` a bit per channel.
    """

    node: int
    first: int
    period_ms: int
    regime: int
    steps: list[tuple[int | None, ...]]
    residuals: list[tuple[int | None, ...]]
    spikes: list[int]
    gaps: tuple[int, bool]  # samples missing so far between first and last, and whether the stream is exact


class Coded(NamedTuple):
    """How a packet of samples was coded: what it started from, its values and bytes.

    `start` is codec.COLD, SWARM or CHECKPOINT. `point` is the state that it ended in, where the board keeps that and
    waits for an acknowledgement. `device`: by which it came.
    """

    device: str
    node: int
    start: int
    values: int
    size: int
    point: Checkpoint | None


class Missed(NamedTuple):
    """A packet of samples starts from a checkpoint that is not known here: the board should use another.

    `device`: by which it came.
    """

    device: str
    node: int
    name: bytes


class Model(NamedTuple):
    """An announced model: `values` are weights (Q16.16) and a scale per channel.

    `stratum` 0 is the gateway's own word; `inputs` how many updates made the model.
    """

    node: int
    time_ms: int
    stratum: int
    epoch: int
    inputs: int
    channels: int
    order: int
    hash: bytes
    packed: bytes
    values: list[int]


class Update(NamedTuple):
    """A node's learning of one epoch: base model, residual error and accuracy gain (Q16.16)."""

    node: int
    swarm_ms: int
    epoch: int
    base: bytes
    residual_q16: int
    accuracy_q16: int


class Alert(NamedTuple):
    """A node's regime rose: regime, entropy Q16.16, epoch."""

    node: int
    swarm_ms: int
    regime: int
    entropy_q16: int
    epoch: int


class Event(NamedTuple):
    """A frame or line of the gateway itself. `kind`: text, log, trace, reply, hello, peers.

    `n` numbers the events of one arrival time, so (arrival_ms, n) names an event. `value` is the parsed
    JSON object of hello, peers and reply, else None.
    """

    arrival_ms: int
    n: int
    device: str
    kind: str
    text: str
    value: dict[str, Any] | None


class Joined(NamedTuple):
    """A node asked for the swarm's model and told its name and what it runs (5 bytes, see qres.port.contract)."""

    node: int
    swarm_ms: int
    name: str
    build: bytes


class Ota(NamedTuple):
    """A frame of an update over the air: what the gateway or a board said (qres.port.ota)."""

    node: int
    swarm_ms: int
    payload: bytes


Found = Joined | Ota | Frames | Rejected | Samples | Coded | Missed | Model | Update | Alert | Event


def count(found: Iterable[Found]) -> int:
    """Return how many records these are, each frame for itself."""
    return sum(len(record.node) if isinstance(record, Frames) else 1 for record in found)
