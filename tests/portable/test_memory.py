"""The heap of a board: what the application takes after boot, and that it does not grow."""

import sys

import support

BUDGET = 90 * 1024  # bytes after boot in the default configuration (docs/memory.md), as bytecode
GROWTH = 2048  # what a fragment or a longer list may take; 10,000 events with a leak of one byte each would show
EVENTS = 10000
STAGES = 10
HOUR = 3600000
CHANNELS = [{"name": n, "scale": "0.1"} for n in ("temp", "dewp", "humid", "wind", "rain", "pressure")]


class Hardware:
    """Stands for a module of the chip, which is not part of the heap: any name, any call."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **named):
        return self


def config(role):
    return {
        "role": role,
        "swarm_key": "5a" * 32,
        "channels": CHANNELS,
        "sensors": [] if role == "sentinel" else [{"driver": "adc", "pin": i} for i in range(6)],
        "period_ms": HOUR,
        "epoch_ms": 24 * HOUR,
        "base_ms": [4 * HOUR, HOUR, HOUR],
        "light_ms": 86400000,  # sleeps are light here: the node stays the same object
    }


def boot(role, mac):
    """What main.py does, up to the first event."""
    import qres.port.framing
    import qres.port.sensors
    import qres.run
    from qres import events
    from qres.node import Node

    node = Node(config(role))
    if "qres.config" in sys.modules:  # as run.main does: checked once, needed never again
        del sys.modules["qres.config"]
        del qres.config
    first = node.step((events.BOOT, 1357084800000, events.POWER_ON, 5, mac, 1, bytes(5)))
    return node, first


def test_a_booted_board_fits_its_budget():
    if not support.is_32bit:
        return None
    import binascii  # C on the chip, Python in this machine

    for name in ("machine", "network", "espnow", "esp32"):
        sys.modules[name] = Hardware()
    before = support.allocated()
    kept = []

    def load():
        import qres.port.adc
        import qres.port.esp32

        assert binascii and qres
        kept.append(boot("scheduled", b"\x02\x00\x00\x00\x00\x07"))
        return measure

    def measure():
        taken = support.allocated() - before
        assert kept  # which this function holds on to: else there would be no node to measure
        print("     after boot: %d of %d bytes" % (taken, BUDGET))
        assert 40000 < taken <= BUDGET, taken

    return load


class Pair:
    """A sentinel and a node that hear each other; time runs to whatever is due next, samples wander."""

    def __init__(self):
        self.source = support.xorshift(12)
        self.x = [0] * 6
        self.due = [0, 0]
        self.count = 0
        self.nodes = []
        firsts = []
        for i in range(2):
            node, actions = boot("scheduled" if i else "sentinel", bytes([2, 0, 0, 0, 0, i]))
            self.nodes.append(node)
            firsts.append(actions)
        for i in range(2):
            self.perform(i, firsts[i], 1357084800000)

    def perform(self, i, actions, now):
        from qres import events as ev

        for a in actions:
            if a[0] == ev.SEND:
                self.feed(1 - i, (ev.PACKET, now, a[1], -50))
            elif a[0] == ev.SENSE:
                self.x = [v + support.below(self.source, 41) - 20 for v in self.x]
                self.feed(i, (ev.POWER, now, 900, 3900))
                self.feed(i, (ev.SAMPLE, now, tuple(self.x)))
            elif a[0] == ev.SLEEP:
                self.due[i] = a[1]

    def feed(self, i, event):
        from qres import events as ev

        if self.nodes[i].radio or event[0] != ev.PACKET:
            self.count += 1
            self.perform(i, self.nodes[i].step(event), event[1])

    def run(self, count):
        """Until so many events in all."""
        from qres import events as ev

        while self.count < count:
            i = 0 if self.due[0] <= self.due[1] else 1
            self.feed(i, (ev.TIMER, self.due[i]))


def test_ten_thousand_events_do_not_grow_the_heap():
    if not support.is_micropython:
        return None
    pair = Pair()
    seen = []

    def stage():
        pair.run(EVENTS * (len(seen) + 1) // STAGES)
        return settle

    def settle():
        seen.append(support.allocated())
        if len(seen) < STAGES:
            return stage
        assert pair.nodes[1].sensing.samples > 1000
        limit = max(seen[1:4]) + GROWTH  # the first stages fill what is bounded: peers, windows, queues
        print("     heap over 10,000 events:", seen[0], "to", seen[-1])
        assert max(seen) <= limit, seen
        return None

    return stage
