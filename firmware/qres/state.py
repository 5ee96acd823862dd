"""What both ends know of a stream inside a packet: last values, history and predictors of its channels.

A packet starts from nothing, from the swarm's model or from a checkpoint, see `qres.checkpoint`.
"""

from array import array

from qres.compat import const
from qres.fixed import MAX32, MIN32, exp2_q12
from qres.forecast import CHANGE_MAX, COUNT, DELTAS, LOSS, MEANS, MU, NEIGHBOURS, NEWS, SEEN

if False:
    from typing import Any

    from qres.model import Model
    from qres.snapshot import Reader, Writer

COLD_ORDER = const(4)  # of a packet that starts from nothing
_MODEL_SEEN = const(6)  # changes that the model's scale counts for
_FIRST_MEAN = const(8192)  # 16 LSB, before anything is known
MEAN_MAX = const(0x20000000)


def put_varint(out: bytearray, value: int) -> None:
    """Append `value` >= 0, seven bits a byte, lowest first."""
    while value > 127:
        out.append((value & 127) | 128)
        value >>= 7
    out.append(value)


def zigzag(value: int) -> int:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return -2 * value - 1 if value < 0 else 2 * value


def unzigzag(value: int) -> int:
    """The inverse of zigzag."""
    return -((value + 1) >> 1) if value & 1 else value >> 1


class _Slices:
    """Gives slices as objects."""

    def __getitem__(self, index: "slice") -> "slice":
        return index


_ALL = _Slices()[:]  # made once: `[:]` makes a new one each time, and a step of a packet allocates nothing


class State:
    """The arrays that the kernels of `forecast` and of a coder work on; `coder` is the class of that coder."""

    def __init__(self, channels: int, order: int, coder: "Any") -> None:
        """Nothing known."""
        self.channels = channels
        self.order = order = min(order, coder.LAGS)
        self.stride = DELTAS + max(order, 2)
        self.shared: int = coder.SHARED
        self.per: int = order + NEIGHBOURS + coder.OWN
        self.ints = array("i", [0] * (channels * self.stride))
        self.words = array("H", [0] * (self.shared + channels * self.per))
        self.last = [0] * channels
        self.silent: list[int] = []  # a threshold for each channel, where some may be silent
        self.runs = bytearray(channels)  # values in a row that were just as predicted
        self.away = 0  # bits of the channels whose next value is the first after a gap ...
        self.gap = 0  # ... of so many halvings of the surprise
        self.kept: Any = ()  # what `back` needs: copies of ints, words, runs and last,
        self.kept_away = 0  # and away
        self.residual = 0  # of the last value against its prediction; 0 where there was none
        coder.prepare(self)
        for at in range(0, len(self.ints), self.stride):
            for i in range(MEANS, NEWS):
                self.ints[at + i] = _FIRST_MEAN

    def start(self, model: "Model") -> None:
        """Start from the swarm's model, which has as many channels and no lower order."""
        n = self.ints
        for c in range(self.channels):
            at = c * self.stride
            mean = min(max(exp2_q12(model.scale_q12(c)), 1) << 9, MEAN_MAX)
            self.set_means(at, mean, mean, mean + (mean >> 3))
            n[at + SEEN] = _MODEL_SEEN
            own = self.shared + c * self.per
            weights = model.weights(c)
            for i in range(self.order):
                self.words[own + i] = min(max(weights[i] >> 2, -32767), 32767) & 65535

    def set_means(self, at: int, fast: int, slow: int, step: int) -> None:
        """Set what the statistics of the channel at `at` say, in 1/512 LSB."""
        n = self.ints
        n[at + MEANS] = fast
        n[at + MEANS + 1] = n[at + LOSS + 3] = slow
        n[at + LOSS] = step
        n[at + LOSS + 1] = n[at + LOSS + 2] = min(step << 1, MEAN_MAX)

    def value(self, c: int, coder: "Any", value: int) -> int:
        """Code the value of channel `c` (ignored by a coder that reads); the value, which the state has learned."""
        n = self.ints
        at = c * self.stride
        self.residual = 0
        if not n[at + COUNT]:
            value = coder.first(self.last[c - 1] if c and n[at - self.stride + COUNT] else 0, value)
            n[at + COUNT] = 1
            n[at + NEWS] = 0
        elif self.away >> c & 1:
            self.away &= ~(1 << c)
            value = self._after_gap(c, coder, value)
        else:
            weights = self.shared + c * self.per
            coder.predict(self, c, weights)
            change = self._change(c, coder, value - self.last[c])
            value = self.last[c] + change
            self.residual = change - ((n[at + MU] + 8) >> 4)
            change = min(max(change, -CHANGE_MAX), CHANGE_MAX)
            coder.learn(self, c, weights, change)
        self.last[c] = value
        return value

    def _change(self, c: int, coder: "Any", change: int) -> int:
        """Code a change that is predicted; the change, or the predicted one where that is good enough."""
        if not self.silent or not self.silent[c]:
            coded: int = coder.change(self, c, change)
            return coded
        calm = (self.ints[c * self.stride + MU] + 8) >> 4
        yes = abs(change - calm) < self.silent[c] and MIN32 <= self.last[c] + calm <= MAX32
        told = coder.silent(self.runs[c], 1 if yes else 0)
        change = calm if told else coder.change(self, c, calm if yes else change)
        self.runs[c] = min(self.runs[c] + 1, 255) if told else 0
        return change

    def _after_gap(self, c: int, coder: "Any", value: int) -> int:
        """The first value after a gap: the history says nothing, and the value may have gone far."""
        n = self.ints
        at = c * self.stride
        kept = [n[at + MEANS + i] for i in range(3)]
        for i in range(3):
            n[at + MEANS + i] = min(kept[i], MEAN_MAX >> self.gap) << self.gap
        n[at + MU] = 0
        change: int = coder.change(self, c, value - self.last[c])
        for i in range(3):
            n[at + MEANS + i] = kept[i]
        n[at + COUNT] = 1
        n[at + NEWS] = 0
        return self.last[c] + change

    def skip(self, c: int) -> None:
        """Channel `c` gave nothing in this step."""
        self.ints[c * self.stride + NEWS] = 0

    def mark(self) -> None:
        """Keep what `back` needs."""
        kept = self.kept
        if not kept:
            kept = self.kept = (self.ints[:], self.words[:], self.runs[:], self.last[:])
        kept[0][_ALL] = self.ints
        kept[1][_ALL] = self.words
        kept[2][_ALL] = self.runs
        kept[3][_ALL] = self.last
        self.kept_away = self.away

    def back(self) -> None:
        """Undo what was learned since `mark`."""
        kept = self.kept
        self.ints[_ALL] = kept[0]
        self.words[_ALL] = kept[1]
        self.runs[_ALL] = kept[2]
        self.last[_ALL] = kept[3]
        self.away = self.kept_away

    def dump(self, out: "Writer") -> None:
        """Write everything to a snapshot."""
        out.sints(self.ints)
        out.blob(bytes(self.words))
        out.blob(self.runs)
        out.sints(self.last)
        out.uint(self.away)
        out.uint(self.gap)

    def load(self, data: "Reader") -> None:
        """Read it from a snapshot; ValueError when it is of another shape."""
        ints, words, runs, last = data.sints(), data.blob(), data.blob(), data.sints()
        self.away, self.gap = data.uint(), data.uint()
        shape = len(self.ints), 2 * len(self.words), len(self.runs), len(self.last)
        if (len(ints), len(words), len(runs), len(last)) != shape or self.gap > 8:
            raise ValueError("another shape")
        for i in range(len(ints)):
            if not -MEAN_MAX <= ints[i] <= MEAN_MAX:
                raise ValueError("out of range")
        self.ints[_ALL] = array("i", ints)
        self.words[_ALL] = array("H", words)
        self.runs[_ALL] = runs
        self.last[_ALL] = last
