"""Fills lossless packets of samples that decode on their own, sized in bytes; `qres.codec` reads them, on the host.

A packet starts from the swarm's model (named by its hash) or from nothing, and carries one step after the other: for
each channel the residual of the linear prediction, in an adaptive Rice or a canonical Huffman code.  See docs/wire.md.
"""

from array import array

from qres.bits import BitWriter
from qres.compat import bit_length, const
from qres.fixed import exp2_q12, sat32
from qres.kernels import DELTA_MAX, nlms_predict, push
from qres.model import Model

COLD = const(0)  # states: what the packet starts from
SWARM = const(1)
RICE = const(0)  # coders
HUFFMAN = const(1)
CODERS = ("rice", "huffman")

STEPS_MAX = const(255)
QUOTIENT_MAX = const(18)  # longer unary parts are escaped
_RENORM = const(24)  # samples after which the running mean halves: how fast it follows
_PRIOR = const(6)  # how many samples the model's scale counts for
LENGTH_BITS = const(6)  # width of an explicit bit count: 0 to 33
# Code lengths for the distance of a residual's class (its bit count) from the expected one: 0, +1, -1, +2, ..., escape.
LENGTHS = (2, 2, 2, 4, 3, 6, 5, 8, 7, 8)
ESCAPE = const(9)


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


CODES = _canonical(LENGTHS)


class Channel:
    """What both ends know of one channel inside a packet."""

    STATE = "u:count i:last u:n u:total a:d"

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
        """The smallest k with n * 2^k >= the sum of |residual|, as in JPEG-LS (ITU-T T.87); 0 to 32."""
        k = 0
        while self.n << k < self.total and k < 32:
            k += 1
        return k

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
        out.append((n, LENGTH_BITS))
        out.append((z, n))
        return
    if coder == RICE:
        k = channel.rice_parameter()
        q = z >> k
        if q < QUOTIENT_MAX:
            out.append((((1 << q) - 1) << 1, q + 1))
            out.append((z & ((1 << k) - 1), k))
            return
        out.append(((1 << QUOTIENT_MAX) - 1, QUOTIENT_MAX))
        n = bit_length(z)
        out.append((n, LENGTH_BITS))
        out.append((z, n))
        return
    size = bit_length(residual)
    away = size - channel.expected_class()
    symbol = 2 * away - 1 if away > 0 else -2 * away
    if symbol < ESCAPE:
        out.append((CODES[symbol], LENGTHS[symbol]))
    else:
        out.append((CODES[ESCAPE], LENGTHS[ESCAPE]))
        out.append((size, LENGTH_BITS))
    out.append((residual if residual > 0 else residual + (1 << size) - 1, size))


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

    STATE = "u:index u:steps o:bits l:channels"

    def __init__(self, channels: int, coder: int, limit: int, model: "Model | None") -> None:
        """`coder` RICE or HUFFMAN; `model` must have `channels` channels."""
        self.coder = coder
        self.limit = limit
        self.model = model
        self.channels = [Channel(model, c) for c in range(channels)]
        self.index = 0  # of the first step
        self.steps = 0
        self.bits = BitWriter()
        self.head = 12 + (4 if model else 0)  # most bytes of a header: 3 + index 7 + period 2

    def add(self, index: int, values: "tuple[int | None, ...]") -> bool:
        """Append the step number `index`; False, with nothing changed, when it does not fit or does not follow on."""
        if self.steps == STEPS_MAX or (self.steps and index != self.index + self.steps):
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
