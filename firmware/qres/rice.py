"""The coder `rice` of packets: adaptive Golomb-Rice codes with a run mode, as in JPEG-LS (ITU-T T.87).

It writes, or reads what it wrote.  While every channel is just as predicted, whole steps are counted and not coded.
"""

from qres.bits import BitReader, BitWriter
from qres.compat import bit_length, const
from qres.forecast import MU, SLOW
from qres.state import unzigzag, zigzag

if False:
    from qres.snapshot import Reader, Writer
    from qres.state import State

QUOTIENT_MAX = const(18)  # longer unary parts are escaped
_LENGTH_BITS = const(6)  # width of an explicit bit count: 0 to 34
_WATCH_STEPS = const(24)
_MARK_BITS = const(24)  # ones in a row: a value's first 24 bits hold a count of 63, which there is not
_RUNS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)  # log2 of the steps of a run's parts


class Rice:
    """Codes values; `data` None writes."""

    ID = 0
    SHARED = 0
    OWN = 0

    def __init__(self, channels: int, limit: int, data: "bytes | None") -> None:
        """To write, or to read `data`."""
        self.writer = BitWriter()
        self.reader = None if data is None else BitReader(data)
        self.codes: list[tuple[int, int]] = []  # of the step that is written
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

    def bits(self, value: int, count: int) -> int:
        """Code the low `count` bits of `value`; the value."""
        if self.reader:
            return self.reader.get(count)
        self.codes.append((value, count))
        return value

    def step(self, gone: int, channels: int) -> int:
        """Code which channels give no value in this step, as bits; the same."""
        self.codes = []
        if self.reader and self.running:
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
            self.codes.append(((1 << _MARK_BITS) - 1, _MARK_BITS))
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
        """The step is over: write it, or count it when it was quiet in a run."""
        if not self.reader:
            if self.running and self.quiet:
                self.run += 1
                if self.run == 1 << _RUNS[self.row]:
                    self.writer.put(1, 1)
                    self.run = 0
                    self.row = min(self.row + 1, len(_RUNS) - 1)
                return
            if self.running:
                self.writer.put(self.run, 1 + _RUNS[self.row])
                self.run = 0
                self.row = max(self.row - 1, 0)
            for value, count in self.codes:
                self.writer.put(value, count)
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
        return unzigzag(self.bits(z, self.bits(bit_length(z), _LENGTH_BITS)))

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
        k = 0
        while 512 << k < mean:
            k += 1
        z = zigzag(residual)
        q = 0
        while q < QUOTIENT_MAX and self.bits(1 if z >> k > q else 0, 1):
            q += 1
        if q == QUOTIENT_MAX:
            return self.long(residual)
        return unzigzag(q << k | self.bits(z & ((1 << k) - 1), k))

    def size(self) -> int:
        """Bytes that `finish` would return now."""
        return (self.writer.bits + (1 if self.run else 0) + 7) >> 3

    def finish(self) -> bytes:
        """The code; nothing can follow."""
        if self.run:
            self.writer.put(1, 1)
            self.run = 0
        return bytes(self.writer.data)

    def ended(self) -> bool:
        """Reading: whether the bytes are just those of what was read."""
        return self.reader is not None and self.reader.ended()

    def mark(self) -> "tuple[bytes, list[int]]":
        """What `back` needs."""
        return bytes(self.writer.data), [self.writer.bits, self.running, self.row, self.run, self.watch]

    def back(self, mark: "tuple[bytes, list[int]]") -> None:
        """Undo what was written since."""
        self.writer.data = bytearray(mark[0])
        self.writer.bits, self.running, self.row, self.run, self.watch = mark[1]

    def dump(self, out: "Writer") -> None:
        """Write what was coded so far to a snapshot."""
        out.sints(self.mark()[1])
        out.blob(self.writer.data)

    def load(self, data: "Reader") -> None:
        """Read it from a snapshot; ValueError when it is none."""
        state = data.sints()
        done = data.blob()
        if len(state) != 5 or (state[0] + 7) >> 3 != len(done) or not 0 <= state[2] < len(_RUNS):
            raise ValueError("no coder")
        self.back((done, state))
