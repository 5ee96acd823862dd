"""When to wake: a shared clock, a schedule whose slots nest so that sleepers meet, and a bounded queue.

Swarm time is unix milliseconds.  ESP-NOW has no target wake time; this schedule of deep-sleep timers stands for it.
"""

from qres.compat import const

_PPB_MAX = const(10000000)  # a drift beyond 1 % is no drift
_JUMP_MS = const(60000)  # an error beyond this and a tenth of the time since is a jump: nothing is learned from it
JUMPED = const(2)
_BASELINE_MS = const(60000)  # least distance of two readings that tell a drift
UNSYNCED = const(15)  # stratum of a clock that nobody set


class Clock:
    """Swarm time from the board's own clock: offset and rate, learned from the frames that carry time."""

    STATE = "i:local_ms i:swarm_ms i:rate_ppb u:stratum u:error_ms"

    def __init__(self) -> None:
        """Not synchronised."""
        self.local_ms = 0  # the last reading: own clock and ...
        self.swarm_ms = 0  # ... swarm time then
        self.rate_ppb = 0  # how much faster swarm time runs than the own clock
        self.stratum = UNSYNCED  # 0 the reference, 1 heard from it, and so on
        self.error_ms = 0  # how far off the last reading found us

    def swarm(self, local_ms: int) -> int:
        """Swarm time at `local_ms`."""
        d = local_ms - self.local_ms
        return self.swarm_ms + d + d * self.rate_ppb // 1000000000

    def local(self, swarm_ms: int) -> int:
        """Own clock's time when swarm time reaches `swarm_ms` (never too early)."""
        d = swarm_ms - self.swarm_ms
        t = self.local_ms + d - d * self.rate_ppb // 1000000000
        while True:
            left = swarm_ms - self.swarm(t)
            if left <= 0:
                return t
            t += left

    def reference(self, local_ms: int) -> None:
        """Declare the own clock to be swarm time."""
        self.set(local_ms, local_ms, 0)

    def set(self, local_ms: int, swarm_ms: int, stratum: int) -> None:
        """Take a reading without learning from it."""
        self.local_ms = local_ms
        self.swarm_ms = swarm_ms
        self.stratum = stratum

    def hear(self, local_ms: int, swarm_ms: int, stratum: int) -> int:
        """A peer of `stratum` says that it is `swarm_ms`: 1 when the reading was taken, JUMPED when time leapt, else 0.

        Only a peer nearer to the reference counts.  Far enough from the last reading, the error teaches the drift.
        """
        if (stratum >= self.stratum and self.stratum != UNSYNCED) or stratum >= UNSYNCED - 1:
            return 0
        if self.stratum != UNSYNCED:
            elapsed = local_ms - self.local_ms
            error = swarm_ms - self.swarm(local_ms)
            if abs(error) > _JUMP_MS + elapsed // 10:
                self.rate_ppb = self.error_ms = 0
                self.set(local_ms, swarm_ms, stratum + 1)
                return JUMPED
            self.error_ms = abs(error)
            if elapsed >= _BASELINE_MS:
                step = error * 1000000000 // elapsed
                self.rate_ppb = min(max(self.rate_ppb + step, -_PPB_MAX), _PPB_MAX)
        self.set(local_ms, swarm_ms, stratum + 1)
        return 1

    def guard_ms(self, interval_ms: int, floor_ms: int) -> int:
        """How early to wake after sleeping `interval_ms`: the last error and what 50 ppm more would make of it."""
        return floor_ms + min(2 * self.error_ms + interval_ms // 20000, 60000)


def interval_ms(base_ms: int, reputation: int, rendezvous: bool) -> int:
    """base x (0.5 + 0.5 x reputation), seed section 6; reputation Q16.16.

    With `rendezvous` it is rounded to base >> k, so that slots of different reputations nest.
    """
    exact = base_ms * (65536 + reputation) >> 17
    if not rendezvous:
        return exact
    return base_ms if exact * 4 >= base_ms * 3 else base_ms >> 1


def next_slot_ms(swarm_ms: int, interval: int) -> int:
    """The next multiple of `interval` after `swarm_ms`: a common grid."""
    return (swarm_ms // interval + 1) * interval


# Items of the agenda.
SAMPLE = const(0)  # read the sensors
OPEN = const(1)  # begin a radio window
SPEAK = const(2)  # send what there is to say, in the own slot
CLOSE = const(3)  # aggregate the updates heard
ANNOUNCE = const(4)  # say which model came out
END = const(5)  # close the radio window
JOIN = const(6)  # ask for the swarm's model and time
BEACON = const(7)  # tell the time, and which model is in force
RELAY = const(8)  # send on what others said


class Agenda:
    """Everything that will happen: (swarm time, item), earliest first."""

    STATE = "t:items"

    def __init__(self) -> None:
        """Empty."""
        self.items: list[tuple[int, int]] = []

    def at(self, swarm_ms: int, item: int) -> None:
        """Enter an item."""
        self.items = sorted(self.items + [(swarm_ms, item)])

    def at_once(self, swarm_ms: int, item: int) -> None:
        """Enter an item unless it stands there already."""
        if not [i for _, i in self.items if i == item]:
            self.at(swarm_ms, item)

    def drop(self, item: int) -> None:
        """Strike an item out, wherever it stands."""
        self.items = [entry for entry in self.items if entry[1] != item]

    def due(self, swarm_ms: int) -> bool:
        """Whether the first item's time has come."""
        return bool(self.items) and self.items[0][0] <= swarm_ms


class Queue:
    """Frames that wait for the radio: at most `limit`, the oldest go first and are counted."""

    STATE = "u:dropped q:items"

    def __init__(self, limit: int) -> None:
        """Empty."""
        self.limit = limit
        self.items: list[tuple[int, bytes]] = []  # (kind, payload)
        self.dropped = 0

    def put(self, kind: int, payload: bytes) -> None:
        """Append; drops the oldest when full."""
        self.items.append((kind, payload))
        while len(self.items) > self.limit:
            self.items.pop(0)
            self.dropped += 1

    def take(self) -> "list[tuple[int, bytes]]":
        """Everything, oldest first; the queue is empty then."""
        items = self.items
        self.items = []
        return items

    def shrink(self, limit_bytes: int) -> None:
        """Drop the oldest until all payloads fit `limit_bytes`, two bytes of overhead each."""
        size = sum([len(p) + 3 for _, p in self.items])
        while size > limit_bytes:
            size -= len(self.items.pop(0)[1]) + 3
            self.dropped += 1
