"""What a host remembers of one sender of radio frames: which frames came, which samples, which checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from qres.codec import Checkpoint
from qres.detect import Spikes

from qres_host.coverage import Coverage

WINDOW = 1024  # frames behind the newest of a node that may still arrive late, say by another gateway
_SEEN = (1 << WINDOW) - 1
AGAIN = "again"
FIRST_COUNTER = 1  # of a node's session
POINTS_MAX = 8  # checkpoints of a node: its packets start from one of the last two, but may come in another order


class Sender:
    """Frames by session and counter, samples by index, checkpoints by name."""

    def __init__(self) -> None:
        """Nothing heard."""
        self.session = -1
        self.first = 0  # counter from which losses of this session count
        self.top = 0
        self._seen = 0  # bit i: counter top - fresh - i was accepted ...
        self._fresh = 0  # ... and so were the newest, that came one after the other
        self.accepted = 0
        self.lost = 0  # frames known to be missing, by the gaps of the counters ...
        self.lost_before = 0  # ... thereof in earlier sessions
        self.period_ms = 0
        self.coverage = Coverage()
        self.channels = 0
        self.spikes = Spikes(0, 1)
        self.points: OrderedDict[bytes, Checkpoint] = OrderedDict()

    def keep(self, point: Checkpoint) -> None:
        """Remember a checkpoint; the least recently used one goes."""
        self.points[point.name] = point
        self.points.move_to_end(point.name)
        if len(self.points) > POINTS_MAX:
            self.points.popitem(last=False)

    def accept(self, session: int, counter: int) -> str:
        """Return "" when new, AGAIN for a copy, "replay" for what is too old to tell."""
        if session == self.session and counter == self.top + 1:  # the next one, as nearly always: nothing is lost
            self.top = counter
            self._fresh += 1
            self.accepted += 1
            return ""
        if session != self.session:
            if self.session >= 0 and (session - self.session) & 0xFFFF >= 0x8000:
                return "replay"
            # A session counts from 1. Of the first that we hear we may have come too late for the start.
            first = FIRST_COUNTER if self.session >= 0 else counter
            self.lost_before = self.lost
            self.session, self.first, self.top, self.accepted = session, first, counter, 0
            self._seen = self._fresh = 0
        fresh, self._fresh = min(self._fresh, WINDOW), 0
        seen = (self._seen << fresh | (1 << fresh) - 1) & _SEEN
        ahead = counter - self.top
        if ahead > 0:
            seen = seen << ahead & _SEEN if ahead < WINDOW else 0
            self.top, ahead = counter, 0
        self._seen = seen
        if -ahead >= WINDOW:
            return "replay"
        if seen >> -ahead & 1:
            return AGAIN
        self._seen |= 1 << -ahead
        self.first = min(self.first, counter)
        self.accepted += 1
        self.lost = self.lost_before + self.top - self.first + 1 - self.accepted
        return ""

    def accept_run(self, session: int, counter: int, count: int) -> Iterator[tuple[int, str, int]]:
        """Accept frames whose counters follow each other; yield of those judged alike: number, verdict, lost so far."""
        end = counter + count
        while counter < end:
            verdict, alike = self.accept(session, counter), 1
            if not verdict and counter == self.top:  # then each of the others is the next one
                alike = end - counter
                self.top += alike - 1
                self._fresh += alike - 1
                self.accepted += alike - 1
            yield alike, verdict, self.lost
            counter += alike
