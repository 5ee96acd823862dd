"""This project's packets: every coder, from nothing, from a model that the swarm learned, and from a checkpoint.

The model of a board is the median of what the other boards of its kind learned in earlier time; a board without such
others starts from what it learned itself in earlier time.  A checkpoint is the state after the last packet: boards code
anew what they have begun when its acknowledgement comes.  The first packet starts from the model.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from qres.encoder import CODERS
from qres.model import Model

from qres_host.bench.coder import Ints
from qres_host.bench.packets import Board, Packer, Sent
from qres_host.packets import STARTS, decode_stream, encode_stream, learn

COLD, SWARM, CHECKPOINT = STARTS
_NAME_BYTES = 4  # of a model or a checkpoint
_PERIOD_BYTES = 2


def swarm_model(board: Board) -> Model:
    """The model that the board's packets start from."""
    lessons = [learn(x) for x in board.others or (board.earlier,)]
    agreed = [int(statistics.median(column)) for column in zip(*(one.values for one in lessons), strict=True)]
    return Model(board.x.shape[1], lessons[0].order, agreed)


def _head_bytes(packet: bytes) -> int:
    """Header of a packet: state, steps, channels if cold, the index or how far from the checkpoint it is, names."""
    state = packet[0] & 3
    at = 2 if state else 3
    while packet[at] > 127:
        at += 1
    return at + 1 + (_PERIOD_BYTES, _PERIOD_BYTES + _NAME_BYTES, _NAME_BYTES)[state]


def _packer(coder: str, state: str) -> Packer:
    def pack(board: Board) -> Iterator[Sent]:
        x: Ints = board.x
        model = None if state == COLD else swarm_model(board)
        packets = encode_stream(x, coder, state, model)
        if not (decode_stream(packets, model) == x).all():
            raise ValueError("what was decoded differs from the input")
        for packet in packets:
            head = _head_bytes(packet)
            yield Sent(packet[1], len(packet) - head, head)

    return Packer(f"qres {coder}", state, pack)


def packers() -> list[Packer]:
    """Every coder from every start."""
    return [_packer(coder, state) for state in STARTS for coder in CODERS]
