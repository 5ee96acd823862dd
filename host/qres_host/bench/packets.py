"""Packets of one radio frame: every coder fills the same payload, and each packet is read alone.

A board's channels follow each other in a packet, all steps that fit. The first 30 % of a recording are earlier time, in
which models are learned; the packets are of what follows. Two sizes: the coded bits alone, first values included, and
the whole radio frame: its head and tag, the header of a packet (the peers get this project's own, without a name of a
state) and the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypedDict

import numpy as np
from qres.model import CHANNELS_MAX
from qres.packet import HEAD, PAYLOAD_MAX, TAG

from qres_host.bench.coder import Ints
from qres_host.bench.process import Ended, apart
from qres_host.bench.streams import Stream

EARLIER_PERCENT = 30
VALUES_MAX = 16384  # of a stream in packets
STEPS_MAX = 255
HEAD_MAX = 12  # bytes kept free for the header of a packet: 3, the index in up to 7, the period in 2
STATELESS = "stateless"
PERIOD_MS = 60_000


class Board(NamedTuple):
    """What one board senses: earlier time (its own and of other boards of its kind), and what it sends."""

    stream: str
    earlier: Ints
    others: tuple[Ints, ...]
    x: Ints
    first: int  # number of the first step of x


class Sent(NamedTuple):
    """One packet: its steps, bytes of code and bytes of its header."""

    steps: int
    code: int
    head: int


class Packer(NamedTuple):
    """A way to fill packets: `pack(board)` yields them, each read back and compared; ValueError when one differs."""

    name: str
    state: str
    pack: Callable[[Board], Iterator[Sent]]


class PacketRow(TypedDict, total=False):
    """One packer on one stream; bits a sample without and with all headers."""

    stream: str
    coder: str
    state: str
    packets: int
    values: int
    code_bits: float
    frame_bits: float
    error: str


class Alone(NamedTuple):
    """A coder of one small matrix: `decode(encode(x), rows, channels)` equals x."""

    encode: Callable[[Ints], bytes]
    decode: Callable[[bytes, int, int], Ints]


def boards(streams: list[Stream]) -> list[Board]:
    """Every stream as boards: one with all channels, or one a channel where they are more than a board can have.

    Other boards of its kind: those channels, or the streams whose name differs in its last part and that have as many
    channels. A board never learns from what others sense at the time of its own packets.
    """
    found = []
    for stream in streams:
        split = len(stream.x) * EARLIER_PERCENT // 100
        stop = split + max(VALUES_MAX // stream.x.shape[1], 1)
        kind = stream.name.rpartition("_")[0]
        twins = [s.x for s in streams if s is not stream and kind and s.name.rpartition("_")[0] == kind]
        twins = [x for x in twins if x.shape[1] == stream.x.shape[1]]
        if stream.x.shape[1] <= CHANNELS_MAX:
            others = tuple(x[: len(x) * EARLIER_PERCENT // 100] for x in twins)
            found.append(Board(stream.name, stream.x[:split], others, stream.x[split:stop], split))
            continue
        for c in range(stream.x.shape[1]):
            rest = tuple(stream.x[:split, [k]] for k in range(stream.x.shape[1]) if k != c)
            found.append(Board(stream.name, stream.x[:split, [c]], rest, stream.x[split:stop, [c]], split))
    return found


def varint_bytes(value: int) -> int:
    """Bytes that `value` >= 0 takes in the header of a packet."""
    return max((value.bit_length() + 6) // 7, 1)


def fill(x: Ints, limit: int, coder: Alone, guess: int) -> tuple[int, bytes]:
    """(steps, code): as many first rows of `x` as one packet holds, found by bisection from `guess`."""
    most = min(STEPS_MAX, len(x))
    known: dict[int, bytes] = {}

    def fits(n: int) -> bool:
        if n not in known:
            known[n] = coder.encode(np.ascontiguousarray(x[:n]))
        return len(known[n]) <= limit

    low, high = 0, most + 1
    for n in (guess - 8, guess + 8):
        if low < n < high:
            low, high = (n, high) if fits(n) else (low, n)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if not low:
        raise ValueError("one step does not fit a packet")
    return low, known[low]


def stateless(name: str, coder: Alone) -> Packer:
    """A peer whose packets know nothing of each other."""

    def pack(board: Board) -> Iterator[Sent]:
        at, steps = 0, 16
        while at < len(board.x):
            steps, data = fill(board.x[at : at + STEPS_MAX], PAYLOAD_MAX - HEAD_MAX, coder, steps)
            part = board.x[at : at + steps]
            if not np.array_equal(coder.decode(data, *part.shape), part):
                raise ValueError("what was decoded differs from the input")
            yield Sent(steps, len(data), 5 + varint_bytes(board.first + at))
            at += steps

    return Packer(name, STATELESS, pack)


def run(packer: Packer, found: list[Board]) -> Iterator[PacketRow]:
    """Yield a row a stream, all of its boards together."""
    names = list(dict.fromkeys(board.stream for board in found))
    done = 0
    try:
        for row in apart(lambda: (_row(packer, name, [b for b in found if b.stream == name]) for name in names)):
            done += 1
            yield row
    except Ended as error:
        for name in names[done:]:
            yield {"stream": name, "coder": packer.name, "state": packer.state, "error": str(error)}


def _row(packer: Packer, name: str, group: list[Board]) -> PacketRow:
    row: PacketRow = {"stream": name, "coder": packer.name, "state": packer.state}
    try:
        sent = [each for board in group for each in packer.pack(board)]
    except Exception as error:  # a peer may fail in any way: that is its result on this stream
        return {**row, "error": f"{type(error).__name__}: {error}"[:200]}
    values = sum(board.x.size for board in group)
    code = sum(each.code for each in sent)
    frames = code + sum(each.head + HEAD + TAG for each in sent)
    return {
        **row,
        "packets": len(sent),
        "values": values,
        "code_bits": 8 * code / values,
        "frame_bits": 8 * frames / values,
    }
