"""What a node thinks of its peers, and the window that keeps old frames from being played again.

Reputation is Q16.16 from 0 to 1 and starts at 0.5.  Statistics only steer it; a ban needs evidence.
"""

from qres.compat import const
from qres.fixed import isqrt, mul

if False:
    from qres.snapshot import Reader, Writer

START = const(32768)
VALID = const(1311)  # +0.02
DRIFT = const(-5243)  # -0.08
FLOOR = const(13107)  # 0.2: below, the influence is zero
CAP = const(52429)  # 0.8: no influence above
_WINDOW = const(16)  # frames that may arrive out of order


class Peer:
    """One peer: reputation, replay window and when it was last heard (own clock)."""

    STATE = "u:reputation u:session u:counter u:seen i:heard_ms"

    def __init__(self, session: int, counter: int) -> None:
        """First heard with this session and counter."""
        self.reputation = START
        self.session = session
        self.counter = counter
        self.seen = 1  # bit i: counter - i was accepted
        self.heard_ms = 0

    def accept(self, session: int, counter: int) -> bool:
        """Whether a frame is new: False for one that was accepted before or is too old to tell."""
        if session != self.session:
            if ((session - self.session) & 0xFFFF) >= 0x8000:
                return False
            self.session = session
            self.counter = counter
            self.seen = 1
            return True
        ahead = counter - self.counter
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & 0xFFFF if ahead < _WINDOW else 1
            self.counter = counter
            return True
        bit = 1 << -ahead
        if -ahead >= _WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True


class Table:
    """At most `limit` peers; the one unheard for longest makes room."""

    def __init__(self, limit: int) -> None:
        """Knows nobody."""
        self.limit = limit
        self.me = -1  # oneself never makes room
        self.peers: dict[int, Peer] = {}

    def accept(self, node: int, session: int, counter: int, now_ms: int) -> bool:
        """Whether this authenticated frame is new; remembers the peer."""
        peer = self.peers.get(node)
        if peer is None:
            if len(self.peers) >= self.limit:
                self.forget_one()
            peer = self.peers[node] = Peer(session, counter)
        elif not peer.accept(session, counter):
            return False
        peer.heard_ms = now_ms
        return True

    def forget_one(self) -> bool:
        """Forget whom we heard least recently, with its replay window; False when there is nobody to forget."""
        others = [(p.heard_ms, n) for n, p in sorted(self.peers.items()) if n != self.me]
        if others:
            del self.peers[min(others)[1]]
        return bool(others)

    def know(self, node: int, now_ms: int) -> None:
        """Remember a node without a frame of it: oneself, whose standing is judged like that of the others."""
        self.me = node
        if node not in self.peers:
            self.peers[node] = Peer(0, 0)
        self.peers[node].heard_ms = now_ms

    def get(self, node: int) -> int:
        """Reputation of a node, Q16.16; of an unknown one, where everybody starts."""
        peer = self.peers.get(node)
        return peer.reputation if peer else START

    def change(self, node: int, step: int) -> None:
        """Raise or lower a reputation by `step`, within 0 to 1."""
        peer = self.peers.get(node)
        if peer:
            peer.reputation = min(max(peer.reputation + step, 0), 65536)

    def dump(self, out: "Writer") -> None:
        """Write the state to a snapshot."""
        out.uint(len(self.peers))
        for node, peer in sorted(self.peers.items()):
            out.uint(node)
            out.fields(peer)

    def load(self, data: "Reader") -> None:
        """Read the state from a snapshot."""
        self.peers = {}
        for _ in range(data.count()):
            node = data.uint()
            self.peers[node] = Peer(0, 0)
            data.fields(self.peers[node])


def influence(reputation: int, peers: int) -> int:
    """Weight of a peer, Q16.16: min(reputation ^ e, 0.8), zero below 0.2; e: 2 below 20 peers, 3 up to 50, then 3.5."""
    if reputation < FLOOR:
        return 0
    power = mul(reputation, reputation)
    if peers >= 20:
        power = mul(power, reputation)
        if peers > 50:
            power = mul(power, isqrt(reputation << 16))
    return min(power, CAP)
