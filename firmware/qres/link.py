"""The authenticated link: seals what a node says and opens what it hears, each frame once."""

from qres.compat import const
from qres.packet import ALERT, COUNTER_MAX, PacketError, node_id, parse, seal, verify
from qres.reputation import Table

_OVERHEARD_MAX = const(0x7FFFFFFF)
_SEEN_MAX = const(32)


class SeenCache:
    """The last frames heard, by (node, session, counter)."""

    STATE = "t:frames"

    def __init__(self) -> None:
        """Nothing seen."""
        self.frames: list[tuple[int, int, int]] = []

    def note(self, frame: "tuple[int, int, int]") -> bool:
        """Remember a frame; True when it is new."""
        if frame in self.frames:
            return False
        self.frames = (self.frames + [frame])[-_SEEN_MAX:]
        return True


class Link:
    """Key, own counter, peers and what went wrong."""

    STATE = "u:me u:session u:counter u:sent u:heard u:rejected c:peers o:seen"

    def __init__(self, key: bytes, peers_max: int) -> None:
        """`key`: 32 bytes, shared by the swarm."""
        self.key = key
        self.me = 0
        self.session = 0
        self.counter = 0
        self.peers = Table(peers_max)
        self.seen = SeenCache()
        self.sent = 0
        self.heard = 0
        self.rejected = 0

    def start(self, mac: bytes, session: int, resumed: bool) -> None:
        """Begin a session; `resumed` after deep sleep, when the counter goes on."""
        self.me = node_id(mac)
        if not resumed or session != self.session:
            self.session = session
            self.counter = 0

    def seal(self, kind: int, payload: bytes) -> bytes:
        """A frame of our own, with the next counter; after 2^24 frames the session moves on."""
        self.counter += 1
        if self.counter > COUNTER_MAX:
            self.counter = 1
            self.session = (self.session + 1) & 0xFFFF
        frame = seal(self.key, kind, self.me, self.session, self.counter, payload)
        self.sent += 1
        return frame

    def open(self, frame: bytes, now_ms: int) -> "tuple[int, int, bytes] | None":
        """(kind, node, payload) of a frame that is ours to believe and new; None, counted, for every other."""
        try:
            kind, node, session, counter, payload = parse(frame)
        except PacketError:
            self.reject()
            return None
        if node == self.me:
            return None  # our own, relayed by somebody
        if not verify(self.key, frame):
            self.reject()
            return None
        if not self.seen.note((node, session, counter)):
            return None  # a relayed copy: expected, no fault of anybody
        if not self.peers.accept(node, session, counter, now_ms):
            if kind != ALERT:  # a sentinel repeats alerts, for those who slept
                self.reject()
            return None
        self.heard += 1
        return kind, node, payload

    def reject(self) -> None:
        """Count a frame that was refused."""
        self.rejected = min(self.rejected + 1, _OVERHEARD_MAX)
