"""Whole streams as packets of the radio, without boards: what each start (nothing, swarm's model, checkpoint) costs.

`encode_stream` cuts columns of integers into packets as a board does, `decode_stream` rebuilds them, and `learn` is
the model that a swarm would give to others from these columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qres import codec
from qres.encoder import CODERS, Encoder
from qres.fixed import log2_q12
from qres.model import CHANNELS_MAX, Model
from qres.packet import PAYLOAD_MAX
from qres.predict.linear import Linear

STARTS = ("cold", "swarm", "checkpoint")
ORDER = 4
PERIOD_MS = 60_000
_RATE = 41  # of learning, Q10: the boards' default
_SETTLED = 200  # values after which what is learned counts
_NODE = 1


def learn(columns: NDArray[np.int32], order: int = ORDER) -> Model:
    """Return weights and scales as boards learn them: the mean of the local predictor's over a recording."""
    values: list[int] = []
    for column in np.asarray(columns, np.int32).T.tolist():
        predictor, total, error, count = Linear(1, order, _RATE), [0] * order, 0, 0
        for row, value in enumerate(column):
            if row >= _SETTLED or row >= len(column) // 2:
                error += abs(value - predictor.predict()[0])
                total = [a + b for a, b in zip(total, predictor.weights(), strict=True)]
                count += 1
            predictor.update((value,))
        values += [each // max(count, 1) for each in total]
        values.append(log2_q12(max(error // max(count, 1), 1)))
    return Model(columns.shape[1], order, values)


def encode_stream(
    columns: NDArray[np.int32],
    coder: str = "cm",
    start: str = "checkpoint",
    model: Model | None = None,
    acknowledged_after: int = 0,
    limit: int = PAYLOAD_MAX,
) -> list[bytes]:
    """Return the packets, of at most `limit` bytes each, of `columns` (rows, channels).

    `coder` is one of qres.encoder.CODERS, `start` one of STARTS: "swarm" needs a `model`; "checkpoint" starts each
    packet from the state `acknowledged_after` packets before the last one, and from `model`, or nothing, until there
    is such a one. Raises ValueError for other arguments.
    """
    rows = np.asarray(columns, np.int32)
    if start not in STARTS or coder not in CODERS or (start == "swarm" and model is None):
        raise ValueError("no such coder or start, or no model")
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= CHANNELS_MAX:
        raise ValueError(f"a packet holds 1 to {CHANNELS_MAX} channels")
    packets: list[bytes] = []
    points: list[codec.Checkpoint] = []
    base: codec.Checkpoint | Model | None = None if start == "cold" else model
    packet = Encoder(rows.shape[1], CODERS.index(coder), limit, base)
    for index, row in enumerate(map(tuple, rows.tolist())):
        if packet.add(index, row):
            continue
        if start == "checkpoint":
            points.append(packet.checkpoint(_NODE, PERIOD_MS))
            base = points[-1 - acknowledged_after] if len(points) > acknowledged_after else model
        packets.append(packet.finish(PERIOD_MS, 0, start == "checkpoint"))
        packet = Encoder(rows.shape[1], CODERS.index(coder), limit, base)
        packet.add(index, row)
    if packet.steps:
        packets.append(packet.finish(PERIOD_MS, 0, start == "checkpoint"))
    return packets


def decode_stream(packets: Sequence[bytes], model: Model | None = None) -> NDArray[np.int32]:
    """Return the columns of `encode_stream`. Raises CodecError for other bytes."""
    models = {model.hash: model} if model is not None else {}
    points: dict[bytes, codec.Checkpoint] = {}
    rows: list[tuple[int | None, ...]] = []
    for data in packets:
        block = codec.decode(data, models, points, _NODE)
        rows += block.steps
        if block.after is not None:
            points[block.after.name] = block.after
    if any(len(row) != len(rows[0]) or None in row for row in rows):
        raise codec.CodecError("not one stream without gaps")
    return np.array(rows, np.int32).reshape(len(rows), -1)
