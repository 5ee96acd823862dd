"""From samples to residuals, spikes, packets, and to what this node learned in an epoch."""

from qres.compat import const, sha256
from qres.detect import FAULT_BITS, Detector, Spikes, alarm_q8, seed_entropy
from qres.encoder import CODERS, Encoder
from qres.fixed import div, log2_q12
from qres.kernels import WEIGHT_MAX
from qres.model import Model, unpack
from qres.packet import PAYLOAD_MAX
from qres.predict import make

if False:
    from typing import Any

    from qres.checkpoint import Checkpoint
    from qres.joint import Joint
    from qres.predict.linear import Linear
    from qres.snapshot import Reader, Writer


_RECODED_MAX = const(48)  # steps of a packet that are worth coding anew from a better base


def _among(name: bytes, names: bytes) -> bool:
    """Whether `name` is one of `names`, four bytes each."""
    return name in [names[i : i + 4] for i in range(0, len(names), 4)]


def _joint(channels: int) -> "Joint":
    from qres.joint import Joint  # only where there are several channels

    return Joint(channels)


class Learned:
    """An epoch of all channels: coding cost of the local linear layer, of the swarm's model and of persistence."""

    STATE = "v:n v:total v:costs"

    def __init__(self, channels: int) -> None:
        """Nothing measured."""
        self.n = [0] * channels
        self.total = [0] * channels  # sums of |residual| of the local layer
        self.costs = [0] * (3 * channels)  # sums of log2(1 + |residual|), Q12: local, swarm, persistence

    def push(self, channel: int, local: int, swarm: int, persistence: int) -> None:
        """Take the three residuals of one sample of a channel."""
        self.n[channel] += 1
        self.total[channel] += abs(local)
        at = 3 * channel
        for residual in (local, swarm, persistence):
            self.costs[at] += log2_q12(1 + abs(residual))
            at += 1


class Sensing:
    """All channels of one node."""

    STATE = (
        "u:node u:asked o:predictor l:detectors o:spiking l:joints o:learned b:window u:packets u:samples u:spikes "
        "u:missing u:alarms u:entropy"
    )

    def __init__(self, cfg: "dict[str, Any]") -> None:
        """`cfg` as config.load returns it."""
        specs: list[dict[str, int]] = cfg["channels"]
        self.order: int = cfg["order"]
        self.rates: tuple[int, int] = (cfg["rate"], cfg["storm_rate"])
        self.period_ms: int = cfg["period_ms"]
        self.coder = CODERS.index(cfg["coder"])
        self.predictor = make(cfg["predictor"], len(specs), self.order, self.rates[0])
        if cfg["cell"]:
            self.predictor.set_cell(cfg["cell"])
        self.linear: Linear = self.predictor.linear  # the layer of it that the swarm shares
        self.literal = cfg["profile"] == "seed"
        self.alarm_q8 = alarm_q8(len(specs))
        self.detectors = [Detector(c["range"]) for c in specs]
        self.spiking = Spikes(len(specs), cfg["sigma"])
        self.joints = [_joint(len(specs))] if len(specs) > 1 and not self.literal else []
        self.model = Model(len(specs), self.order)
        self.prior: Model | None = None  # what packets start from: only what the gateway is known to hold ...
        self.point: Checkpoint | None = None  # ... and rather the state after a packet that it acknowledged
        self.candidate: Checkpoint | None = None  # the state after a later packet
        self.asked = 0  # start of the window in which that packet was sent: until the next one ends, it stays
        self.checkpoints: bool = cfg["checkpoints"]
        self.node = 0  # number of the node, for the names of checkpoints
        modes = [(c["eps"], c["silent"]) for c in specs]
        self.modes = modes if [m for m in modes if m != (0, 0)] else None
        self.learned = Learned(len(specs))
        self.window = bytes(32)  # hash chain over the epoch's samples
        self.encoder = self._packet(None)
        self.packets = 0
        self.samples = 0
        self.spikes = 0
        self.missing = 0
        self.alarms = 0
        self.entropy = 0

    def _packet(self, base: "Model | Checkpoint | None") -> Encoder:
        return Encoder(len(self.detectors), self.coder, PAYLOAD_MAX, base, self.modes)

    def take(self, index: int, values: "tuple[int | None, ...]", regime: int) -> "tuple[int, bytes | None]":
        """Take the step number `index` (sample time / period): (highest entropy of a channel, packet that became full).

        `values` must have one int32 or None a channel.
        """
        full = None
        if not self.encoder.add(index, values):
            full = self.flush(regime)
            self.encoder.add(index, values)
        self.entropy = self.joints[0].push(values) if self.joints else 0
        linear = self.linear
        ahead, own = self.predictor.predict(), linear.predict()
        for c in range(len(values)):
            v = values[c]
            detector = self.detectors[c]
            entropy = detector.push(v)
            if v is None:
                self.missing += 1
                continue
            if detector.score >= self.alarm_q8:
                self.alarms += 1
            if linear.count[c] > self.order:
                self.spikes += self.spiking.push(c, v - ahead[c])
                if self.literal:
                    entropy = seed_entropy(v - ahead[c], detector.full_scale)
                swarm = linear.expect(c, self.model.values, c * (self.order + 1))
                self.learned.push(c, v - own[c], v - swarm, v - linear.last[c])
            elif self.literal:
                entropy = 0
            self.entropy = max(self.entropy, entropy)
        linear.rate = self.rates[1 if regime == 2 else 0]
        self.predictor.update(values)
        self.samples += 1
        self.window = sha256(self.window + repr((index, values)).encode())
        return self.entropy, full

    def faults(self) -> int:
        """FAULT_BITS for each channel, the first one lowest: STUCK, SATURATED, MISSING at the last step."""
        bits = 0
        for detector in reversed(self.detectors):
            bits = bits << FAULT_BITS | detector.faults
        return bits

    def pending_since_ms(self) -> int:
        """Swarm time of the oldest sample that waits in the packet; -1 when none does."""
        return self.encoder.index * self.period_ms if self.encoder.steps else -1

    def flush(self, regime: int) -> "bytes | None":
        """Close the packet and begin the next one from the best base; None when it is empty."""
        payload = None
        if self.encoder.steps:
            kept = self.checkpoints and not self.asked
            if kept:
                self.candidate = self.encoder.checkpoint(self.node, self.period_ms)
            payload = self.encoder.finish(self.period_ms, regime, kept)
            self.packets += 1
        self.encoder = self._packet(self.point or self.prior)
        return payload

    def confirm(self, model: Model) -> None:
        """The gateway holds `model`: packets may start from it."""
        self.prior = model
        if not self.encoder.steps:
            self.flush(0)

    def acknowledged(self, held: bytes, missed: bytes, regime: int) -> "list[bytes]":
        """The gateway holds and misses the checkpoints of these names, four bytes each: the packets that became full.

        Packets start from our last one once it is held, and from none that is missed.
        """
        point = self.encoder.point
        if self.candidate and _among(self.candidate.name, held):
            self.point = self.candidate
            self.candidate = None
            self.asked = 0
            if self.encoder.steps <= _RECODED_MAX:
                return self._recode(regime)
        if self.point and _among(self.point.name, missed):
            self.forget()
        if point and _among(point.name, missed):
            return self._recode(regime)
        return []

    def _recode(self, regime: int) -> "list[bytes]":
        """Code what waits in the packet anew, from the best base: the packets that became full."""
        old = self.encoder
        self.encoder = self._packet(self.point or self.prior)
        if not old.steps:
            return []
        from qres.codec import decode

        base = old.base
        models = {base.hash: base} if isinstance(base, Model) else {}
        points = {old.point.name: old.point} if old.point else {}
        payload = old.finish(self.period_ms, regime)
        full: list[bytes] = []
        index = old.index
        for row in decode(payload, models, points).steps:
            if not self.encoder.add(index, row):
                full.append(self.flush(regime) or b"")
                self.encoder.add(index, row)
            index += 1
        return full

    def forget(self) -> None:
        """What the gateway holds is not known, as after a reset."""
        self.point = self.candidate = None
        self.asked = 0

    def shed(self) -> bool:
        """Give up a checkpoint for want of memory; False when there is none to give."""
        if self.candidate:
            self.candidate = None
        elif self.point and self.point is not self.encoder.base:
            self.point = None
        else:
            return False
        return True

    def adopt(self, model: Model) -> None:
        """Take over the swarm's model and begin a new epoch of learning."""
        self.model = model
        weights: list[int] = []
        for c in range(len(self.detectors)):
            weights += model.weights(c)
        self.linear.set_weights(weights)
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget what the last epoch measured."""
        self.learned = Learned(len(self.detectors))
        self.window = bytes(32)

    def lesson(self) -> "tuple[int, int, list[int]]":
        """(residual error, accuracy gain, change of the model) of this epoch.

        Error: coding cost over that of persistence; gain: share of the swarm model's cost saved; both Q16.16.  A scale
        that is off costs a quarter of a bit a sample for each halving or doubling.
        """
        cost = [0, 0, 0]
        change: list[int] = []
        new = self.linear.weights()
        it = self.learned
        for c in range(len(it.n)):
            n = it.n[c]
            old = self.model.weights(c)
            scale = self.model.scale_q12(c)
            if n < 2:
                change += [0] * (self.order + 1)
                continue
            mean_q4 = (it.total[c] << 4) // n
            shift = max(log2_q12(mean_q4) - 4 * 4096, 0) - scale if mean_q4 else -scale
            change += [max(-WEIGHT_MAX, min(WEIGHT_MAX, new[c * self.order + i] - old[i])) for i in range(self.order)]
            change.append(shift)
            for i in range(3):
                cost[i] += it.costs[3 * c + i]
            cost[1] += abs(shift) * n >> 2
        if not cost[1] or not cost[2]:
            return 65536, 0, change
        return div(cost[0], cost[2]), max(div(cost[1] - cost[0], cost[1]), 0), change

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot."""
        out.fields(self)
        out.blob(self.model.packed)
        known: list[Model | Checkpoint | None] = [None, self.model]
        for base in (self.prior, self.point, self.candidate, self.encoder.base):
            same = [i for i in range(len(known)) if known[i] is base]
            out.uint(same[0] if same else len(known) + (0 if isinstance(base, Model) else 6))
            if base and not same:
                out.blob(base.packed)
            known.append(base)
        self.encoder.dump(out)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot; ValueError when it is of another configuration."""
        n = len(self.detectors)
        data.fields(self)
        self.model = unpack(n, self.order, data.blob())
        known: list[Any] = [None, self.model]
        for _ in range(4):
            kind = data.uint()
            if kind < len(known):
                known.append(known[kind])
            elif kind == len(known):
                known.append(unpack(n, self.order, data.blob()))
            else:
                from qres.checkpoint import Checkpoint

                known.append(Checkpoint(self.node, data.blob()))
                if known[-1].channels != n:
                    raise ValueError("another configuration")
        self.prior, self.point, self.candidate = known[2:5]
        self.encoder = self._packet(known[5])
        self.encoder.load(data)
