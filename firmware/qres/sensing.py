"""From samples to residuals, spikes, packets, and to what this node learned in an epoch."""

from qres.compat import sha256
from qres.detect import Detector
from qres.encoder import CODERS, Encoder
from qres.fixed import log2_q12
from qres.kernels import WEIGHT_MAX, nlms_predict
from qres.model import Model, unpack
from qres.packet import PAYLOAD_MAX
from qres.predict import make

if False:
    from typing import Any

    from qres.predict.linear import Linear
    from qres.snapshot import Reader, Writer


class Learned:
    """One channel's epoch: coding cost of the local predictor, of the swarm's model and of persistence."""

    STATE = "u:n u:total v:costs"

    def __init__(self) -> None:
        """Nothing measured."""
        self.n = 0
        self.total = 0  # sum of |residual| of the local predictor
        self.costs = [0, 0, 0]  # sums of log2(1 + |residual|), Q12: local, swarm, persistence

    def push(self, local: int, swarm: int, persistence: int) -> None:
        """Take the three residuals of one sample."""
        self.n += 1
        self.total += abs(local)
        self.costs[0] += log2_q12(1 + abs(local))
        self.costs[1] += log2_q12(1 + abs(swarm))
        self.costs[2] += log2_q12(1 + abs(persistence))


class Sensing:
    """All channels of one node."""

    STATE = "l:predictors l:detectors l:learned b:window u:packets u:samples u:spikes u:missing u:entropy"

    def __init__(self, cfg: "dict[str, Any]") -> None:
        """`cfg` as config.load returns it."""
        specs: list[dict[str, int]] = cfg["channels"]
        self.order: int = cfg["order"]
        self.rates: tuple[int, int] = (cfg["rate"], cfg["storm_rate"])
        self.period_ms: int = cfg["period_ms"]
        self.coder = CODERS.index(cfg["coder"])
        seed = cfg["profile"] == "seed"
        self.predictors: list[Linear] = [make(cfg["predictor"], self.order, self.rates[0]) for _ in specs]
        self.detectors = [Detector(cfg["sigma"], (c["range"] or 1 << 16) if seed else 0) for c in specs]
        self.model = Model(len(specs), self.order)
        self.prior: Model | None = None  # what packets start from: only what the gateway is known to hold
        self.learned = [Learned() for _ in specs]
        self.window = bytes(32)  # hash chain over the epoch's samples
        self.encoder = Encoder(len(specs), self.coder, PAYLOAD_MAX, None)
        self.packets = 0
        self.samples = 0
        self.spikes = 0
        self.missing = 0
        self.entropy = 0

    def take(self, index: int, values: "tuple[int | None, ...]", regime: int) -> "tuple[int, bytes | None]":
        """Take the step number `index` (sample time / period): (highest entropy of a channel, packet that became full).

        `values` must have one int32 or None a channel.
        """
        full = None
        if not self.encoder.add(index, values):
            full = self.flush(regime)
            self.encoder.add(index, values)
        self.entropy = 0
        for c in range(len(values)):
            v = values[c]
            if v is None:
                self.missing += 1
                continue
            predictor = self.predictors[c]
            if predictor.count > self.order:
                residual = v - predictor.predict()
                base = predictor.last + nlms_predict(self.model.values, c * (self.order + 1), predictor.d, self.order)
                self.learned[c].push(residual, v - base, v - predictor.last)
                entropy, spike = self.detectors[c].push(residual)
                self.spikes += spike
                self.entropy = max(self.entropy, entropy)
            predictor.rate = self.rates[1 if regime == 2 else 0]
            predictor.update(v)
        self.samples += 1
        self.window = sha256(self.window + repr((index, values)).encode())
        return self.entropy, full

    def pending_since_ms(self) -> int:
        """Swarm time of the oldest sample that waits in the packet; -1 when none does."""
        return self.encoder.index * self.period_ms if self.encoder.steps else -1

    def flush(self, regime: int) -> "bytes | None":
        """Close the packet and begin the next one from the prior; None when it is empty."""
        payload = None
        if self.encoder.steps:
            payload = self.encoder.finish(self.period_ms, regime)
            self.packets += 1
        self.encoder = Encoder(len(self.predictors), self.coder, PAYLOAD_MAX, self.prior)
        return payload

    def confirm(self, model: Model) -> None:
        """The gateway holds `model`: packets may start from it."""
        self.prior = model
        if not self.encoder.steps:
            self.flush(0)

    def adopt(self, model: Model) -> None:
        """Take over the swarm's model and begin a new epoch of learning."""
        self.model = model
        for c in range(len(self.predictors)):
            self.predictors[c].set_weights(model.weights(c))
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget what the last epoch measured."""
        self.learned = [Learned() for _ in self.learned]
        self.window = bytes(32)

    def lesson(self) -> "tuple[int, int, list[int]]":
        """(residual error, accuracy gain, change of the model) of this epoch.

        Error: coding cost over that of persistence; gain: share of the swarm model's cost saved; both Q16.16.  A scale
        that is off costs a quarter of a bit a sample for each halving or doubling.
        """
        cost = [0, 0, 0]
        change: list[int] = []
        for c in range(len(self.learned)):
            it = self.learned[c]
            old = self.model.weights(c)
            scale = self.model.scale_q12(c)
            if it.n < 2:
                change += [0] * (self.order + 1)
                continue
            new = self.predictors[c].weights()
            mean_q4 = (it.total << 4) // it.n
            shift = max(log2_q12(mean_q4) - 4 * 4096, 0) - scale if mean_q4 else -scale
            change += [max(-WEIGHT_MAX, min(WEIGHT_MAX, new[i] - old[i])) for i in range(self.order)]
            change.append(shift)
            for i in range(3):
                cost[i] += it.costs[i]
            cost[1] += abs(shift) * it.n >> 2
        if not cost[1] or not cost[2]:
            return 65536, 0, change
        return (cost[0] << 16) // cost[2], max(((cost[1] - cost[0]) << 16) // cost[1], 0), change

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot."""
        out.fields(self)
        model = self.encoder.model
        for m in (self.model, self.prior, model if model is not self.prior else None):
            out.blob(m.packed if m else b"")
        out.uint(1 if model else 0)
        out.fields(self.encoder)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot; ValueError when it is of another configuration."""
        n = len(self.predictors)
        data.fields(self)
        packed = [data.blob() for _ in range(3)]
        self.model = unpack(n, self.order, packed[0])
        self.prior = unpack(n, self.order, packed[1]) if packed[1] else None
        model = unpack(n, self.order, packed[2]) if packed[2] else self.prior
        self.encoder = Encoder(n, self.coder, PAYLOAD_MAX, model if data.uint() else None)
        data.fields(self.encoder)
