"""This project's packets: every coder, from nothing and from a model that the swarm learned.

The model of a board is the median of what the other boards of its kind learned in earlier time; a board without such
others starts from what it learned itself in earlier time.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from qres.codec import decode
from qres.config import DEFAULTS
from qres.encoder import CODERS, Encoder
from qres.fixed import log2_q12
from qres.model import Model
from qres.packet import PAYLOAD_MAX
from qres.predict import make

from qres_host.bench.coder import Ints
from qres_host.bench.packets import PERIOD_MS, Board, Packer, Sent, varint_bytes

COLD, SWARM = "cold", "swarm"


def lesson(x: Ints, order: int) -> list[int]:
    """What a board learns from `x`: weights and residual scale of each channel, as a Model takes them."""
    values: list[int] = []
    for column in x.T.tolist():
        predictor = make(DEFAULTS["predictor"], order, DEFAULTS["rate"])
        total = 0
        for i, value in enumerate(column):
            if 2 * i >= len(column):
                total += abs(value - predictor.predict())
            predictor.update(value)
        mean_q4 = (total << 4) // max(len(column) - len(column) // 2, 1)
        values += [*predictor.weights(), max(log2_q12(mean_q4) - 4 * 4096, 0) if mean_q4 else 0]
    return values


def swarm_model(board: Board) -> Model:
    """The model that the board's packets start from."""
    order = DEFAULTS["order"]
    lessons = [lesson(x, order) for x in board.others or (board.earlier,)]
    agreed = [int(statistics.median(column)) for column in zip(*lessons, strict=True)]
    return Model(board.x.shape[1], order, agreed)


def _packer(coder: int, state: str) -> Packer:
    def pack(board: Board) -> Iterator[Sent]:
        model = swarm_model(board) if state == SWARM else None
        models = {model.hash: model} if model else {}
        rows: list[tuple[int | None, ...]] = [tuple(row) for row in board.x.tolist()]
        at = 0
        while at < len(rows):
            encoder = Encoder(board.x.shape[1], coder, PAYLOAD_MAX, model)
            steps = 0
            while at + steps < len(rows) and encoder.add(board.first + at + steps, rows[at + steps]):
                steps += 1
            payload = encoder.finish(PERIOD_MS, 0)
            if decode(payload, models).steps != rows[at : at + steps]:
                raise ValueError("what was decoded differs from the input")
            head = 5 + varint_bytes(board.first + at) + (4 if model else 0)
            yield Sent(steps, len(payload) - head, head)
            at += steps

    return Packer(f"qres {CODERS[coder]}", state, pack)


def packers() -> list[Packer]:
    """Every coder in every state."""
    return [_packer(coder, state) for state in (COLD, SWARM) for coder in range(len(CODERS))]
