"""A node's part in the swarm's rounds: when the radio windows are, and what was learned and agreed in them."""

from qres import packet
from qres.compat import const
from qres.model import Model, ModelError, pack_vector, unpack
from qres.packet import Announcement
from qres.regime import CALM
from qres.reputation import Table
from qres.wake import interval_ms, next_slot_ms

if False:
    from typing import Any

    from qres.gossip import Round
    from qres.sensing import Sensing
    from qres.snapshot import Reader, Writer

_PUSH = const(3)  # updates of others that a node relays in a round
_ALERTS_MAX = const(4)  # alerts that a sentinel repeats for those who slept


class Rounds:
    """Windows, the current round, and the epoch of the model held."""

    STATE = "u:closed u:epoch u:agreed u:window u:pull u:start q:pushed q:alerts"

    def __init__(self, cfg: "dict[str, Any]") -> None:
        """`cfg` as config.load returns it."""
        self.cfg = cfg
        self.epoch_ms: int = cfg["epoch_ms"]
        self.slots: int = cfg["slots"]
        self.slot_ms: int = cfg["slot_ms"]
        guard: int = cfg["guard_ms"]
        self.key: int = cfg["model_key"]
        self.hops: int = cfg["hops"]
        self.pass_ms = self.slots * self.slot_ms  # every node speaks once in a pass; each hop beyond one is another
        self.window_ms = self.hops * self.pass_ms + 2 * guard
        self.settle_ms = self.window_ms // 2
        self.round: Round | None = None
        self.closed = 0
        self.epoch = 0  # of the model held
        self.agreed = 0  # epochs in which the model held was the announced one
        self.window = 0  # a window is open
        self.pull = 0  # the sentinel named a model that we do not hold
        self.start = 0  # swarm time at which the planned window begins
        self.pushed: list[tuple[int, bytes]] = []  # (-priority, frame) to relay
        self.alerts: list[tuple[int, bytes]] = []  # (0, frame)

    def restart(self) -> None:
        """Time began anew: no window, no round, and any epoch may come."""
        self.round = None
        self.window = self.closed = self.epoch = 0
        self.pushed = []

    def epoch_of(self, swarm_ms: int) -> int:
        """The number of the epoch that contains `swarm_ms`."""
        return swarm_ms // self.epoch_ms

    def next_start(self, swarm_ms: int, regime: int, reputation: int, capped: bool, saving: bool) -> int:
        """When the next window begins: the regime's interval, but never past an epoch's boundary.

        `capped` (energy below 10 %) keeps Calm's interval; `saving` skips the windows between boundaries.
        """
        boundary = next_slot_ms(swarm_ms, self.epoch_ms)
        if saving:
            return boundary
        base: int = self.cfg["base_ms"][CALM if capped else regime]
        return min(boundary, next_slot_ms(swarm_ms, interval_ms(base, reputation, bool(self.cfg["rendezvous"]))))

    def open(self, start: int, model: Model) -> bool:
        """A window begins; True when it is a learning round."""
        self.closed = 0
        self.pushed = []
        self.round = None
        if start % self.epoch_ms == 0:
            from qres.gossip import Round

            self.round = Round(self.epoch_of(start), model)
        return self.round is not None

    def hear_update(self, node: int, payload: bytes, frame: bytes, energy_permille: int) -> None:
        """Take an update into the round; PacketError for a malformed one."""
        update = packet.unpack_update(payload, self.key)
        if self.round is not None and not self.closed and self.round.add(node, update) and self.hops > 1:
            from qres.gossip import priority

            rank = priority(update.residual, update.accuracy, energy_permille)
            self.pushed = sorted(self.pushed + [(-rank, frame)])[:_PUSH]

    def own_update(
        self, me: int, residual: int, gain: int, energy_permille: int, change: "list[int]", sensing: "Sensing"
    ) -> "bytes | None":
        """The payload of our lesson, entered into the round, when it is worth sending."""
        if self.round is None:
            return None
        from qres.gossip import infects

        if not infects(residual, gain, energy_permille, self.cfg):
            return None
        model = self.round.base
        delta = pack_vector(model.channels, model.order, change)
        update = packet.Update(self.round.epoch, model.hash, residual, gain, sensing.window[:8], delta)
        self.round.add(me, update)
        return update.pack(self.key)

    def close(self, regime: int, peers: Table) -> None:
        """Aggregate what was heard."""
        if self.round is not None:
            self.closed = 1
            self.round.close(self.cfg["aggregator"], self.cfg["faulty_permille"], regime, peers)

    def inputs(self) -> int:
        """Updates that made the model of this round."""
        return self.round.inputs if self.round is not None and self.closed else 0

    def hear_model(self, heard: Announcement, held: Model) -> "Model | None":
        """The model to hold after an announcement, or None for no change.

        Outside of a round only the sentinel is believed, and by a node that has no model yet, anybody of the swarm.
        """
        if not heard.channels:
            return self._hear_beacon(heard, held)
        if self.round is not None and heard.epoch == self.round.epoch:
            model = self.round.consider(heard, heard.stratum == 0)
        elif heard.epoch >= self.epoch and (heard.stratum == 0 or self.epoch == 0):
            try:
                model = unpack(heard.channels, heard.order, heard.packed)
            except ModelError:
                return None
            if model.channels != held.channels or model.order != held.order:
                return None
        else:
            return None
        if model is not None:
            self.epoch = heard.epoch
            self.pull = 0
        return model

    def _hear_beacon(self, heard: Announcement, held: Model) -> "Model | None":
        """The model held, when the sentinel's beacon names it; else remember to pull the one that it names."""
        if heard.stratum or heard.epoch < self.epoch:
            return None
        if heard.packed != held.hash:
            self.pull = 1
            return None
        self.epoch = heard.epoch
        self.pull = 0
        return held

    def keep_alert(self, frame: bytes) -> None:
        """A sentinel repeats the last alerts, in their senders' own frames, when the sleepers listen."""
        self.alerts = (self.alerts + [(0, frame)])[-_ALERTS_MAX:]

    def relays(self, sentinel: bool) -> "list[bytes]":
        """Frames of others to send on now; each is sent on once."""
        due = self.pushed
        self.pushed = []
        if sentinel and self.window:
            due = due + self.alerts
            self.alerts = []
        return [frame for _, frame in due]

    def voice(self, held: Model, sentinel: bool) -> "Model | None":
        """The model to announce now: a sentinel always has one to say, others only what is not known enough."""
        r = self.round
        if r is None or not self.closed:
            return held if sentinel else None
        if sentinel:
            self.epoch = r.epoch
            r.best = (0, 255 - r.inputs, r.candidate.hash)  # nobody's word goes before its own
            return r.candidate
        if r.best is not None and r.best[0] == 0:
            return None
        model = held if r.best is not None else r.candidate
        if not r.needs_voice(model.hash):
            return None
        r.best = min(r.best or (1, 255, b"\xff" * 4), (1, 255 - r.inputs, model.hash))
        self.epoch = r.epoch
        return model

    def finish(self, held: Model, sentinel: bool) -> bool:
        """The window ends; True when it was a learning round."""
        r = self.round
        self.window = 0
        self.round = None
        if r is None:
            return False
        if sentinel or (r.best is not None and r.best[2] == held.hash):
            self.agreed += 1
        return True

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot."""
        out.fields(self)
        out.blob(b"" if self.round is None else bytes([self.round.base.channels, self.round.base.order]))
        if self.round is not None:
            self.round.dump(out)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot."""
        data.fields(self)
        shape = data.blob()
        if shape:
            from qres.gossip import Round

            self.round = Round(0, Model(shape[0], shape[1]))
            self.round.load(data)
