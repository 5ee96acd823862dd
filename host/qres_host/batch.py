"""Records on their way to the database: taken where they are decoded, written where nobody waits for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from qres.codec import Checkpoint

from qres_host.boards import board_of_hello
from qres_host.frames import Place, gather
from qres_host.records import Alert, Coded, Event, Found, Frames, Joined, Model, Rejected, Samples, Update, count
from qres_host.told import Watch

Row = tuple[object, ...]

BOARDS = """INSERT INTO boards VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
  mac = coalesce(excluded.mac, mac), name = coalesce(excluded.name, name),
  role = coalesce(excluded.role, role),
  channels = coalesce(excluded.channels, channels), period_ms = coalesce(excluded.period_ms, period_ms)"""
MODELS = "INSERT OR IGNORE INTO models VALUES (?,?,?,?,?,?)"
UPDATES = "INSERT OR IGNORE INTO updates VALUES (?,?,?,?,?,?)"
ALERTS = "INSERT OR IGNORE INTO alerts VALUES (?,?,?,?,?)"
EVENTS = "INSERT OR IGNORE INTO events VALUES (?,?,?,?,?)"


_LOOSE = 64  # records of frames, which are rows of many at once; small ones take more memory than their rows


class Batch:
    """What one transaction writes. `macs` are the addresses that rows told already, by node; it is kept up to date."""

    def __init__(self, macs: dict[int, int]) -> None:
        """Empty."""
        self.records = 0  # that it was made of
        self._loose: list[Frames] = []
        self._frames: dict[Place, list[bytes]] = {}
        self.rows: dict[str, list[Row]] = {statement: [] for statement in (BOARDS, MODELS, UPDATES, ALERTS, EVENTS)}
        self.samples: list[Samples] = []
        self.rejected: Counter[tuple[str, str]] = Counter()  # by device and reason
        self.points: dict[int, list[Checkpoint]] = {}
        self._macs = macs

    def add(self, records: Sequence[Found]) -> None:
        """Take records, in the order in which they were decoded."""
        self.records += count(records)
        for r in records:
            if isinstance(r, Frames):
                self._radio(r)
            else:
                self._add(r)

    def frames(self) -> dict[Place, list[bytes]]:
        """Return the rows of radio frames by where they belong."""
        gather(self._frames, self._loose)
        self._loose.clear()
        return self._frames

    def _radio(self, frames: Frames) -> None:
        self._loose.append(frames)
        if len(self._loose) == _LOOSE:
            self.frames()
        told = (frames.watched[:, 0] >= 0).nonzero()[0]
        newest = dict(zip(frames.node.take(told).tolist(), told.tolist(), strict=True))
        for node, at in newest.items():
            watched = Watch._make(frames.watched[at].tolist())
            if self._macs.get(node) != watched.mac:
                self._macs[node] = watched.mac
                self.rows[BOARDS].append((node, watched.raw("mac").hex(":"), None, None, None, None))

    def _add(self, r: Found) -> None:
        rows = self.rows
        if isinstance(r, Samples):
            self.samples.append(r)
        elif isinstance(r, Coded):
            if r.point is not None:
                self.points.setdefault(r.node, []).append(r.point)
        elif isinstance(r, Model):
            rows[MODELS].append((r.epoch, r.hash.hex(), r.inputs, r.channels, r.order, r.packed))
        elif isinstance(r, Update):
            rows[UPDATES].append((r.node, r.epoch, r.base.hex(), r.residual_q16, r.accuracy_q16, r.swarm_ms))
        elif isinstance(r, Alert):
            rows[ALERTS].append((r.node, r.swarm_ms, r.regime, r.entropy_q16, r.epoch))
        elif isinstance(r, Joined):
            rows[BOARDS].append((r.node, None, r.name, None, None, None))
        elif isinstance(r, Rejected):
            self.rejected[r.device, r.reason] += 1
        elif isinstance(r, Event):
            self._event(r)

    def _event(self, event: Event) -> None:
        self.rows[EVENTS].append((event.arrival_ms, event.n, event.device, event.kind, event.text))
        board = board_of_hello(event)
        if board is not None:
            channels = json.dumps(board.channels, sort_keys=True)
            self._macs.pop(board.node, None)
            who = (board.node, board.mac, board.name, board.role, channels, board.period_ms)
            self.rows[BOARDS].append(who)
