"""Decodes what `qres.encoder` packs: any bytes become a Block or raise CodecError.  Layout: docs/wire.md."""

from qres.bits import BitsError
from qres.checkpoint import Checkpoint, StateError, get_modes, get_varint, pack, resume
from qres.compat import const
from qres.encoder import (
    CHECKPOINT,
    CM,
    COLD,
    HUFFMAN,
    KEPT,
    MODES,
    RICE,
    SWARM,
    Encoder,
    coder_class,
)
from qres.fixed import MAX32, MIN32
from qres.model import CHANNELS_MAX, Model
from qres.state import COLD_ORDER, State, unzigzag

if False:
    from typing import Any

__all__ = [
    "CHECKPOINT",
    "CM",
    "COLD",
    "HUFFMAN",
    "RICE",
    "SWARM",
    "Block",
    "Checkpoint",
    "CodecError",
    "Encoder",
    "MissingModel",
    "decode",
]
_INDEX_MAX = const(1 << 48)


class CodecError(ValueError):
    """Bytes that are no packet."""


class MissingModel(CodecError):
    """The packet starts from a model or a checkpoint that the reader does not hold; `model_hash` names it."""

    def __init__(self, model_hash: bytes, checkpoint: bool = False) -> None:
        """`model_hash`: four bytes; `checkpoint`: of a checkpoint."""
        super().__init__("unknown checkpoint" if checkpoint else "unknown model")
        self.model_hash = model_hash
        self.checkpoint = checkpoint


class Block:
    """A decoded packet: steps number `index` and following, `period_ms` apart in swarm time."""

    def __init__(self, state: int, coder: int, regime: int, count: int) -> None:
        """Empty `steps` and `residuals`: lists of tuples, None where a value is missing."""
        self.state = state
        self.coder = coder
        self.regime = regime
        self.count = count  # of steps
        self.kept = False  # the sender waits for an acknowledgement of `after`
        self.channels = 0
        self.index = 0
        self.period_ms = 0
        self.model_hash: bytes | None = None  # of the model that it starts from
        self.modes: list[tuple[int, int]] = []  # (largest error, whether it may be silent) of each channel; none: exact
        self.steps: list[tuple[int | None, ...]] = []
        self.residuals: list[tuple[int | None, ...]] = []
        self.base: Checkpoint | None = None  # the checkpoint that it starts from
        self.after: Checkpoint | None = None  # the one that it ends in


def decode(
    payload: bytes, models: "dict[bytes, Model]", points: "dict[bytes, Checkpoint] | None" = None, node: int = 0
) -> Block:
    """Decode one packet of `node`; `models` and `points` map names of four bytes to models and to its checkpoints.

    Raises MissingModel when the packet starts from another one, CodecError for bytes that are no packet.
    """
    try:
        return _decode(payload, models, points or {}, node)
    except (BitsError, StateError, IndexError) as error:
        raise CodecError(str(error))


def _decode(payload: bytes, models: "dict[bytes, Model]", points: "dict[bytes, Checkpoint]", node: int) -> Block:
    head = payload[0]
    block = Block(head & 3, head >> 2 & 3, head >> 4 & 3, payload[1])
    if block.state > CHECKPOINT or block.coder > CM or block.regime > 2 or not block.count:
        raise CodecError("bad header")
    block.kept = bool(head & KEPT)
    model: Model | None = None
    point: Checkpoint | None = None
    if block.state == CHECKPOINT:
        point, at = _point(block, payload, points)
    else:
        model, at = _start(block, payload, models)
        if head & MODES:
            block.modes, at = get_modes(payload, at, block.channels)
            head -= MODES
    if head & MODES or not 0 <= block.index < _INDEX_MAX:
        raise CodecError("bad header")
    kind = coder_class(block.coder)
    coder = kind(block.channels, 0, payload[at:])
    state = State(block.channels, model.order if model else point.order if point else COLD_ORDER, kind)
    state.silent = [silent for _, silent in block.modes]
    if model:
        state.start(model)
    elif point:
        resume(state, coder, point, abs(block.index - point.next_index))
    _read_steps(block, state, coder)
    code = block.period_ms if block.period_ms < 32768 else 32768 + block.period_ms // 1000
    packed = pack(state, coder, block.index + block.count, code, block.modes)
    block.after = Checkpoint(node, packed)
    return block


def _start(block: Block, payload: bytes, models: "dict[bytes, Model]") -> "tuple[Model | None, int]":
    """Read the rest of a header without a checkpoint: (model, where it ends)."""
    at = 2
    if block.state == COLD:
        block.channels = payload[2]
        at = 3
    block.index, at = get_varint(payload, at)
    code = payload[at] | payload[at + 1] << 8
    at += 2
    block.period_ms = code if code < 32768 else (code - 32768) * 1000
    model = None
    if block.state == SWARM:
        block.model_hash = bytes(payload[at : at + 4])
        model = models.get(block.model_hash)
        at += 4
        if model is None:
            raise CodecError("truncated") if at > len(payload) else MissingModel(block.model_hash)
        block.channels = model.channels
    if not block.period_ms or not 1 <= block.channels <= CHANNELS_MAX:
        raise CodecError("bad header")
    return model, at


def _point(block: Block, payload: bytes, points: "dict[bytes, Checkpoint]") -> "tuple[Checkpoint, int]":
    """Read the rest of a header that names a checkpoint: (the checkpoint, where it ends)."""
    away, at = get_varint(payload, 2)
    name = bytes(payload[at : at + 4])
    if len(name) < 4:
        raise CodecError("truncated")
    point = points.get(name)
    if point is None:
        raise MissingModel(name, True)
    code = point.period_code
    block.base = point
    block.channels = point.channels
    block.index = point.next_index + unzigzag(away)
    block.period_ms = code if code < 32768 else (code - 32768) * 1000
    block.modes = point.modes
    return point, at + 4


def _read_steps(block: Block, state: State, coder: "Any") -> None:
    """Append every step to `block`; the code must end with the last one."""
    for _ in range(block.count):
        gone = coder.step(0, block.channels)
        row: list[int | None] = []
        errors: list[int | None] = []
        for c in range(block.channels):
            if gone >> c & 1:
                state.skip(c)
                row.append(None)
                errors.append(None)
                continue
            value = state.value(c, coder, 0)
            if not MIN32 <= value <= MAX32:
                raise CodecError("value out of range")
            width = 2 * block.modes[c][0] + 1 if block.modes else 1
            row.append(min(max(value * width, MIN32), MAX32))
            errors.append(state.residual * width)
        coder.end()
        block.steps.append(tuple(row))
        block.residuals.append(tuple(errors))
    if not coder.ended():
        raise CodecError("bytes left over")
