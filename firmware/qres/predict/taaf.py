"""Temporal attention-based adaptive fusion: each channel from its own past, and from the channels that just spiked.

The own branch is a linear layer over a channel's last changes and two leaky sums of them.  What it missed by is the
channel's innovation; one beyond 1.5 deviations (exponentially weighted Welford) is a spike.  Attention is the softmax
of the spikes' sizes; the attended innovations pass through a cross-modal linear layer.  A channel that did not spike
has weight zero, and its part of that layer is skipped.
"""

from qres.attention import VARIANCE_START, attend, credit, cross, spikes
from qres.elementary import EXPS, shares
from qres.regression import products, residuals, step
from qres.standard import Rows, zeros

if False:
    from collections.abc import Sequence

_LAGS = 3
_RATE = 50  # of the own branch, Q12: 0.012
_CROSS_RATE = 328  # of the cross-modal layer, Q16: 0.005


class Taaf(Rows):
    """Own past and spiking neighbours, fused; 5 + `channels` weights a channel."""

    WIRE_ID = 3
    STATE = "o:linear o:standard a:own a:cross a:z a:variances"

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """`order` and `rate` are those of the linear layer."""
        super().__init__(channels, order, rate, _LAGS)
        self.own = zeros(channels * self.standard.width)
        self.cross = zeros(channels * channels)  # row i: what a spike of channel i means for each
        self.z = zeros(channels)  # innovations that are spikes, in deviations, Q8
        self.variances = zeros(channels)
        for c in range(channels):
            self.variances[c] = VARIANCE_START
        self.who = zeros(channels)
        self.gated = zeros(channels)  # attention times innovation of those that spiked
        self.alone = zeros(channels)  # what the own branch predicts
        self.spiking = 0  # channels in `who`

    def forecast(self) -> None:
        """Own branch; the cross-modal one for what spiked."""
        n, count = self.standard.width, self.standard.channels
        products(0, 0, 0, n, n, count, self.own, self.x, self.alone)
        self.ahead[:] = self.alone
        self.spiking = attend(0, 0, 0, count, self.z, self.who, self.gated)
        if self.spiking:
            shares(0, 0, 0, self.spiking, self.gated, EXPS)
            cross(0, 0, 0, count, self.spiking, self.z, self.who, self.gated, self.cross, self.ahead)

    def learn(self) -> None:
        """Each branch from what it missed."""
        n, count = self.standard.width, self.standard.channels
        if self.spiking:
            credit(0, 0, 0, count, self.spiking, _CROSS_RATE, self.who, self.gated, self.errors, self.cross)
        residuals(0, 0, count, self.standard.y, self.alone, self.errors)
        step(0, 0, 0, n, n, count, _RATE, self.own, self.x, self.errors)
        spikes(0, 0, 0, count, self.errors, self.variances, self.z)

    def weights(self) -> list[int]:
        """Of the linear layer, the own branches and the cross-modal layer, Q16.16."""
        return self.linear.weights() + list(self.own) + list(self.cross)

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Replace them (clamped to +-2); ValueError for a wrong number."""
        self.take_weights(weights, (self.own, self.cross))


make = Taaf
