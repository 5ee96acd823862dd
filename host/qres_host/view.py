"""What a dashboard shows: records folded into one picture, over which terminal and web are thin faces."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from qres import codec, packet
from qres.config import DEFAULTS
from qres.regime import NAMES as REGIME_NAMES

from qres_host.boards import board_of_hello, channels_of, parse_mac
from qres_host.compare import outlying
from qres_host.history import GRACE_MS, History, Truth
from qres_host.records import Coded, Event, Found, Frames, Joined, Model, Rejected, Samples
from qres_host.runs import runs
from qres_host.series import series

EPOCHS_KEPT = 512
EPOCHS_RECENT = 3  # a board that missed more rounds no longer agrees
CLOCK_SET_MS = 7 * 86_400_000  # a jump of the gateway's clock beyond this is no passing of time
PACE_MS = 10_000  # of arrivals, from which the pace of simulated time is told
LINK_COUNTERS = ("serial_gaps", "serial_bad", "dropped")


class _Epoch:
    """What was heard of one epoch: announced models, and which board said that it holds which."""

    def __init__(self) -> None:
        self.inputs: dict[bytes, int] = {}
        self.told: dict[int, bytes] = {}
        self.gateway: bytes | None = None  # what the gateway announced: the one that counts

    def chosen(self) -> bytes | None:
        """Return the hash of the swarm's model of this epoch: the gateway's, else the most held."""
        if self.gateway is not None:
            return self.gateway
        held = Counter(self.told.values()).most_common()
        return min((h for h, n in held if n == held[0][1]), default=None)

    def agree_permille(self) -> int:
        """Return the share of the boards that spoke of this epoch that hold its model."""
        chosen = self.chosen()
        same = sum(held == chosen for held in self.told.values())
        return same * 1000 // len(self.told) if self.told else 0


class View:
    """The picture of one swarm; every method may be called from any thread.

    `clock` tells swarm time now (unix ms) where somebody knows it, such as a simulation; else it runs on from
    the newest frame at `speed` times real time, or at the pace of the last seconds. `version` grows with each
    change.
    """

    def __init__(self, speed: float | None = None, clock: Callable[[], int] | None = None) -> None:
        self.speed = speed
        self.clock = clock
        self.version = 0
        self._lock = threading.RLock()
        self._boards: dict[int, History] = {}
        self._epochs: OrderedDict[int, _Epoch] = OrderedDict()
        self._swarm_ms = 0
        self._heard_at_s = time.monotonic()
        self._ticks: deque[tuple[int, int]] = deque()  # (arrival, swarm time) of the last seconds
        self._links: dict[str, int] = dict.fromkeys(LINK_COUNTERS, 0)
        self._rejected: Counter[str] = Counter()
        self._starts: Counter[int] = Counter()  # of packets with samples
        self._model: Model | None = None
        self._layout: list[dict[str, str]] = []  # the swarm's channels, as its gateway told them
        self._epoch_ms = int(str(DEFAULTS["epoch_ms"]))
        self._frozen = False
        self._folds: dict[type, Callable[[Any], None]] = {
            Samples: self._samples,
            Joined: self._joined,
            Model: self._announced,
            Coded: self._coded,
            Rejected: self._refused,
            Event: self._event,
        }

    def register(
        self,
        mac: str,
        name: str = "",
        role: str = "",
        channels: Iterable[dict[str, str]] = (),
        truth: Truth | None = None,
    ) -> None:
        """Tell of a board before it speaks: its name, role, channels, and what its sensors really read.

        `truth(index)` gives the true values at a grid index (swarm time / period). Raises ValueError when
        `mac` is none.
        """
        raw = parse_mac(mac)
        with self._lock:
            board = self._board(packet.node_id(raw))
            board.mac, board.name, board.role = raw.hex(":"), name, role
            board.channels = channels_of(list(channels)) or board.channels
            board.truth = truth
            self.version += 1

    def fold(self, records: Iterable[Found]) -> None:
        """Take records of `Streams.feed`, in order."""
        frames: list[Frames] = []  # in a row, but for what they do not meet in the picture
        with self._lock:
            for record in records:
                self.version += 1
                if isinstance(record, Frames):
                    frames.append(record)
                elif type(record) in self._folds:
                    if frames and not _apart(record):
                        self._frames(Frames.joined(frames))
                        frames.clear()
                    self._folds[type(record)](record)
            if frames:
                self._frames(Frames.joined(frames))

    def set_links(self, counters: dict[str, int]) -> None:
        """Set what the ports and queues lost in total: serial_gaps, serial_bad, dropped."""
        with self._lock:
            if any(self._links[name] != counters[name] for name in LINK_COUNTERS):
                self._links = {name: counters[name] for name in LINK_COUNTERS}
                self.version += 1

    def freeze(self) -> None:
        """Stop the clock at the newest frame: the end of a replay."""
        self._frozen = True

    def now_ms(self) -> int:
        """Return swarm time now, unix ms; 0 before the first frame when nobody knows."""
        if self.clock is not None:
            return self.clock()
        with self._lock:
            if self._frozen or not self._swarm_ms:
                return self._swarm_ms
            elapsed_s = time.monotonic() - self._heard_at_s
            return self._swarm_ms + int(elapsed_s * 1000 * self._pace())

    def fleet(self) -> dict[str, Any]:
        """Return every board in short form, totals, and the state of the swarm; JSON-ready."""
        with self._lock:
            now_ms = self.now_ms()
            heard_ms = self._heard_ms(now_ms)
            unlike = self._unlike()
            boards = [b.short(now_ms, heard_ms) | {"unlike": unlike.get(b.node, [])} for b in self._sorted()]
            regimes = Counter(board["regime"] for board in boards)
            epoch, chosen = self._common()
            # A board that has not named a model yet has no opinion.
            opinions = [self._agrees(board) for board in self._boards.values() if board.model_hash]
            return {
                "now_ms": now_ms,
                "speed": self.speed,
                "version": self.version,
                "swarm": {
                    "epoch": epoch,
                    "model_hash": chosen,
                    "agreement_permille": sum(opinions) * 1000 // len(opinions) if opinions else None,
                    "regime_counts": {name: regimes.get(name, 0) for name in REGIME_NAMES},
                },
                "totals": self.totals(),
                "boards": boards,
            }

    def board(self, mac: str) -> dict[str, Any] | None:
        """Return one board with its telemetry; None when the MAC is unknown."""
        with self._lock:
            board = self._find(mac)
            if board is None:
                return None
            told = {k: v.hex() if isinstance(v, bytes) else v for k, v in board.told.items()}
            now_ms = self.now_ms()
            row = board.short(now_ms, self._heard_ms(now_ms)) | {"unlike": self._unlike().get(board.node, [])}
            return {**row, "missing": board.missing, "telemetry": told}

    def series(
        self, mac: str, channel: int, start_ms: int | None, end_ms: int | None, max_points: int
    ) -> dict[str, Any] | None:
        """Return one channel for a chart (see `series.series`); None when board or channel is unknown."""
        with self._lock:
            board = self._find(mac)
            if board is None or not 0 <= channel < len(board.channels):
                return None
            return series(board, channel, start_ms, end_ms, max_points)

    def models(self) -> dict[str, Any]:
        """Return the history of the shared model, its weights (Q16.16), and who holds it.

        An epoch enters the history when a board says that it holds its model.
        """
        with self._lock:
            history = []
            for number, epoch in self._epochs.items():
                digest = epoch.chosen()
                if digest is not None and epoch.told:
                    inputs, agree = epoch.inputs.get(digest, 0), epoch.agree_permille()
                    entry = {"epoch": number, "hash": digest.hex(), "inputs": inputs, "agree_permille": agree}
                    history.append(entry)
            boards = [
                {"mac": b.mac, "name": b.name, "hash": b.model_hash, "agrees": self._agrees(b)}
                for b in self._sorted()
                if b.model_hash
            ]
            weights = _weights(self._model) if self._model else []
            return {"epoch": self._common()[0], "history": history, "weights": weights, "boards": boards}

    def totals(self) -> dict[str, int]:
        """Return the sums over all boards and links; `bytes_every` is a frame of its own for each
        sample, `bytes_data` what the frames with samples took of `bytes_air`; `from_...` count those frames."""
        with self._lock:
            boards = list(self._boards.values())
            sensing = [b for b in boards if b.count]
            return {
                "samples": sum(b.count for b in boards),
                "packets": sum(b.packets for b in boards),
                "frames_lost": sum(b.lost for b in boards),
                "samples_lost": sum(b.missing for b in boards),
                "bytes_air": sum(b.bytes_air for b in boards),
                "bytes_data": sum(b.bytes_data for b in boards),
                "bytes_raw": sum(b.bytes_raw for b in boards),
                "bytes_every": sum(b.bytes_every for b in boards),
                "streams_exact": sum(b.exact and not b.mismatched for b in sensing),
                "streams": len(sensing),
                "verified": sum(b.verified for b in boards),
                "mismatched": sum(b.mismatched for b in boards),
                "from_nothing": self._starts[codec.COLD],
                "from_model": self._starts[codec.SWARM],
                "from_checkpoint": self._starts[codec.CHECKPOINT],
                "rejected": sum(self._rejected.values()),
                **self._links,
            }

    def _frames(self, frames: Frames) -> None:
        order = frames.node.argsort(kind="stable")
        node, swarm_ms, watched = (c.take(order, axis=0) for c in (frames.node, frames.swarm_ms, frames.watched))
        starts, ends = runs(node, watched, frames.kind.take(order))  # of the same board, which says nothing new
        lasts = ends - 1
        last = order.take(lasts)
        heard = (
            ends - starts, np.add.reduceat(frames.size.take(order), starts), np.maximum.reduceat(swarm_ms, starts),
            frames.lost[last], frames.kind[last] == packet.DATA,
        )  # fmt: skip
        said = (last, watched[starts], swarm_ms[starts], swarm_ms[lasts])
        for at, *columns in zip(*[column.tolist() for column in (node[starts], *heard, *said)], strict=True):
            board, told = self._board(at), frames.told[columns[5]]
            board.heard(*columns[:5])
            if told is not None:
                model = board.say(told, *columns[6:])
                if model is not None:  # what a board says again of an epoch changes nothing there
                    self._epoch(model[0]).told[at] = model[1]
        turns, _ = runs(frames.swarm_ms)
        for arrival_ms, at_ms in zip(frames.arrival_ms[turns].tolist(), frames.swarm_ms[turns].tolist(), strict=True):
            self._tick(arrival_ms, at_ms)

    def _samples(self, samples: Samples) -> None:
        board = self._board(samples.node)
        board.samples(samples)
        board.adopt(self._layout)

    def _joined(self, joined: Joined) -> None:
        board = self._board(joined.node)
        board.name, board.build = board.name or joined.name, joined.build

    def _coded(self, coded: Coded) -> None:
        self._starts[coded.start] += 1

    def _refused(self, refused: Rejected) -> None:
        self._rejected[refused.reason] += 1

    def _tick(self, arrival_ms: int, swarm_ms: int) -> None:
        """Follow the gateways' clock: forward always, backward only when somebody set it."""
        behind_ms = self._swarm_ms - swarm_ms
        if abs(behind_ms) > CLOCK_SET_MS:
            self._ticks.clear()
        elif behind_ms >= 0:
            return
        self._swarm_ms, self._heard_at_s = swarm_ms, time.monotonic()
        self._ticks.append((arrival_ms, swarm_ms))
        while arrival_ms - self._ticks[0][0] > PACE_MS and len(self._ticks) > 2:
            self._ticks.popleft()

    def _heard_ms(self, now_ms: int) -> int:
        """Return until when a gateway certainly listened: its last frame, and a little more."""
        return min(now_ms, self._swarm_ms + GRACE_MS)

    def _pace(self) -> float:
        """Return how fast swarm time runs: the speed that was told, else what the last seconds showed."""
        if self.speed:
            return self.speed
        if len(self._ticks) < 2:
            return 1.0
        (a0, s0), (a1, s1) = self._ticks[0], self._ticks[-1]
        return max((s1 - s0) / (a1 - a0), 1.0) if a1 - a0 >= PACE_MS // 10 else 1.0

    def _board(self, node: int) -> History:
        board = self._boards.get(node)
        if board is None:
            board = self._boards[node] = History(node, self._epoch_ms)
            # A frame carries only the low 30 bits of the MAC; telemetry brings the whole of it.
            board.mac = (b"\0\0" + node.to_bytes(4, "big")).hex(":")
        return board

    def _find(self, mac: str) -> History | None:
        return next((board for board in self._boards.values() if board.mac == mac), None)

    def _unlike(self) -> dict[int, list[str]]:
        """Return in what boards stand out from those of their role."""
        return outlying({node: board.told for node, board in self._boards.items() if board.told})

    def _sorted(self) -> list[History]:
        return sorted(self._boards.values(), key=lambda b: (b.role == "sentinel", b.mac))

    def _announced(self, said: Model) -> None:
        if said.epoch:  # 0: nothing has been learned yet
            epoch = self._epoch(said.epoch)
            epoch.inputs[said.hash] = max(said.inputs, epoch.inputs.get(said.hash, 0))
            if said.stratum == 0:
                epoch.gateway = said.hash
        if said.stratum == 0 or self._model is None:
            self._model = said

    def _epoch(self, number: int) -> _Epoch:
        """Return the record of an epoch; the epochs stay sorted, and only the newest are kept."""
        epoch = self._epochs.get(number)
        if epoch is None:
            epoch = self._epochs[number] = _Epoch()
            if len(self._epochs) > 1:
                for later in sorted(n for n in self._epochs if n > number):
                    self._epochs.move_to_end(later)
            if len(self._epochs) > EPOCHS_KEPT:
                self._epochs.popitem(last=False)
        return epoch

    def _common(self) -> tuple[int, str | None]:
        """Return the epoch that most boards spoke of last, and the hash of its model.

        A board names its model when a round begins, so the newest epoch is one that none has confirmed yet.
        """
        told = Counter(board.number("epoch") or 0 for board in self._boards.values() if board.model_hash)
        if not told:
            return 0, None
        number = max(told, key=lambda n: (told[n], n))
        digest = self._epochs[number].chosen() if number in self._epochs else None
        return number, digest.hex() if digest is not None else None

    def _agrees(self, board: History) -> bool:
        """Whether the model that a board holds was the swarm's, in an epoch that is not long past."""
        number = board.number("epoch") or 0
        epoch = self._epochs.get(number)
        if epoch is None:
            return False
        digest = epoch.chosen()
        recent = number + EPOCHS_RECENT > next(reversed(self._epochs))
        return recent and digest is not None and digest.hex() == board.model_hash

    def _event(self, event: Event) -> None:
        said = board_of_hello(event)
        if said is not None:
            board = self._board(said.node)
            board.mac, board.name, board.role = said.mac, said.name or board.name, said.role or board.role
            board.channels, board.build = said.channels or board.channels, said.build or board.build
            self._epoch_ms = said.epoch_ms or self._epoch_ms
            self._layout = said.channels or self._layout
            for other in self._boards.values():
                other.adopt(self._layout)
                other.epoch_ms = self._epoch_ms
        elif event.kind == "peers" and event.value is not None:
            self._peers(event.value.get("peers"))

    def _peers(self, peers: object) -> None:
        for row in peers if isinstance(peers, list) else []:
            if isinstance(row, list) and len(row) >= 2 and all(isinstance(v, int) for v in row[:2]):
                board = self._boards.get(row[0])
                if board is not None:
                    board.reputation_permille = row[1]


def _apart(record: Found) -> bool:
    """Whether it makes no difference if frames are folded before or after a record."""
    if isinstance(record, Event):
        return record.kind not in ("hello", "peers")
    return isinstance(record, Rejected | Coded)


def _weights(model: Model) -> list[int]:
    """Return the weights of all channels without the scales, Q16.16."""
    per = model.order + 1
    return [v for i, v in enumerate(model.values) if i % per != model.order]
