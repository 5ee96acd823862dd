"""A long short-term memory cell that looks at all channels of a node; the layer behind it learns online.

The cell's weights are fixed: made from a seed, which is the same on every board, or trained elsewhere and loaded
(`set_cell`), so a snapshot holds its state alone.  The output layer sees a channel's own last changes and the cell.
"""

from qres.elementary import EXPS, SIGMOID, TANH, activate
from qres.recurrent import ZERO, add, emit, gates, remember
from qres.regression import LIMIT, products, step
from qres.rng import Rng
from qres.standard import Rows, zeros

if False:
    from collections.abc import Sequence

_LAGS = 2
_HIDDEN = 8
_RATE = 50  # of the output layer, Q12: 0.012
_SEED = 97  # of the cell


def cell_bytes(channels: int) -> int:
    """Bytes of a cell for so many channels."""
    return 4 * _HIDDEN * (1 + 2 * channels + _HIDDEN)


def _default(channels: int) -> bytearray:
    """Random weights within 0.6 / sqrt(channels) for inputs, 0.3 for hidden units; forget gates from -1 to 3."""
    source = Rng(_SEED)
    cell = bytearray([ZERO] * cell_bytes(channels))
    root = 1
    while root * root < channels:
        root += 1
    inputs = 38 // (root + 1)
    at = 0
    for k in range(4 * _HIDDEN):
        if _HIDDEN <= k < 2 * _HIDDEN:
            cell[at] = ZERO - 32 + 128 * (k - _HIDDEN) // (_HIDDEN - 1) - (1 if k == 2 * _HIDDEN - 1 else 0)
        at += 1
        for i in range(2 * channels + _HIDDEN):
            most = inputs if i < 2 * channels else 10
            cell[at] = ZERO - most + source.below(2 * most + 1)
            at += 1
    return cell


class Lstm(Rows):
    """Eight hidden units for the node, an output layer for each channel."""

    WIRE_ID = 4
    STATE = "o:linear o:standard a:own a:out a:h a:c"

    def __init__(self, channels: int, order: int, rate: int) -> None:
        """`order` and `rate` are those of the linear layer."""
        super().__init__(channels, order, rate, _LAGS)
        self.cell = _default(channels)
        self.own = zeros(channels * self.standard.width)
        self.out = zeros(channels * _HIDDEN)
        self.h = zeros(_HIDDEN)
        self.c = zeros(_HIDDEN)
        self.inputs = zeros(2 * channels)  # last change and slow drift of each channel
        self.gated = zeros(4 * _HIDDEN)
        self.seen = zeros(_HIDDEN)  # h as features
        self.more = zeros(channels)

    def set_cell(self, cell: "bytes | bytearray") -> None:
        """Use trained weights, as `qres.recurrent` lays them out; ValueError for a wrong number of bytes."""
        if len(cell) != len(self.cell):
            raise ValueError("wrong size of cell")
        self.cell = bytearray(cell)
        self.ready = False

    def forecast(self) -> None:
        """The output layer, from own changes and what the cell says after them."""
        count = self.standard.channels
        for i in range(_HIDDEN):
            self.seen[i] = self.h[i] >> 7
        products(0, 0, 0, self.standard.width, self.standard.width, count, self.own, self.x, self.ahead)
        products(0, 0, 0, _HIDDEN, 0, count, self.out, self.seen, self.more)
        add(0, 0, LIMIT << 4, count, self.ahead, self.more)

    def learn(self) -> None:
        """The output layer from what it missed."""
        n, count = self.standard.width, self.standard.channels
        step(0, 0, 0, n, n, count, _RATE, self.own, self.x, self.errors)
        step(0, 0, 0, _HIDDEN, 0, count, _RATE, self.out, self.seen, self.errors)

    def advance(self) -> None:
        """Show the cell the row that came."""
        s, n, gated = self.standard, _HIDDEN, self.gated
        for c in range(s.channels):
            self.inputs[2 * c] = s.history[c * s.lags]
            self.inputs[2 * c + 1] = max(min(s.drifts[2 * c + 1] >> 6, LIMIT), -LIMIT)
        gates(0, 0, 0, n, 2 * s.channels, self.cell, self.inputs, self.h, gated)
        activate(0, 0, 0, SIGMOID, 3 * n, gated, EXPS)
        activate(3 * n, 0, 0, TANH, n, gated, EXPS)
        remember(0, 0, 0, n, gated, self.c, self.h)
        activate(0, 0, 0, TANH, n, self.h, EXPS)
        emit(0, 0, 0, n, gated, self.h)

    def weights(self) -> list[int]:
        """Of the linear layer and of the output layer, Q16.16."""
        return self.linear.weights() + list(self.own) + list(self.out)

    def set_weights(self, weights: "Sequence[int]") -> None:
        """Replace them (clamped to +-2); ValueError for a wrong number."""
        self.take_weights(weights, (self.own, self.out))


make = Lstm
