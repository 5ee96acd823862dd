"""From bytes of ports to records, to the view and to the store: what a live run and a replay share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

from qres_host.capture import Record
from qres_host.coders import compiled
from qres_host.records import Coded, Event, Found
from qres_host.store import Store
from qres_host.streams import Streams
from qres_host.view import View
from qres_host.wire import Deframer, Run, Text
from qres_host.words import Line, Words, board_build

_COMPILE_AFTER = 256  # packets with samples: then machine code is worth its start
_MOST_BYTES = 1 << 18  # decoded together: more would only take memory
_HEARD = frozenset((Event, Coded))  # of the many records of a chunk the few that `_hear` looks at


def batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield chunks by as many as are best decoded together."""
    batch, size = list[Record](), 0
    try:
        for record in records:
            batch.append(record)
            size += len(record.data)
            if size >= _MOST_BYTES:
                yield batch
                batch, size = [], 0
    except OSError:  # what came before a segment that cannot be read is good
        yield batch
        raise
    if batch:
        yield batch


class Decoder:
    """Decodes the chunks of all ports, in the order in which they came.

    `listen` is called with the records of chunks, `tell` with the lines for people, in the thread that feeds.
    """

    def __init__(
        self,
        swarm_key: bytes,
        view: View | None = None,
        store: Store | None = None,
        listen: Callable[[Sequence[Found]], None] | None = None,
        tell: Callable[[Sequence[Line]], None] | None = None,
    ) -> None:
        self.streams = Streams(swarm_key)
        self.view = view
        self.store = store
        self.words = Words()
        self.names: dict[str, str] = {}  # of the boards by device, where they told
        self.dropped = 0  # chunks that a full queue kept from being decoded
        self._listen = listen
        self._tell = tell
        self._deframers: dict[str, Deframer] = {}
        self._told_dropped = 0
        self._coded = 0  # packets with samples
        self._fast = ExitStack()

    def feed(self, record: Record, wait: bool = False) -> list[Found]:
        """Decode one chunk; returns its records. `wait` blocks when the store is behind, instead of dropping."""
        return self.feed_all([record], wait)

    def feed_all(self, chunks: Sequence[Record], wait: bool = False) -> list[Found]:
        """Decode chunks, each step for all of them; returns their records."""
        lost = self._lost()
        found = self.streams.feed_all([(chunk.arrival_ms, chunk.device, self._deframe(chunk)) for chunk in chunks])
        self._hear(found)
        if self.view is not None:
            self.view.fold(found)
            if self._lost() != lost or self._told_dropped != self._dropped():
                self._told_dropped = self._dropped()
                self.view.set_links(self.counters())
        if self.store is not None:
            self.store.put(found, wait)
        if self._listen is not None:
            self._listen(found)
        return found

    def _deframe(self, chunk: Record) -> Sequence[Run | Text]:
        """Return the frames and lines of a chunk."""
        deframer = self._deframers.get(chunk.device)
        if deframer is None:
            deframer = self._deframers[chunk.device] = Deframer()
        if not chunk.data:  # it marks where the port went away: what that left unfinished never ends
            self.words.restarted(chunk.arrival_ms, chunk.device)
            return deframer.close()
        restarts = deframer.restarts
        items = deframer.runs(chunk.data)
        for _ in range(deframer.restarts - restarts):
            self.words.restarted(chunk.arrival_ms, chunk.device)
        return items

    def close(self) -> None:
        """Nothing more will come."""
        self._fast.close()

    def _lost(self) -> int:
        return sum(deframer.lost for deframer in self._deframers.values())

    def _dropped(self) -> int:
        return self.dropped + (self.store.dropped if self.store is not None else 0)

    def _hear(self, found: Sequence[Found]) -> None:
        """Keep what is for people."""
        if _HEARD.isdisjoint(map(type, found)):
            return
        said: list[Line] = []
        for item in found:
            if isinstance(item, Event):
                if item.kind == "hello":
                    self.names[item.device] = str((item.value or {}).get("name", ""))
                    self.words.builds[item.device] = board_build(item.text)
                said += self.words.take(item)
            elif isinstance(item, Coded):
                self._coded += 1
                if self._coded == _COMPILE_AFTER:
                    self._fast.enter_context(compiled())
        if said and self._tell is not None:
            self._tell(said)

    def counters(self) -> dict[str, int]:
        """Return what was counted: frames, losses and refusals of all ports together."""
        each = list(self._deframers.values())
        return {
            "serial_frames": sum(d.frames for d in each),
            "serial_gaps": sum(d.gaps for d in each),
            "serial_bad": sum(d.bad + d.oversize for d in each),
            "serial_restarts": sum(d.restarts for d in each),
            "accepted": self.streams.accepted,
            "duplicates": self.streams.duplicates,
            "rejected": self.streams.rejected,
            "held": self.streams.held,
            "held_lost": self.streams.held_lost,
            "dropped": self._dropped(),
        }
