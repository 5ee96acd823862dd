"""Learning rounds: which updates are worth sending, collecting them, and agreeing on one model bit for bit.

A round has two windows.  In the first, nodes send the change that they learned.  Then each aggregates what it heard,
and in the second they announce the result; a node adopts an announced model that stays within what it heard itself, so
that a lost frame costs a little precision and never the agreement.
"""

from qres import aggregate
from qres.compat import const
from qres.kernels import WEIGHT_MAX
from qres.model import Model, ModelError, unpack, unpack_vector
from qres.packet import Announcement, Update
from qres.reputation import DRIFT, VALID, Table, influence

if False:
    from typing import Any

    from qres.snapshot import Reader, Writer

_ENTRIES_MAX = const(128)
_NAMES_MAX = const(32)  # announced models that a round counts
_ENOUGH = const(2)  # equal announcements heard after which a node keeps its own to itself
_SLACK = const(2048)  # 1/32 in Q16.16: what a check must allow where all changes heard were alike
_RESERVE_PERMILLE = const(150)


def infects(residual: int, accuracy: int, energy_permille: int, cfg: "dict[str, Any]") -> bool:
    """Whether an update is worth its frame: error low, gain high (Q16.16), energy above the reserve."""
    worst: int = cfg["max_residual_permille"]
    least: int = cfg["min_gain_permille"]
    return residual * 1000 <= worst << 16 and accuracy * 1000 >= least << 16 and energy_permille >= _RESERVE_PERMILLE


def priority(residual: int, accuracy: int, energy_permille: int) -> int:
    """gain x (1 - error) x max(energy - 0.15, 0) / 0.85, Q16.16; who goes first where not all fit."""
    rest = max(energy_permille - _RESERVE_PERMILLE, 0)
    return (accuracy * max(65536 - residual, 0) >> 16) * rest // 850


class Round:
    """One epoch's updates and announcements."""

    def __init__(self, epoch: int, model: Model) -> None:
        """Nothing heard yet; `model` is what the changes are relative to."""
        self.epoch = epoch
        self.base = model
        self.updates: dict[int, list[int]] = {}  # node -> change
        self.candidate = model
        self.inputs = 0
        self.faulty = 0  # how many of them may lie
        self.best: tuple[int, int, bytes] | None = None  # rank of the model adopted
        self.heard: dict[bytes, int] = {}  # hash -> announcements

    def add(self, node: int, update: Update) -> bool:
        """Take an update; False when it is of another epoch, base or shape, or a second one."""
        if update.epoch != self.epoch or update.base != self.base.hash or node in self.updates:
            return False
        if len(self.updates) >= _ENTRIES_MAX:
            return False
        try:
            change = unpack_vector(self.base.channels, self.base.order, update.delta)
        except ModelError:
            return False
        if max(change) > WEIGHT_MAX + 1 or min(change) < -WEIGHT_MAX - 1:  # BFP-16 rounds the largest up
            return False  # no lesson of an honest node is so large
        self.updates[node] = change
        return True

    def close(self, rule: str, faulty_permille: int, regime: int, peers: Table) -> Model:
        """Aggregate what was heard, judge the senders by how far off they were, and return the candidate."""
        n = len(self.updates)
        self.inputs = n
        if n:
            # Rounded down, small swarms would expect no liar at all.
            self.faulty = max(n * faulty_permille // 1000, 1 if faulty_permille and n > 2 else 0)
            entries = [(node, influence(peers.get(node), n), v) for node, v in sorted(self.updates.items())]
            change = aggregate.get(rule)(entries, self.faulty, regime)
            values = [a + b for a, b in zip(self.base.values, change)]
            self.candidate = Model(self.base.channels, self.base.order, values)
            self._judge(change, peers)
        return self.candidate

    def _judge(self, change: "list[int]", peers: Table) -> None:
        """Raise the reputation of those near the aggregate, lower that of those far beyond the median distance."""
        distances = []
        for node, v in sorted(self.updates.items()):
            distances.append((sum([abs(a - b) for a, b in zip(v, change)]), node))
        median = sorted(distances)[len(distances) >> 1][0]
        for distance, node in distances:
            peers.change(node, DRIFT if len(distances) > 3 and distance > 4 * median + _SLACK else VALID)

    def consider(self, heard: Announcement, sentinel: bool) -> "Model | None":
        """Judge an announcement of this epoch: the model to adopt now, or None.

        Preferred is the sentinel's, then the one made of more updates, then the smaller hash.  A model outside what
        this node heard itself, in any coordinate, is refused.
        """
        if heard.epoch != self.epoch:
            return None
        try:
            model = unpack(heard.channels, heard.order, heard.packed)
        except ModelError:
            return None
        if model.channels != self.base.channels or model.order != self.base.order:
            return None
        if model.hash in self.heard or len(self.heard) < _NAMES_MAX:
            self.heard[model.hash] = self.heard.get(model.hash, 0) + 1
        known = len(self.updates)
        rank = (0 if sentinel else 1, 255 - min(heard.inputs, 2 * known + 2), model.hash)
        if self.best is not None and rank >= self.best:
            return None
        missed = min(max(heard.inputs - known, 0), known) if sentinel else 0  # a claim of many buys no more than twice
        if model.hash != self.candidate.hash and not self._plausible(model, missed):
            return None
        self.best = rank
        return model

    def _plausible(self, model: Model, missed: int) -> bool:
        """Whether a mean of what this node heard, and of `missed` updates that it did not, can be `model`.

        The box of the changes heard but for the extremes that may be lies, in every coordinate (a result may lie
        anywhere in it), widened by its own size, and as often again as updates were missed.
        """
        vectors = [v for _, v in sorted(self.updates.items())]
        if len(vectors) < 2:
            return True  # heard too little to contradict a member of the swarm
        trim = min(self.faulty, (len(vectors) - 1) // 2)
        for i in range(len(model.values)):
            column = sorted([v[i] for v in vectors])
            low, high = column[trim], column[-1 - trim]
            spread = (high - low + _SLACK) * (1 + missed)
            change = model.values[i] - self.base.values[i]
            if not min(low, 0) - spread <= change <= max(high, 0) + spread:
                return False
        return True

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot."""
        out.blob(self.base.packed)
        out.blob(self.candidate.packed)
        out.sints([self.epoch, self.inputs, self.faulty])
        out.uint(len(self.updates))
        for node, values in sorted(self.updates.items()):
            out.uint(node)
            out.sints(values)
        out.sints([] if self.best is None else [self.best[0], self.best[1]])
        out.blob(b"" if self.best is None else self.best[2])
        out.uint(len(self.heard))
        for name, count in sorted(self.heard.items()):
            out.blob(name)
            out.uint(count)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot."""
        self.base = unpack(self.base.channels, self.base.order, data.blob())
        self.candidate = unpack(self.base.channels, self.base.order, data.blob())
        self.epoch, self.inputs, self.faulty = data.sints()
        for _ in range(data.count()):
            node = data.uint()
            self.updates[node] = data.sints()
        rank = data.sints()
        name = data.blob()
        self.best = (rank[0], rank[1], name) if rank else None
        for _ in range(data.count()):
            name = data.blob()
            self.heard[name] = data.uint()

    def needs_voice(self, model_hash: bytes) -> bool:
        """Whether to announce the own model: not when enough others have announced the same (Trickle, RFC 6206)."""
        return self.heard.get(model_hash, 0) < _ENOUGH
