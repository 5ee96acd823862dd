"""The coder `rice` of packets: adaptive Golomb-Rice codes with a run mode, as in JPEG-LS (ITU-T T.87).

It writes, or reads what it wrote.  While every channel is just as predicted, whole steps are counted and not coded.
"""

from array import array

from qres.bits import BitReader
from qres.compat import bit_length, const
from qres.forecast import MU, SLOW
from qres.golomb import AT, FILL, HELD, NORM, QUOTIENT_MAX, WORK, advance, put, put_residual, settle
from qres.state import unzigzag, zigzag

if False:
    from qres.snapshot import Reader, Writer
    from qres.state import State

_LENGTH_BITS = const(6)  # width of an explicit bit count: 0 to 34
_WATCH_STEPS = const(24)
_MARK_BITS = const(24)  # ones in a row: a value's first 24 bits hold a count of 63, which there is not
_WIDE = const(1 << 28)  # residuals beyond are escaped
_SPARE = const(9)  # bytes that a step may need beyond a full packet, for each channel and once more
_RUNS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)  # log2 of the steps of a run's parts


class Rice:
    """Codes values; `data` None writes."""

    ID = 0
    SHARED = 0
    OWN = 0
    LAGS = 4  # of the light predictor: more cost more than they save

    def __init__(self, channels: int, limit: int, data: "bytes | None") -> None:
        """To write at most `limit` bytes, or to read `data`."""
        self.work = array("i", [0] * WORK)
        self.buf = bytearray(limit + _SPARE * (channels + 1) if data is None else 0)
        self.records: list[memoryview] = []  # of the state's channels
        self.reader = None if data is None else BitReader(data)
        self.before = array("i", [0] * WORK)  # the bits written before this step,
        self.kept = array("i", [0] * (WORK + 4))  # and all that `back` needs
        self.quiet = 1  # every value of this step so far is just as predicted
        self.running = 0  # the last step was quiet
        self.row = 0  # of _RUNS
        self.run = 0  # writing: steps of the run that no code stands for yet; reading: that still come
        self.broken = 0  # reading: the run ends with them
        self.watch = 0  # steps that still say whether they lack values

    @staticmethod
    def prepare(state: "State") -> None:
        """The coder keeps nothing in a state."""

    @staticmethod
    def keep(state: "State", out: bytearray) -> None:
        """Nor in a checkpoint."""

    def recall(self, state: "State", data: bytes, at: int) -> int:
        """Where its part of a checkpoint ends."""
        return at

    def predict(self, state: "State", c: int, weights: int) -> None:
        """Predict the next change of channel `c`, unless `learn` has."""
        if not self.records:
            view = memoryview(state.ints)
            for at in range(0, len(view), state.stride):
                self.records.append(view[at : at + state.stride])
        if not self.records[c][NORM]:
            settle(0, 0, 0, weights, state.order, self.records[c], state.words)

    def learn(self, state: "State", c: int, weights: int, change: int) -> None:
        """Learn the change that came."""
        advance(0, 0, 0, weights, state.order, change, self.records[c], state.words)

    def bits(self, value: int, count: int) -> int:
        """Code the low `count` bits (at most 22) of `value`, whose others are zero; the value."""
        if self.reader:
            return self.reader.get(count)
        put(0, 0, 0, value, count, self.work, self.buf)
        return value

    def step(self, gone: int, channels: int) -> int:
        """Code which channels give no value in this step, as bits; the same."""
        if self.running:
            if not self.reader:
                for i in range(WORK):
                    self.before[i] = self.work[i]
                self.bits(self.run, 1 + _RUNS[self.row])  # the run ends, unless the step proves quiet
            else:
                if not self.run and not self.broken:
                    self._next_run()
                if self.run:
                    self.run -= 1
                    self.quiet = 2
                    self.watch = max(self.watch - 1, 0)
                    return 0
                self.broken = 0
        self.quiet = 1
        if self._lacks(gone):
            read = 0
            for c in range(channels):
                read |= self.bits(gone >> c & 1, 1) << c
            gone = read
            self.quiet = 0
        elif self.reader:
            gone = 0
        self.watch = _WATCH_STEPS if gone else max(self.watch - 1, 0)
        return gone

    def _lacks(self, gone: int) -> int:
        """Code whether the step lacks values: a bit near one that does, else nothing or what no value begins with."""
        if self.watch:
            return self.bits(1 if gone else 0, 1)
        if self.reader:
            return self.reader.skip_ones(_MARK_BITS)
        if gone:
            for _ in range(2):
                self.bits((1 << _MARK_BITS // 2) - 1, _MARK_BITS // 2)
        return gone

    def _next_run(self) -> None:
        assert self.reader
        if self.reader.get(1):
            self.run = 1 << _RUNS[self.row]
            self.row = min(self.row + 1, len(_RUNS) - 1)
        else:
            self.run = self.reader.get(_RUNS[self.row])
            self.row = max(self.row - 1, 0)
            self.broken = 1

    def end(self) -> None:
        """The step is over: leave it written, or count it when it was quiet in a run."""
        if not self.reader and self.running:
            if self.quiet:
                for i in range(WORK):
                    self.work[i] = self.before[i]
                self.run += 1
                if self.run == 1 << _RUNS[self.row]:
                    self.bits(1, 1)
                    self.run = 0
                    self.row = min(self.row + 1, len(_RUNS) - 1)
                return
            self.run = 0
            self.row = max(self.row - 1, 0)
        self.running = 1 if self.quiet else 0

    def silent(self, run: int, yes: int) -> int:
        """Whether a value is just the predicted one is not told apart: it costs a zero, or nothing in a run.  0."""
        return 0

    def first(self, near: int, value: int) -> int:
        """Code a channel's first value; the value."""
        self.quiet = 0
        return self.long(value)

    def long(self, value: int) -> int:
        """Code a number behind its length; the number."""
        z = zigzag(value)
        left = self.bits(bit_length(z), _LENGTH_BITS)
        read = 0
        while left > 0:
            take = left if left < 16 else 16
            left -= take
            read = read << take | self.bits(z >> left & ((1 << take) - 1), take)
        return unzigzag(read)

    def change(self, state: "State", c: int, change: int) -> int:
        """Code the change of channel `c`, predicted in `state`; the change."""
        at = c * state.stride
        predicted = (state.ints[at + MU] + 8) >> 4
        if self.quiet == 2:
            return predicted
        residual = self.residual(state.ints[at + SLOW], change - predicted)
        if residual:
            self.quiet = 0
        return predicted + residual

    def residual(self, mean: int, residual: int) -> int:
        """Code a residual of which |residual| is `mean` / 512 on average; the residual."""
        if not self.reader:
            inside = min(max(residual, -_WIDE), _WIDE)
            return residual if put_residual(mean, 0, 0, inside, self.work, self.buf) else self.long(residual)
        k = 0
        while 512 << k < mean:
            k += 1
        q = 0
        while q < QUOTIENT_MAX and self.reader.get(1):
            q += 1
        return self.long(0) if q == QUOTIENT_MAX else unzigzag(q << k | self.reader.get(k))

    def size(self) -> int:
        """Bytes that `finish` would return now."""
        return self.work[AT] + ((self.work[FILL] + (1 if self.run else 0) + 7) >> 3)

    def finish(self) -> bytes:
        """The code as it is now."""
        held, fill = self.work[HELD], self.work[FILL]
        if self.run:
            held = held << 1 | 1
            fill += 1
        end = bytes([(held << 8 - fill) & 255]) if fill else b""
        return bytes(self.buf[: self.work[AT]]) + end

    def ended(self) -> bool:
        """Reading: whether the bytes are just those of what was read."""
        return self.reader is not None and self.reader.ended()

    def mark(self) -> None:
        """Keep what `back` needs."""
        kept = self.kept
        for i in range(WORK):
            kept[i] = self.work[i]
        kept[WORK] = self.running
        kept[WORK + 1] = self.row
        kept[WORK + 2] = self.run
        kept[WORK + 3] = self.watch

    def back(self) -> None:
        """Undo what was written since `mark`."""
        kept = self.kept
        for i in range(WORK):
            self.work[i] = kept[i]
        self.running = kept[WORK]
        self.row = kept[WORK + 1]
        self.run = kept[WORK + 2]
        self.watch = kept[WORK + 3]

    def dump(self, out: "Writer") -> None:
        """Write what was coded so far to a snapshot."""
        self.mark()
        out.sints(self.kept)
        out.blob(self.buf[: self.work[AT]])

    def load(self, data: "Reader") -> None:
        """Read it from a snapshot; ValueError when it is none."""
        kept, done = data.sints(), data.blob()
        if len(kept) != len(self.kept) or min(kept) < 0 or max(kept) > len(self.buf) + 255:
            raise ValueError("no coder")
        if kept[FILL] > 7 or kept[HELD] >> kept[FILL] or kept[WORK + 1] >= len(_RUNS):
            raise ValueError("no coder")
        if len(done) != kept[AT] or kept[AT] > len(self.buf):
            raise ValueError("no coder of this size")
        self.kept = array("i", kept)
        self.back()
        self.buf[: len(done)] = done
