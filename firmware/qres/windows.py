"""What a node does in its radio windows, each function one item of the agenda.

A window opens, the node speaks in its slot and closes it again.  At the boundary of an epoch it is a learning round:
updates first, then each aggregates what it heard, then the result is announced.
"""

from qres import events as ev
from qres import packet
from qres.compat import const
from qres.wake import ANNOUNCE, BEACON, CLOSE, END, JOIN, RELAY, SPEAK, UNSYNCED

if False:
    from typing import Any

    from qres.model import Model
    from qres.node import Node

_JOIN_TRIES = const(4)
_JOIN_WAIT_MS = const(400)
_ASK_AFTER = const(3)  # windows without a word of the sentinel
_FORGET_AFTER = const(8)
_UPDATE_MS = const(8000)  # without a word of its own about the update a board goes back to sleep
_WAITING = (b"\0", b"\5")  # what it says when it waits for more: qres.port.ota READY, INCOMPLETE


def open_window(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Begin the window that was planned; at the boundary of an epoch it is a learning round."""
    rounds = node.rounds
    start = max(rounds.start, node.clock.swarm(now))
    node.switch(1, out)
    rounds.window = 1
    for item in (SPEAK, CLOSE, ANNOUNCE, END):
        node.agenda.drop(item)
    learning = rounds.open(rounds.start, node.sensing.model)
    close = start + rounds.window_ms
    node.agenda.at(start + node.slot_ms(), SPEAK)
    if node.sentinel:  # for the clocks, and for those who missed the last round
        node.agenda.at(start + 5, BEACON)
    if not learning:
        node.agenda.at(close, END)
        return
    for i in range(1, rounds.hops):
        node.agenda.at(start + i * rounds.pass_ms + node.slot_ms(), RELAY)
    node.agenda.at(close, CLOSE)
    settle = rounds.settle_ms
    if node.sentinel:
        for i in range(3):
            node.agenda.at(close + 5 + i * settle // 3, ANNOUNCE)
    else:
        node.agenda.at(close + settle // 4 + node.slot_ms() * settle // (2 * rounds.window_ms), ANNOUNCE)
    node.agenda.at(close + settle, END)


def speak(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Send what waits: data, the queue, and in a learning round the lesson and telemetry."""
    node.switch(1, out)
    swarm = node.clock.swarm(now)
    oldest = node.sensing.pending_since_ms()
    learning = node.rounds.round is not None
    # The first packet goes early: whoever sets up a board wants to see that it speaks.
    if oldest >= 0 and (swarm - oldest >= node.cfg["flush_ms"] or not node.sensing.packets):
        node.queue.put(packet.DATA, node.sensing.flush(node.machine.state) or b"")
    if node.rounds.pull:
        node.say(packet.PULL, b"", out, now)
    status = learning
    for kind, payload in node.queue.take():
        if kind == packet.TELEMETRY:
            status = True
        else:
            node.say(kind, payload, out, now)
            if kind == packet.DATA:
                node.sensing.asked = node.sensing.asked or node.rounds.start
    if learning and node.senses:
        residual, gain, change = node.sensing.lesson()
        rest = node.pool.permille()
        if node.silence.allows(node.sensing.entropy, node.reputation(), node.cost(), rest):
            update = node.rounds.own_update(node.link.me, residual, gain, rest, change, node.sensing)
            if update:
                node.say(packet.UPDATE, update, out, now)
    if status:
        from qres import telemetry  # of those who only sense nobody needs it

        node.say(packet.TELEMETRY, telemetry.pack(telemetry.values(node, now)), out, now)


def close(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Aggregate the updates heard."""
    node.rounds.close(node.machine.state, node.link.peers)


def announce(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Send the model, and first whatever others said that sleepers should hear."""
    relay(node, now, out)
    model = node.rounds.voice(node.sensing.model, node.sentinel)
    if model is not None:
        _tell(node, now, out, model, False)


def beacon(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Tell the time and name the model in force; who holds another one pulls it."""
    relay(node, now, out)
    _tell(node, now, out, node.sensing.model, True)


def relay(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Send on what others said, in their own frames."""
    for frame in node.rounds.relays(node.sentinel):
        out.append((ev.SEND, frame))
        node.pool.spend_send(len(frame))


def _tell(node: "Node", now: int, out: "list[tuple[Any, ...]]", model: "Model", brief: bool) -> None:
    """Announce `model`, which is ours from here on; `brief` by name only."""
    if model.hash != node.sensing.model.hash:
        node.sensing.adopt(model)
    if node.sentinel:
        node.sensing.confirm(model)
    shape = (0, 0, model.hash) if brief else (model.channels, model.order, model.packed)
    rounds = node.rounds
    said = packet.Announcement(node.clock.swarm(now), node.clock.stratum, rounds.epoch, rounds.inputs(), *shape)
    if node.acks or node.naks:
        room = min(packet.PAYLOAD_MAX - 17 - len(shape[2]) >> 2, packet.NAMES_MAX) << 2
        said.missed, node.naks = node.naks[:room], node.naks[room:]
        room -= len(said.missed)
        said.held, node.acks = node.acks[:room], node.acks[room:]
    node.say(packet.MODEL, said.pack(node.cfg["model_key"]), out, now)


def tell_host(node: "Node", now: int, payload: bytes, out: "list[tuple[Any, ...]]") -> None:
    """Send what the port's updater says; where more is to come the window stays open for it."""
    node.say(packet.OTA, payload, out, now)
    if payload[5:6] in _WAITING and not node.sentinel and node.rounds.window:
        node.agenda.drop(END)
        node.agenda.at(node.clock.swarm(now) + _UPDATE_MS, END)


def end(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Close the window, settle the round, plan the next."""
    if node.sensing.asked != node.rounds.start:  # the window after the one in which the packet was sent: no answer
        node.sensing.asked = 0
    if node.rounds.finish(node.sensing.model, node.sentinel):
        node.sensing.begin_epoch()
        if node.saved != node.sensing.model.hash:  # flash wears: only what is new, and worth a power cut
            node.saved = node.sensing.model.hash
            out.append((ev.SAVE, ev.FLASH, node.snapshot(False)))
        if node.sentinel:
            from qres.telemetry import peers

            out.append((ev.REPORT, ev.WIRE_PEERS, peers(node, now)))
    if not node.sentinel:
        node.switch(0, out)
        start = node.rounds.start
        if start <= node.clock.swarm(now) and start % node.cfg["base_ms"][0] == 0:  # where a beacon was due
            node.silent = min(node.silent + 1, _FORGET_AFTER)
        if node.silent >= _ASK_AFTER:  # our clock may be off; the sentinel always listens, and answers with the time
            node.rounds.pull = 1
        if node.silent == _FORGET_AFTER:
            node.anchor = -1  # another one may take its place
    node.plan(now)


def join(node: "Node", now: int, out: "list[tuple[Any, ...]]") -> None:
    """Ask for model and time; after four tries close the radio and wait, ever longer, up to Calm's interval."""
    if node.clock.stratum != UNSYNCED:
        return
    swarm = node.clock.swarm(now)
    if node.tries % _JOIN_TRIES == 0 and node.tries and node.radio:
        node.switch(0, out)
        longest: int = node.cfg["base_ms"][0]
        node.agenda.at(swarm + min(1000 << min(node.tries, 24), longest), JOIN)
        return
    node.switch(1, out)
    node.say(packet.PULL, node.build + node.cfg["name"].encode(), out, now)  # the host shows who came
    node.tries += 1
    node.agenda.at(swarm + _JOIN_WAIT_MS + node.rng.below(200), JOIN)


ITEMS = (
    open_window,
    speak,
    close,
    announce,
    end,
    join,
    beacon,
    relay,
)  # in the order of their numbers in wake.py, from OPEN
