"""Decodes what `qres.encoder` packs: any bytes become a Block or raise CodecError.  Layout: docs/wire.md."""

from qres.encoder import (
    CODES,
    COLD,
    ESCAPE,
    HUFFMAN,
    LENGTH_BITS,
    LENGTHS,
    QUOTIENT_MAX,
    RICE,
    SWARM,
    Channel,
    Encoder,
)
from qres.fixed import MAX32, MIN32
from qres.model import CHANNELS_MAX, Model

__all__ = ["COLD", "HUFFMAN", "RICE", "SWARM", "Block", "CodecError", "Encoder", "MissingModel", "decode"]


class CodecError(ValueError):
    """Bytes that are no packet."""


class MissingModel(CodecError):
    """The packet starts from a model that the reader does not hold; `model_hash` names it."""

    def __init__(self, model_hash: bytes) -> None:
        """`model_hash`: four bytes."""
        super().__init__("unknown model")
        self.model_hash = model_hash


class BitReader:
    """Reads bits from bytes[at:]."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Start at byte `at`."""
        self.data = data
        self.at = at * 8
        self.end = len(data) * 8

    def get(self, count: int) -> int:
        """The next `count` bits as an int; CodecError past the end."""
        if count > self.end - self.at:
            raise CodecError("truncated")
        value = 0
        while count > 0:
            left = 8 - (self.at & 7)
            take = count if count < left else left
            byte = self.data[self.at >> 3] >> (left - take)
            value = value << take | byte & ((1 << take) - 1)
            self.at += take
            count -= take
        return value


def _decode(channel: Channel, coder: int, bits: BitReader, predicted: int) -> int:
    """The value that _codes wrote."""
    if channel.count == 0:
        return _unzigzag(bits.get(bits.get(LENGTH_BITS)))
    if coder == RICE:
        q = 0
        while q < QUOTIENT_MAX and bits.get(1):
            q += 1
        if q < QUOTIENT_MAX:
            k = channel.rice_parameter()
            return predicted + _unzigzag(q << k | bits.get(k))
        return predicted + _unzigzag(bits.get(bits.get(LENGTH_BITS)))
    code = 0
    n = 0
    symbol = -1
    while symbol < 0:
        code = code << 1 | bits.get(1)
        n += 1
        for i in range(len(LENGTHS)):
            if LENGTHS[i] == n and CODES[i] == code:
                symbol = i
    if symbol == ESCAPE:
        size = bits.get(LENGTH_BITS)
    else:
        size = channel.expected_class() + ((symbol + 1) >> 1 if symbol & 1 else -(symbol >> 1))
    if not 0 <= size <= 33:
        raise CodecError("residual too large")
    raw = bits.get(size)
    return predicted + (raw if not size or raw >> (size - 1) else raw - (1 << size) + 1)


def _unzigzag(value: int) -> int:
    return -((value + 1) >> 1) if value & 1 else value >> 1


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
    if (
        state > SWARM
        or coder > HUFFMAN
        or head >> 4 > 2
        or not 1 <= channels <= CHANNELS_MAX
        or not steps
        or not code
        or at > 12
    ):
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
    block = Block(
        head >> 4,
        channels,
        index,
        code if code < 32768 else (code - 32768) * 1000,
        model.hash if model else None,
    )
    _read_steps(block, steps, coder, [Channel(model, c) for c in range(channels)], BitReader(payload, at))
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
