"""Fills packets of samples, sized in bytes, that decode on their own given what they start from; see `qres.codec`.

A packet starts from a checkpoint of this very stream that the receiver acknowledged, from the swarm's model, or from
nothing; it names what it starts from.  Exact, or bounded by an error for each channel, or silent while the prediction
is good enough.  See docs/wire.md.
"""

from qres.compat import const
from qres.model import Model
from qres.state import COLD_ORDER, State, put_varint, zigzag

if False:
    from typing import Any

    from qres.checkpoint import Checkpoint
    from qres.snapshot import Reader, Writer

COLD = const(0)  # states: what the packet starts from
SWARM = const(1)
CHECKPOINT = const(2)
RICE = const(0)  # coders
HUFFMAN = const(1)
CM = const(2)
CODERS = ("rice", "huffman", "cm")
MODES = const(64)  # bits of the first byte: how exact each channel is follows;
KEPT = const(128)  # the sender keeps the state that the packet ends in, and waits for its acknowledgement
STEPS_MAX = const(255)


def coder_class(number: int) -> "Any":
    """The class of a coder by its number; only what is asked for is loaded."""
    if number == CM:
        from qres.mixed import Mixed

        return Mixed
    if number == HUFFMAN:
        from qres.huffman import Huffman

        return Huffman
    from qres.rice import Rice

    return Rice


def period_code(period_ms: int) -> int:
    """The sampling period as u16: milliseconds up to 32,767, else seconds + 32,768."""
    return period_ms if period_ms < 32768 else 32768 + min(period_ms // 1000, 32767)


def quantize(value: int, eps: int) -> int:
    """The step of the lattice of odd width 2 eps + 1 that is nearest to `value`."""
    return (value + eps) // (2 * eps + 1)


class Encoder:
    """Fills one packet, step by step; `limit` is the most bytes that `finish` may return."""

    def __init__(
        self,
        channels: int,
        coder: int,
        limit: int,
        base: "Model | Checkpoint | None" = None,
        modes: "list[tuple[int, int]] | None" = None,
    ) -> None:
        """`coder` is one of RICE, HUFFMAN and CM; `base`, of as many channels, is what the packet starts from.

        `modes`: for each channel its largest error, and below what distance from the prediction it may be silent.
        """
        self.modes = modes or []
        self.base = base
        self.limit = limit
        kind = coder_class(coder)
        self.state = State(channels, base.order if base else COLD_ORDER, kind)
        self.state.silent = [max(silent // (2 * eps + 1), 1) if silent else 0 for eps, silent in self.modes]
        self.point = None if isinstance(base, Model) else base
        self.head = 0  # bytes of the header
        self.coder = kind(channels, limit, None)
        if isinstance(base, Model):
            self.state.start(base)
        self.index = 0  # of the first step
        self.steps = 0

    def add(self, index: int, values: "tuple[int | None, ...]") -> bool:
        """Append the step number `index`; False, with nothing changed, when it does not fit or does not follow on."""
        if self.steps == STEPS_MAX or (self.steps and index != self.index + self.steps):
            return False
        state, coder = self.state, self.coder
        if self.steps == 0:
            self.index = index
            self.head = len(self._header(0, 0))
            if self.point:
                from qres.checkpoint import resume

                resume(state, coder, self.point, abs(index - self.point.next_index))
        coder.mark()
        state.mark()
        self._code(values)
        if self.head + coder.size() > self.limit:
            coder.back()
            state.back()
            return False
        self.steps += 1
        return True

    def _code(self, values: "tuple[int | None, ...]") -> None:
        state, coder = self.state, self.coder
        gone = 0
        for c in range(len(values)):
            if values[c] is None:
                gone |= 1 << c
        coder.step(gone, len(values))
        for c in range(len(values)):
            v = values[c]
            if v is None:
                state.skip(c)
            else:
                state.value(c, coder, quantize(v, self.modes[c][0]) if self.modes else v)
        coder.end()

    def size_bytes(self) -> int:
        """At most this many bytes would `finish` return now."""
        size: int = self.head + self.coder.size()
        return size

    def checkpoint(self, node: int, period_ms: int) -> "Checkpoint":
        """The state after the last step, for packets of `node` to start from once it is acknowledged."""
        from qres.checkpoint import Checkpoint, pack

        modes = [(eps, 1 if threshold else 0) for eps, threshold in self.modes]
        packed = pack(self.state, self.coder, self.index + self.steps, period_code(period_ms), modes)
        return Checkpoint(node, packed)

    def finish(self, period_ms: int, regime: int, kept: bool = False) -> bytes:
        """The packet: header, then the code; nothing can follow.  `kept`: the sender keeps its `checkpoint`."""
        flags = regime << 4 | (KEPT if kept else 0)
        return bytes(self._header(flags, period_code(period_ms)) + self.coder.finish())

    def _header(self, flags: int, period: int) -> bytearray:
        state = CHECKPOINT if self.point else SWARM if self.base else COLD
        told = bool(self.modes) and not self.point
        out = bytearray([state | self.coder.ID << 2 | flags | (MODES if told else 0), self.steps])
        if self.point:
            put_varint(out, zigzag(self.index - self.point.next_index))
            out += self.point.name
        else:
            if self.base is None:
                out.append(self.state.channels)
            put_varint(out, self.index)
            out.append(period & 255)
            out.append(period >> 8)
            if isinstance(self.base, Model):
                out += self.base.hash
        if told:
            from qres.checkpoint import put_modes

            put_modes(out, self.modes)
        return out

    def dump(self, out: "Writer") -> None:
        """Write what is in the packet so far to a snapshot."""
        out.uint(self.index)
        out.uint(self.steps)
        if self.steps:
            self.coder.dump(out)
            self.state.dump(out)

    def load(self, data: "Reader") -> None:
        """Read it from a snapshot, of the same base; ValueError when it is of another configuration."""
        self.index = data.uint()
        self.steps = data.uint()
        self.head = len(self._header(0, 0))
        if self.steps:
            self.coder.load(data)
            self.state.load(data)
