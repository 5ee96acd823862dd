"""The coder `cm` of packets: context mixing and a range coder, see `qres.cm`; it writes, or reads what it wrote."""

from array import array

from qres import cm
from qres.compat import bit_length, const
from qres.forecast import DELTAS, MEANS, MU, NEIGHBOURS, learn, predict
from qres.rangecoder import AT, back, code, code_bits, ended, finish, length, mark, start
from qres.state import unzigzag, zigzag

if False:
    from qres.snapshot import Reader, Writer
    from qres.state import State

_LEARNING = const(41)  # rate of the predictor inside a packet, Q10
_FRESH_RATE = const(12)  # shift: the mixer learns faster where it starts from what holds for all sensors
_KEPT_RATE = const(13)
_EVEN = const(8192)  # a probability of one half
_RARE = const(64)  # one of 256
_SPARE = const(40)  # bytes that a step may need beyond a full packet, for each channel


class Mixed:
    """Codes values with `cm`; `data` None writes."""

    ID = 2
    SHARED = cm.MIXER + cm.SHARED  # words of all channels
    OWN = cm.OWN  # of each
    LAGS = 16  # at most

    def __init__(self, channels: int, limit: int, data: "bytes | None") -> None:
        """To write at most `limit` bytes, or to read `data`."""
        self.tables = cm.make_tables()
        self.work = array("i", [0] * cm.WORK)
        self.buf = bytearray(limit + 8 + _SPARE * channels) if data is None else bytearray(data)
        self.gone = 0  # bits of the channels that the last step lacked
        self.kept = array("i", [0] * 5)  # what `back` needs
        start(self.work, data)
        self.work[cm.RATE] = _FRESH_RATE

    @staticmethod
    def prepare(state: "State") -> None:
        """The coder's words of a state of which nothing is known."""
        words = state.words
        for i in range(cm.MIXER):
            words[i] = (cm.START[i] ^ 128) << 8
        for i in range(cm.SHARED):
            words[cm.MIXER + i] = 32768
        for c in range(state.channels):
            end = state.shared + (c + 1) * state.per
            for i in range(end - cm.OWN, end):
                words[i] = 32768

    @staticmethod
    def keep(state: "State", out: bytearray) -> None:
        """Append to a checkpoint what of the coder's words is worth it."""
        for i in range(cm.MIXER):
            out.append(min(state.words[i] + 128 >> 8, 255) ^ 128)
        for i in range(cm.MIXER, cm.MIXER + cm.SHARED):
            out.append(state.words[i] >> 8)

    def recall(self, state: "State", data: bytes, at: int) -> int:
        """Read it from data[at..]; where it ends."""
        for i in range(cm.MIXER):
            state.words[i] = (data[at + i] ^ 128) << 8
        for i in range(cm.MIXER, cm.MIXER + cm.SHARED):
            state.words[i] = data[at + i] << 8 | 134  # the middle of what rounds to it, and 6 seen
        self.work[cm.RATE] = _KEPT_RATE
        return at + cm.MIXER + cm.SHARED

    def predict(self, state: "State", c: int, weights: int) -> None:
        """Predict the next change of channel `c`."""
        before = c if c < NEIGHBOURS else NEIGHBOURS
        predict(0, 0, weights, c * state.stride, state.order, before, state.stride, state.ints, state.words)

    def learn(self, state: "State", c: int, weights: int, change: int) -> None:
        """Learn the change that came."""
        before = c if c < NEIGHBOURS else NEIGHBOURS
        at = c * state.stride
        learn(weights, at, state.order, before, state.stride, _LEARNING, change, state.ints, state.words)

    def step(self, gone: int, channels: int) -> int:
        """Code which channels give no value in this step, as bits; the same."""
        expected = _EVEN if self.gone else _RARE
        if not code(1 if gone else 0, expected, self.work, self.buf):
            gone = 0
        else:
            read = 0
            for c in range(channels):
                p = 12288 if self.gone >> c & 1 else 4096
                read |= code(gone >> c & 1, p, self.work, self.buf) << c
            gone = read
        self.gone = gone
        return gone

    def end(self) -> None:
        """The step is over."""

    def silent(self, run: int, yes: int) -> int:
        """Code whether a value is just the predicted one, as the last `run` were; the same."""
        return code(yes, 16384 - 16384 // (min(run, 254) + 2), self.work, self.buf)

    def first(self, near: int, value: int) -> int:
        """Code a channel's first value: its difference from `near` where that is shorter; the value."""
        work, buf = self.work, self.buf
        plain, close = zigzag(value), zigzag(value - near)
        by = code(1 if close < plain else 0, _EVEN, work, buf) if near else 0
        z = close if by else plain
        n = code_bits(work, buf, bit_length(z), 6)
        value = self._wide(z, n)
        return unzigzag(value) + (near if by else 0)

    def _wide(self, value: int, count: int) -> int:
        """Code a number of `count` bits, at most 63, whose highest is 1."""
        if count < 2:
            return count
        value -= 1 << (count - 1)
        read = 1
        left = count - 1
        while left > 0:
            take = left if left < 16 else 16
            left -= take
            read = read << take | code_bits(self.work, self.buf, (value >> left) & 65535 & ((1 << take) - 1), take)
        return read

    def change(self, state: "State", c: int, change: int) -> int:
        """Code the change of channel `c`, predicted in `state`; the change."""
        n = state.ints
        at = c * state.stride
        work, words, tables = self.work, state.words, self.tables
        work[cm.MU] = n[at + MU]
        usual = cm.scale(0, 0, 0, work, n, at + MEANS)
        own = state.shared + (c + 1) * state.per - cm.OWN
        d0, d1 = n[at + DELTAS], n[at + DELTAS + 1]
        inside = min(max(change, -cm.ESCAPED), cm.ESCAPED)
        read = cm.symbol(work, words, tables, self.buf, own, usual, d0, d1, inside)
        if read < cm.ESCAPED:
            return read
        z = zigzag(change)
        return unzigzag(self._wide(z, code_bits(work, self.buf, bit_length(z), 6)))

    def size(self) -> int:
        """Bytes that `finish` would return now."""
        return length(self.work)

    def finish(self) -> bytes:
        """The code; nothing can follow."""
        return finish(self.work, self.buf)

    def ended(self) -> bool:
        """Reading: whether the bytes are just those of what was read."""
        return ended(self.work)

    def mark(self) -> None:
        """Keep what `back` needs."""
        mark(self.work, self.buf, self.kept)
        self.kept[4] = self.gone

    def back(self) -> None:
        """Undo what was written since `mark`."""
        back(self.work, self.buf, self.kept)
        self.gone = self.kept[4]

    def dump(self, out: "Writer") -> None:
        """Write what was coded so far to a snapshot."""
        work = self.work
        out.sints([work[0], work[1], work[2], work[cm.RATE], self.gone])
        out.blob(self.buf[: work[2]])

    def load(self, data: "Reader") -> None:
        """Read it from a snapshot; ValueError when it is of another size."""
        work = self.work
        work[0], work[1], work[2], work[cm.RATE], self.gone = data.sints()
        done = data.blob()
        if len(done) != work[AT] or work[AT] > len(self.buf) or work[0] >> 24 or not 1 <= work[1] >> 16 < 256:
            raise ValueError("no coder of this size")
        self.buf[: len(done)] = done
