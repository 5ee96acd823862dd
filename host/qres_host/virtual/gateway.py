"""A host at the sentinel's serial line in virtual time: it acknowledges packets, the same in every run of a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from qres_host.acknowledge import Acknowledger
from qres_host.virtual.board import Board

ANSWER_US = 20_000  # from a frame on the serial line to the host's answer


class _Time(Protocol):
    now_us: int

    def at(self, instant_us: int, station: int, call: Callable[[], None]) -> None: ...


class VirtualHost:
    """Reads what the sentinel writes, and types what a host would."""

    def __init__(self, swarm_key: bytes | None) -> None:
        """`swarm_key`: 32 bytes; None: nobody is there."""
        self._acknowledger = Acknowledger(swarm_key) if swarm_key is not None else None

    def heard(self, time: _Time, board: Board, said: bytes) -> None:
        """Take what a board wrote; only the sentinel's is answered, a little later."""
        if self._acknowledger is not None and (board.spec.config or {}).get("role") == "sentinel":
            answer = self._acknowledger.feed(said)
            if answer:
                time.at(time.now_us + ANSWER_US, board.index, lambda: board.typed(answer))
