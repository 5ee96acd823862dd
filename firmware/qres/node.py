"""The node: events in, actions out, nothing else.  See events.py for both and docs/architecture.md for the picture.

Everything that will happen stands in one agenda, a sorted list of (swarm time, item).  A step takes its event in, works
off what is due, and ends with the SLEEP until the next entry.
"""

from qres import events as ev
from qres import packet, windows
from qres.compat import const
from qres.energy import RECHARGE_PERMILLE, Pool, Silence
from qres.fixed import sat32
from qres.link import Link
from qres.packet import PacketError
from qres.regime import CALM, STORM, VOTE_ROUNDS, Machine, gate_opens
from qres.rng import Rng
from qres.rounds import Rounds
from qres.sensing import Sensing
from qres.snapshot import RTC_BYTES, Reader, SnapshotError, Writer
from qres.wake import ANNOUNCE, END, JOIN, JUMPED, OPEN, SAMPLE, SPEAK, UNSYNCED, Agenda, Clock, Queue

if False:
    from typing import Any

_VOTES_MAX = const(16)


class Node:
    """One board.  Deterministic: the same configuration and events give the same actions on every machine."""

    STATE = (
        "b:mac b:build o:link o:clock c:sensing o:machine o:pool o:silence o:queue o:rng c:rounds o:agenda t:votes "
        "u:radio u:rest u:measured u:tries u:battery_mv i:last_index i:anchor u:silent u:awake_ms u:radio_ms i:last_ms "
        "i:started_ms b:saved b:acks b:naks"
    )

    def __init__(self, config: "dict[str, Any]") -> None:
        """`config` as docs/start.md describes it; ConfigError when it cannot be used."""
        if "key" not in config:  # not yet loaded
            from qres.config import load

            config = load(config)
        self.cfg = config
        self.sentinel = self.cfg["role"] == "sentinel"
        self.senses = bool(self.cfg.get("sensors"))
        self.light_ms: int = self.cfg["light_ms"]
        self._parts()

    def _parts(self) -> None:
        """Everything that a snapshot holds, in its first state."""
        cfg = self.cfg
        self.mac, self.build = bytes(6), bytes(5)
        self.saved = bytes(4)  # hash of the model in flash
        self.acks = self.naks = b""  # names of checkpoints that the host holds and misses, to be announced
        self.link = Link(cfg["key"], cfg["peers"])
        self.clock = Clock()
        self.sensing = Sensing(cfg)
        self.machine = Machine(cfg["profile"])
        self.pool = Pool(cfg["power"], cfg["battery_uj"], self.sentinel)
        self.silence = Silence()
        self.queue = Queue(cfg["queue"])
        self.rng = Rng(0)
        self.rounds = Rounds(cfg)
        self.agenda = Agenda()
        self.votes: list[tuple[int, int]] = []  # (node, epoch) that spoke of Storm
        self.radio = self.started_ms = self.awake_ms = self.radio_ms = 0
        self.rest = ev.IDLE  # kind of the last SLEEP
        self.last_ms = 0  # own clock at the last event
        self.battery_mv = 0
        self.measured = self.tries = 0  # a battery reading came: the pool follows it; JOINs without an answer
        self.last_index = -1  # of the newest sample
        self.anchor = -1  # node id of the sentinel whose clock and models we follow
        self.silent = 0  # windows in a row without a word of it

    # Events

    def step(self, event: "tuple[Any, ...]") -> "list[tuple[Any, ...]]":
        """Take one event, return what to do.  Bytes from outside never raise; a malformed event of the caller does."""
        tag: int = event[0]
        now: int = event[1]
        out: list[tuple[Any, ...]] = []
        self._account(now, tag, event[2] if tag == ev.BOOT else 0)
        if tag == ev.BOOT:
            self._boot(now, event, out)
        elif tag == ev.SAMPLE:
            self._sample(now, event[2], out)
        elif tag == ev.PACKET:
            self._packet(now, event[2], event[3], out)
        elif tag == ev.POWER:
            self._power(event[2], event[3])
            return out
        elif tag == ev.COMMAND:
            from qres.commands import command

            command(self, now, event[2], event[3], out)
        elif tag == ev.OTA:
            windows.tell_host(self, now, event[2], out)
        if not self._work_off(now, out):
            self._sleep(now, out)
        return out

    def _account(self, now: int, tag: int, cause: int) -> None:
        """Charge the time since the last event to the state in which it was spent."""
        spent = max(now - self.last_ms, 0)
        self.last_ms = max(now, self.last_ms)
        if tag == ev.BOOT and cause != ev.DEEP_SLEEP:
            self.last_ms = now  # what was before this start is not known
        elif tag == ev.BOOT:
            boot: int = min(self.cfg["boot_ms"], spent)
            self.awake_ms += boot
            self.pool.spend(self.cfg["power"]["boot_uj"])
            self.pool.spend_time("sleep", spent - boot)
        elif self.radio:
            self.radio_ms += spent
            self.awake_ms += spent
            self.pool.spend_time("radio", spent)
        elif self.rest == ev.IDLE:
            self.awake_ms += spent
            self.pool.spend_time("cpu", spent)
        else:
            self.pool.spend_time("sleep", spent)
        self.rest = ev.IDLE  # awake from here until the next SLEEP

    def _boot(self, now: int, event: "tuple[Any, ...]", out: "list[tuple[Any, ...]]") -> None:
        _, _, cause, seed, mac, session, self.build = event
        self.mac = bytes(mac)
        resumed = cause == ev.DEEP_SLEEP and self.link.me == packet.node_id(self.mac)
        self.link.start(self.mac, session, resumed)
        self.radio = 0
        self.sensing.node = self.link.me
        if resumed and self.agenda.items:
            return
        self.sensing.forget()
        self.rng = Rng(seed ^ self.link.me)
        self.started_ms = now
        self.awake_ms = self.radio_ms = self.pool.spent_uj = 0
        self.link.peers.know(self.link.me, now)
        self.clear()
        self.clock.stratum = UNSYNCED
        if self.sentinel:
            self.clock.reference(now)
            self.switch(1, out)
            from qres.telemetry import hello

            out.append((ev.REPORT, ev.WIRE_HELLO, hello(self)))
            self.plan(now)
            self.agenda.at(now, ANNOUNCE)
        else:
            self.clock.set(now, now, UNSYNCED)
            self.tries = 0
            self.agenda.at(now + self.slot_ms(), JOIN)

    def _sample(self, now: int, values: "tuple[int | None, ...]", out: "list[tuple[Any, ...]]") -> None:
        period: int = self.cfg["period_ms"]
        index = (self.clock.swarm(now) + period // 2) // period
        regime = self.machine.state
        self.agenda.at((index + 1) * period, SAMPLE)
        if index <= self.last_index:
            return  # the clock was set back a little: this instant has its sample
        self.last_index = index
        entropy, full = self.sensing.take(index, tuple([None if v is None else sat32(v) for v in values]), regime)
        if full:
            self.queue.put(packet.DATA, full)
        state = self.machine.push(entropy)
        self.silence.push(entropy, state)
        if state > regime:
            self._hurry(now)
            self._raise_alarm(now, entropy)

    def _hurry(self, now: int) -> None:
        """The regime rose: the next radio window comes at its interval."""
        if not self.rounds.window:
            self.plan(now)

    def _raise_alarm(self, now: int, entropy: int) -> None:
        """The regime rose: tell everybody at once, unless energy forbids it."""
        if self.pool.capped or not self.silence.allows(entropy, self.reputation(), self.cost(), self.pool.permille()):
            return
        full = self.sensing.flush(self.machine.state)
        if full:
            self.queue.put(packet.DATA, full)
        swarm = self.clock.swarm(now)
        self.queue.put(packet.ALERT, packet.pack_alert(self.machine.state, entropy, self.rounds.epoch_of(swarm)))
        if not self.rounds.window:
            self.rounds.window = 1
            self.agenda.at(swarm + self.rng.below(64), SPEAK)
            self.agenda.at(swarm + self.rounds.window_ms, END)

    def _power(self, permille: int, millivolts: int) -> None:
        if 0 <= permille <= 1000:
            self.pool.measured(permille)
            self.measured = 1
        self.battery_mv = max(millivolts, 0)

    def hear_names(self, held: bytes, missed: bytes) -> None:
        """The host holds and misses checkpoints of these names."""
        for full in self.sensing.acknowledged(held, missed, self.machine.state):
            self.queue.put(packet.DATA, full)

    def _packet(self, now: int, frame: bytes, rssi: int, out: "list[tuple[Any, ...]]") -> None:
        opened = self.link.open(frame, now)
        if opened is None:
            return
        kind, node, payload = opened
        if self.sentinel:
            self.report(now, rssi, frame, out)
        try:
            if kind == packet.MODEL:
                self._hear_model(now, node, payload)
            elif kind == packet.UPDATE:
                self.rounds.hear_update(node, payload, frame, self.pool.permille())
            elif kind == packet.ALERT:
                self._hear_alert(node, payload, frame)
            elif kind == packet.PULL and self.sentinel:
                self.agenda.at_once(self.clock.swarm(now) + 5, ANNOUNCE)
            elif kind == packet.OTA and node == self.anchor:
                out.append((ev.STAGE, payload))
        except (PacketError, ValueError):
            self.link.reject()

    def _hear_model(self, now: int, node: int, payload: bytes) -> None:
        if packet.model_key(payload) != self.cfg["model_key"]:
            raise PacketError("another layout of channels")
        if self.sentinel:
            return  # the reference learns from nobody
        heard = packet.unpack_model(payload)
        fresh = self.clock.stratum == UNSYNCED
        if heard.stratum == 0:
            if self.anchor not in (-1, node) and not fresh:
                raise PacketError("a second sentinel")
            self.anchor = node
            self.silent = 0
        if self.clock.hear(now, heard.time_ms, heard.stratum) == JUMPED:
            fresh = True
        if self.clock.stratum != UNSYNCED and heard.epoch > self.rounds.epoch_of(self.clock.swarm(now)) + 1:
            raise PacketError("an epoch of the future")
        if fresh:
            self.clear()
        model = self.rounds.hear_model(heard, self.sensing.model)
        if model is not None:
            if model.hash != self.sensing.model.hash:
                self.sensing.adopt(model)
            if heard.stratum == 0:
                self.sensing.confirm(model)
        if heard.stratum == 0:
            self.hear_names(heard.held, heard.missed)
        if fresh and self.clock.stratum != UNSYNCED:
            self.plan(now)
            swarm = self.clock.swarm(now)
            self.queue.put(packet.TELEMETRY, b"")
            self.rounds.window = 1
            self.agenda.at(swarm + self.slot_ms(), SPEAK)
            self.agenda.at(swarm + self.rounds.window_ms, END)

    def _hear_alert(self, node: int, payload: bytes, frame: bytes) -> None:
        """Count voters for Storm; enough reputable ones open the consensus gate."""
        regime, _, epoch = packet.unpack_alert(payload)
        own = self.rounds.epoch_of(self.clock.swarm(self.last_ms))
        if not own - VOTE_ROUNDS <= epoch <= own + 1:
            raise PacketError("an alert of another time")
        if self.sentinel and regime:
            self.rounds.keep_alert(frame)
        if regime != STORM:
            return
        votes = [v for v in self.votes if v[0] != node and v[1] + VOTE_ROUNDS >= own]
        self.votes = (votes + [(node, epoch)])[-_VOTES_MAX:]
        if gate_opens([(n, self.link.peers.get(n)) for n, _ in self.votes]):
            self.machine.force_storm()
            self.votes = []
            self._hurry(self.last_ms)

    # The agenda

    def clear(self) -> None:
        """Time began anew: nothing that was planned holds."""
        self.agenda.items = []
        self.rounds.restart()
        self.last_index = -1

    def plan(self, now: int) -> None:
        """Enter the next sample and the next radio window."""
        swarm = self.clock.swarm(now)
        period: int = self.cfg["period_ms"]
        if self.senses and not [1 for t, item in self.agenda.items if item == SAMPLE and t <= swarm + period]:
            self.agenda.drop(SAMPLE)
            self.agenda.at(max(swarm // period + 1, self.last_index + 1) * period, SAMPLE)
        self.agenda.drop(OPEN)
        start = self.next_window(now)
        self.agenda.at(start - self.clock.guard_ms(start - swarm, self.cfg["guard_ms"]), OPEN)
        self.rounds.start = start

    def next_window(self, now: int) -> int:
        """Swarm time of the next radio window; in Calm, nodes that recharge or are on demand keep to the boundaries."""
        state = self.machine.state
        saving = state == CALM and (self.pool.permille() <= RECHARGE_PERMILLE or self.cfg["role"] == "on-demand")
        return self.rounds.next_start(self.clock.swarm(now), state, self.reputation(), bool(self.pool.capped), saving)

    def _work_off(self, now: int, out: "list[tuple[Any, ...]]") -> bool:
        """Do what is due; True when sensors must be read first, whose SAMPLE continues."""
        while self.agenda.due(self.clock.swarm(now)):
            item = self.agenda.items.pop(0)[1]
            if item == SAMPLE:
                out.append((ev.SENSE,))
                return True
            windows.ITEMS[item - 1](self, now, out)
        return False

    def _sleep(self, now: int, out: "list[tuple[Any, ...]]") -> None:
        """Until the next entry of the agenda: idle with the radio on, light when short, deep when long."""
        until = max(self.clock.local(self.agenda.items[0][0]), now + 1)
        if self.radio or self.sentinel:
            kind = ev.IDLE
        elif until - now < self.light_ms or not self._fit():
            kind = ev.LIGHT
        else:
            kind = ev.DEEP
        self.rest = kind
        if kind == ev.DEEP:
            out.append((ev.SAVE, ev.RTC, self.snapshot(True)))
        out.append((ev.SLEEP, until, kind))

    def switch(self, on: int, out: "list[tuple[Any, ...]]") -> None:
        """Turn the radio on (1) or off (0), unless it is."""
        if self.radio != on:
            self.radio = on
            out.append((ev.RADIO, on))

    def say(self, kind: int, payload: bytes, out: "list[tuple[Any, ...]]", now: int) -> None:
        """Send a frame of our own; the gateway shows it to the host as well."""
        frame = self.link.seal(kind, payload)
        out.append((ev.SEND, frame))
        self.pool.spend_send(len(frame))
        if self.sentinel:
            self.report(now, 0, frame, out)

    # Words about itself

    def report(self, now: int, rssi: int, frame: bytes, out: "list[tuple[Any, ...]]") -> None:
        """Show the host a frame that was heard with `rssi` dBm, or our own (0)."""
        head = self.clock.swarm(now).to_bytes(8, "little") + bytes([rssi & 0xFF])
        out.append((ev.REPORT, ev.WIRE_RADIO, head + frame))

    def reputation(self) -> int:
        """What the own lessons have earned, Q16.16."""
        return self.link.peers.get(self.link.me)

    def cost(self) -> int:
        """The cost that entropy x reputation must exceed before gossip is worth it, Q16.16."""
        cost: int = self.cfg["cost_permille"]
        return (cost << 16) // 1000

    def slot_ms(self) -> int:
        """The own sending slot, another one each epoch so that no pair collides for ever."""
        mixed = (self.link.me * 40503 + self.rounds.epoch * 9973) >> 3
        return self.rounds.slot_ms * (mixed % self.rounds.slots)

    # Snapshots

    def snapshot(self, compact: bool) -> bytes:
        """The whole state, left as it is; SnapshotError when `compact` and it exceeds RTC memory's 2,048 bytes."""
        out = Writer()
        out.uint(self.cfg["model_key"])
        out.fields(self)
        blob = out.finish()
        if compact and len(blob) > RTC_BYTES:
            raise SnapshotError("too large for RTC memory")
        return blob

    def _fit(self) -> bool:
        """Forget what RTC memory has no room for: checkpoints, queued frames, which are counted, peers long unheard.

        Where even that is too little (many channels), False: from now on sleeps are light, which keeps everything.
        """
        self.link.seen.frames = []  # the replay windows cover what the cache was for
        while True:
            over = len(self.snapshot(False)) - RTC_BYTES
            if over <= 0:
                return True
            if self.sensing.shed():
                continue
            if self.queue.items:
                self.queue.shrink(max(sum([len(p) + 3 for _, p in self.queue.items]) - over, 0))
            elif not self.link.peers.forget_one():
                self.light_ms = 1 << 60
                return False

    def restore(self, blob: bytes) -> None:
        """Become what `blob` says; SnapshotError, with nothing changed, when it is damaged or of another shape."""
        fresh = Node(self.cfg)
        try:
            data = Reader(blob)
            if data.uint() != self.cfg["model_key"]:
                raise SnapshotError("another layout of channels")
            data.fields(fresh)
            data.done()
        except (ValueError, IndexError) as error:
            raise SnapshotError(str(error))
        if fresh.machine.state > STORM or fresh.rest > ev.DEEP or len(fresh.mac + fresh.build) != 11:
            raise SnapshotError("out of range")
        for field in self.STATE.split():
            setattr(self, field[2:], getattr(fresh, field[2:]))
