"""Lossless packets of samples that decode on their own, sized in bytes.

A packet starts from the swarm's model (named by its hash) or from nothing, and carries one step after the other: for
each channel the residual of the linear prediction, in an adaptive Rice or a canonical Huffman code.  Layout: docs/wire.md.
"""

from array import array

from qres.bits import BitReader, BitsError, BitWriter
from qres.compat import bit_length, const
from qres.fixed import MAX32, MIN32, exp2_q12, sat32
from qres.kernels import DELTA_MAX, nlms_predict, push
from qres.model import CHANNELS_MAX, Model

if False:
    from qres.snapshot import Reader, Writer

COLD = const(0)  # states: what the packet starts from
SWARM = const(1)
RICE = const(0)  # coders
HUFFMAN = const(1)
CODERS = ("rice", "huffman")

_STEPS_MAX = const(255)
_QUOTIENT_MAX = const(18)  # longer unary parts are escaped
_RENORM = const(24)  # samples after which the running mean halves: how fast it follows
_PRIOR = const(6)  # how many samples the model's scale counts for
_LENGTH_BITS = const(6)  # width of an explicit bit count: 0 to 33
# Code lengths for the distance of a residual's class (its bit count) from the expected one, in the order 0, +1, -1, +2, -2, ..., escape.
_LENGTHS = (2, 2, 2, 4, 3, 6, 5, 8, 7, 8)
_ESCAPE = const(9)


class CodecError(ValueError):
    """Bytes that are no packet."""


class MissingModel(CodecError):
    """The packet starts from a model that the reader does not hold; `model_hash` names it."""

    def __init__(self, model_hash: bytes) -> None:
        """`model_hash`: four bytes."""
        super().__init__("unknown model")
        self.model_hash = model_hash


def _canonical(lengths: "tuple[int, ...]") -> list[int]:
    """Codes of a canonical prefix code with these lengths (RFC 1951, 3.2.2)."""
    codes = [0] * len(lengths)
    code = 0
    for n in range(1, max(lengths) + 1):
        for symbol in range(len(lengths)):
            if lengths[symbol] == n:
                codes[symbol] = code
                code += 1
        code <<= 1
    return codes


_CODES = _canonical(_LENGTHS)


class Channel:
    """What both ends know of one channel inside a packet."""

    def __init__(self, model: "Model | None", index: int) -> None:
        """Start from channel `index` of `model`, or from nothing."""
        order = model.order if model else 1
        self.w = array("i", model.weights(index) if model else [0])
        self.d = array("i", [0] * order)
        self.count = 0  # values seen, at most order + 1
        self.last = 0
        self.n = _PRIOR if model else 1
        self.total = exp2_q12(model.scale_q12(index)) * _PRIOR if model else 0

    def predict(self) -> int:
        """Predicted value, int32."""
        if self.count < 2:
            return self.last
        return sat32(self.last + nlms_predict(self.w, 0, self.d, self.count - 1))

    def learn(self, value: int, residual: int) -> None:
        """Take the value that was coded."""
        if self.count:
            delta = value - self.last
            push(self.d, len(self.d), min(max(delta, -DELTA_MAX), DELTA_MAX))
            self.total += residual if residual >= 0 else -residual
            self.n += 1
            if self.n >= _RENORM:
                self.n >>= 1
                self.total >>= 1
        if self.count <= len(self.d):
            self.count += 1
        self.last = value

    def rice_parameter(self) -> int:
        """k with n * 2^k nearest above the sum of zigzagged residuals, as in JPEG-LS (ITU-T T.87), 0 to 32."""
        k = 0
        while self.n << k < 2 * self.total and k < 32:
            k += 1
        return k - 1 if k > 1 else k if self.total else 0

    def expected_class(self) -> int:
        """Bit count of the mean |residual|."""
        return bit_length((self.total + (self.n >> 1)) // self.n)


def _zigzag(value: int) -> int:
    return -2 * value - 1 if value < 0 else 2 * value


def _codes(channel: Channel, coder: int, value: int, residual: int, out: "list[tuple[int, int]]") -> None:
    """Append the (bits, count) pairs of one value to `out`."""
    z = _zigzag(value if channel.count == 0 else residual)
    if channel.count == 0:
        n = bit_length(z)
        out.append((n, _LENGTH_BITS))
        out.append((z, n))
        return
    if coder == RICE:
        k = channel.rice_parameter()
        q = z >> k
        if q < _QUOTIENT_MAX:
            out.append((((1 << q) - 1) << 1, q + 1))
            out.append((z & ((1 << k) - 1), k))
            return
        out.append(((1 << _QUOTIENT_MAX) - 1, _QUOTIENT_MAX))
        n = bit_length(z)
        out.append((n, _LENGTH_BITS))
        out.append((z, n))
        return
    size = bit_length(residual)
    away = size - channel.expected_class()
    symbol = 2 * away - 1 if away > 0 else -2 * away
    if symbol < _ESCAPE:
        out.append((_CODES[symbol], _LENGTHS[symbol]))
    else:
        out.append((_CODES[_ESCAPE], _LENGTHS[_ESCAPE]))
        out.append((size, _LENGTH_BITS))
    out.append((residual if residual > 0 else residual + (1 << size) - 1, size))


def _decode(channel: Channel, coder: int, bits: BitReader, predicted: int) -> int:
    """The value that _codes wrote."""
    if channel.count == 0:
        return _unzigzag(bits.get(bits.get(_LENGTH_BITS)))
    if coder == RICE:
        q = 0
        while q < _QUOTIENT_MAX and bits.get(1):
            q += 1
        if q < _QUOTIENT_MAX:
            k = channel.rice_parameter()
            return predicted + _unzigzag(q << k | bits.get(k))
        return predicted + _unzigzag(bits.get(bits.get(_LENGTH_BITS)))
    code = 0
    n = 0
    symbol = -1
    while symbol < 0:
        code = code << 1 | bits.get(1)
        n += 1
        for i in range(len(_LENGTHS)):
            if _LENGTHS[i] == n and _CODES[i] == code:
                symbol = i
    if symbol == _ESCAPE:
        size = bits.get(_LENGTH_BITS)
    else:
        size = channel.expected_class() + ((symbol + 1) >> 1 if symbol & 1 else -(symbol >> 1))
    if not 0 <= size <= 33:
        raise CodecError("residual too large")
    raw = bits.get(size)
    return predicted + (raw if not size or raw >> (size - 1) else raw - (1 << size) + 1)


def _unzigzag(value: int) -> int:
    return -((value + 1) >> 1) if value & 1 else value >> 1


def _put_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append((value & 127) | 128)
        value >>= 7
    out.append(value)


def period_code(period_ms: int) -> int:
    """The sampling period as u16: milliseconds up to 32,767, else seconds + 32,768."""
    return period_ms if period_ms < 32768 else 32768 + min(period_ms // 1000, 32767)


class Encoder:
    """Fills one packet, step by step; `limit` is the most bytes that `finish` may return."""

    def __init__(self, channels: int, coder: int, limit: int, model: "Model | None") -> None:
        """`coder` RICE or HUFFMAN; `model` must have `channels` channels."""
        self.coder = coder
        self.limit = limit
        self.model = model
        self.channels = [Channel(model, c) for c in range(channels)]
        self.index = 0  # of the first step
        self.steps = 0
        self.bits = BitWriter()
        self.head = 10 + (4 if model else 0)  # most bytes of a header: 3 + index 5 + period 2

    def add(self, index: int, values: "tuple[int | None, ...]") -> bool:
        """Append the step number `index`; False, with nothing changed, when it does not fit or does not follow on."""
        if self.steps == _STEPS_MAX or (self.steps and index != self.index + self.steps):
            return False
        codes = [(0, 1)]
        if None in values:
            codes = [(1, 1)]
            for v in values:
                codes.append((0 if v is None else 1, 1))
        residuals = []
        for c in range(len(self.channels)):
            v = values[c]
            channel = self.channels[c]
            residual = 0 if v is None else v - channel.predict()
            residuals.append(residual)
            if v is not None:
                _codes(channel, self.coder, v, residual, codes)
        size = self.bits.bits
        for _, n in codes:
            size += n
        if self.head + ((size + 7) >> 3) > self.limit:
            return False
        if self.steps == 0:
            self.index = index
        for v, n in codes:
            self.bits.put(v, n)
        for c in range(len(self.channels)):
            v = values[c]
            if v is not None:
                self.channels[c].learn(v, residuals[c])
        self.steps += 1
        return True

    def size_bytes(self) -> int:
        """At most this many bytes would `finish` return now."""
        return self.head + len(self.bits.data)

    def finish(self, period_ms: int, regime: int) -> bytes:
        """The packet: header, then bits."""
        state = SWARM if self.model else COLD
        out = bytearray([state | self.coder << 2 | regime << 4, len(self.channels), self.steps])
        _put_varint(out, self.index)
        code = period_code(period_ms)
        out.append(code & 255)
        out.append(code >> 8)
        if self.model:
            out += self.model.hash
        return bytes(out + self.bits.data)

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot; the first value says whether there is a model."""
        out.uint(1 if self.model else 0)
        out.uint(self.index)
        out.uint(self.steps)
        out.uint(self.bits.bits)
        out.blob(self.bits.data)
        for c in self.channels:
            out.uint(c.count)
            out.sint(c.last)
            out.uint(c.n)
            out.uint(c.total)
            out.sints(c.d)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot, after the first value, into a fresh encoder of the same model."""
        self.index = data.uint()
        self.steps = data.below(_STEPS_MAX + 1)
        self.bits.bits = data.below(8 * self.limit + 1)
        self.bits.data = bytearray(data.blob())
        for c in self.channels:
            c.count = data.below(len(c.d) + 2)
            c.last = data.int32()
            c.n = data.below(_RENORM)
            c.total = data.uint()
            data.fill(c.d, DELTA_MAX)
        if len(self.bits.data) != (self.bits.bits + 7) >> 3:
            raise CodecError("bits and bytes differ")


class Block:
    """A decoded packet: steps number `index` and following, `period_ms` apart in swarm time."""

    def __init__(self, regime: int, channels: int, index: int, period_ms: int, model_hash: "bytes | None") -> None:
        """Empty `steps` and `residuals`: lists of tuples, None where a value is missing."""
        self.regime = regime
        self.channels = channels
        self.index = index
        self.period_ms = period_ms
        self.model_hash = model_hash
        self.steps: list[tuple[int | None, ...]] = []
        self.residuals: list[tuple[int | None, ...]] = []


def decode(payload: bytes, models: "dict[bytes, Model]") -> Block:
    """Decode one packet; `models` maps a hash of four bytes to its Model.

    Raises MissingModel when the packet starts from another model, CodecError for bytes that are no packet.
    """
    try:
        head, channels, steps = payload[0], payload[1], payload[2]
        index = 0
        at = 3
        while True:
            index |= (payload[at] & 127) << 7 * (at - 3)
            at += 1
            if payload[at - 1] < 128:
                break
        code = payload[at] | payload[at + 1] << 8
        at += 2
    except IndexError:
        raise CodecError("truncated header")
    state = head & 3
    coder = head >> 2 & 3
    if state > SWARM or coder > HUFFMAN or head >> 4 > 2 or not 1 <= channels <= CHANNELS_MAX or not steps or not code or at > 10:
        raise CodecError("bad header")
    model = None
    if state == SWARM:
        name = bytes(payload[at : at + 4])
        at += 4
        model = models.get(name)
        if model is None:
            raise MissingModel(name)
        if model.channels != channels:
            raise CodecError("model of another shape")
    block = Block(head >> 4, channels, index, code if code < 32768 else (code - 32768) * 1000, model.hash if model else None)
    try:
        _read_steps(block, steps, coder, [Channel(model, c) for c in range(channels)], BitReader(payload, at))
    except BitsError:
        raise CodecError("truncated")
    return block


def _read_steps(block: Block, steps: int, coder: int, states: "list[Channel]", bits: BitReader) -> None:
    """Append every step to `block`; the bits must end with the last one, but for the padding of zeros."""
    for _ in range(steps):
        present = [1] * len(states)
        if bits.get(1):
            present = [bits.get(1) for _ in states]
        row: list[int | None] = []
        errors: list[int | None] = []
        for c in range(len(states)):
            if not present[c]:
                row.append(None)
                errors.append(None)
                continue
            channel = states[c]
            predicted = channel.predict()
            value = _decode(channel, coder, bits, predicted)
            if not MIN32 <= value <= MAX32:
                raise CodecError("value out of range")
            residual = value - predicted
            errors.append(residual if channel.count else 0)
            row.append(value)
            channel.learn(value, residual)
        block.steps.append(tuple(row))
        block.residuals.append(tuple(errors))
    left = bits.end - bits.at
    if left > 7 or bits.get(left):
        raise CodecError("bytes left over")
