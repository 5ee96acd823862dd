"""The node: events in, actions out, nothing else.  See events.py for both and docs/architecture.md for the picture.

Everything that will happen stands in one agenda, a sorted list of (swarm time, item).  A step takes its event in, works off
what is due, and ends with the SLEEP until the next entry.
"""

from qres import events as ev
from qres import packet, telemetry
from qres.compat import const
from qres.config import load as load_config
from qres.energy import RECHARGE_PERMILLE, Pool, Silence
from qres.fixed import sat32
from qres.link import Link
from qres.packet import PacketError
from qres.regime import CALM, STORM, VOTE_ROUNDS, Machine, gate_opens
from qres.rng import Rng
from qres.rounds import Rounds
from qres.sensing import Sensing
from qres.snapshot import RTC_BYTES, Reader, SnapshotError, Writer
from qres.wake import UNSYNCED, Clock, Queue

# Items of the agenda.
SAMPLE = const(0)
OPEN = const(1)  # begin a radio window
SPEAK = const(2)  # send what there is to say, in the own slot
CLOSE = const(3)  # aggregate the updates heard
ANNOUNCE = const(4)  # say which model came out
END = const(5)  # close the radio window
JOIN = const(6)  # ask for the swarm's model and time

# Everything that a snapshot holds.
_STATE = (
    ("mac", "link", "clock", "sensing", "machine", "pool", "silence", "queue", "rng", "rounds", "agenda", "votes", "radio")
    + ("rest", "last_ms", "started_ms", "awake_ms", "radio_ms", "battery_mv", "measured", "tries")
)
_JOIN_TRIES = const(4)
_JOIN_WAIT_MS = const(400)
_VOTES_MAX = const(16)


class Node:
    """One board.  Deterministic: the same configuration and events give the same actions on every machine."""

    def __init__(self, config: "dict[str, object]") -> None:
        """`config` as docs/start.md describes it; ConfigError when it cannot be used."""
        self.cfg = load_config(config)
        self.mac = bytes(6)
        self.sentinel = self.cfg["role"] == "sentinel"
        self.senses = bool(self.cfg.get("sensors"))
        self._parts()

    def _parts(self) -> None:
        """Everything that a snapshot holds, in its first state."""
        cfg = self.cfg
        self.link = Link(cfg["key"], cfg["peers"])  # type: ignore[arg-type]
        self.clock = Clock()
        self.sensing = Sensing(cfg)
        self.machine = Machine(cfg["profile"])  # type: ignore[arg-type]
        self.pool = Pool(cfg["power"], cfg["battery_uj"])  # type: ignore[arg-type]
        self.silence = Silence()
        self.queue = Queue(cfg["queue"])  # type: ignore[arg-type]
        self.rng = Rng(0)
        self.rounds = Rounds(cfg)
        self.agenda: list[tuple[int, int]] = []
        self.votes: list[tuple[int, int]] = []  # (node, epoch) that spoke of Storm
        self.radio = 0
        self.rest = ev.IDLE  # kind of the last SLEEP
        self.last_ms = 0  # own clock at the last event
        self.started_ms = 0
        self.awake_ms = 0
        self.radio_ms = 0
        self.battery_mv = 0
        self.measured = 0  # a battery reading came: the pool follows it
        self.tries = 0  # JOINs without an answer

    # Events

    def step(self, event: "tuple[object, ...]") -> "list[tuple[object, ...]]":
        """Take one event, return what to do.  Bytes from outside never raise; a malformed event of the caller does."""
        tag: int = event[0]  # type: ignore[assignment]
        now: int = event[1]  # type: ignore[assignment]
        out: list[tuple[object, ...]] = []
        self._account(now, tag == ev.BOOT and event[2] == ev.DEEP_SLEEP)
        if tag == ev.BOOT:
            self._boot(now, event, out)
        elif tag == ev.SAMPLE:
            self._sample(now, event[2], out)  # type: ignore[arg-type]
        elif tag == ev.PACKET:
            self._packet(now, event[2], event[3], out)  # type: ignore[arg-type]
        elif tag == ev.POWER:
            self._power(event[2], event[3])  # type: ignore[arg-type]
            return out
        elif tag == ev.COMMAND:
            self._command(now, event[2], event[3], out)  # type: ignore[arg-type]
        if not self._work_off(now, out):
            self._sleep(now, out)
        return out

    def _account(self, now: int, woke: bool) -> None:
        """Charge the time since the last event to the state in which it was spent."""
        spent = max(now - self.last_ms, 0) if self.started_ms else 0
        self.last_ms = max(now, self.last_ms)
        if woke:
            boot: int = min(self.cfg["boot_ms"], spent)  # type: ignore[type-var, assignment]
            self.awake_ms += boot
            self.pool.spend(self.cfg["power"]["boot_uj"])  # type: ignore[index]
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

    def _boot(self, now: int, event: "tuple[object, ...]", out: "list[tuple[object, ...]]") -> None:
        _, _, cause, seed, mac, session = event
        self.mac = bytes(mac)  # type: ignore[arg-type]
        resumed = cause == ev.DEEP_SLEEP and self.link.me == packet.node_id(self.mac)
        self.link.start(self.mac, session, resumed)  # type: ignore[arg-type]
        self.radio = 0
        self.rest = ev.IDLE
        if resumed and self.clock.stratum != UNSYNCED:
            return
        self.rng = Rng(seed ^ self.link.me)  # type: ignore[operator]
        self.started_ms = self.last_ms = now
        self.link.peers.know(self.link.me, now)
        self.agenda = []
        self.clock.stratum = UNSYNCED
        if self.sentinel:
            self.clock.reference(now)
            self._radio(1, out)
            self._hello(out)
            self._plan(now)
            self._at(now, ANNOUNCE)
        else:
            self.clock.set(now, now, UNSYNCED)
            self.tries = 0
            self._at(now + self._slot_ms(), JOIN)

    def _sample(self, now: int, values: "tuple[int | None, ...]", out: "list[tuple[object, ...]]") -> None:
        period: int = self.cfg["period_ms"]  # type: ignore[assignment]
        index = (self.clock.swarm(now) + period // 2) // period
        row = tuple([None if v is None else sat32(v) for v in values])
        regime = self.machine.state
        entropy, full = self.sensing.take(index, row, regime)
        if full:
            self.queue.put(packet.DATA, full)
        state = self.machine.push(entropy)
        self.silence.push(entropy, state)
        self._at((index + 1) * period, SAMPLE)
        if state > regime:
            self._raise_alarm(now, entropy)

    def _raise_alarm(self, now: int, entropy: int) -> None:
        """The regime rose: tell everybody at once, unless energy forbids it."""
        rest = self.pool.permille()
        if self.pool.capped or not self.silence.allows(entropy, self._reputation(), self._cost(), rest):
            return
        full = self.sensing.flush(self.machine.state)
        if full:
            self.queue.put(packet.DATA, full)
        swarm = self.clock.swarm(now)
        self.queue.put(packet.ALERT, packet.pack_alert(self.machine.state, entropy, self.rounds.epoch_of(swarm)))
        if not self.rounds.window:
            self.rounds.window = 1
            self._at(swarm + self.rng.below(64), SPEAK)
            self._at(swarm + self.rounds.window_ms, END)

    def _power(self, permille: int, millivolts: int) -> None:
        if 0 <= permille <= 1000:
            self.pool.measured(permille)
            self.measured = 1
        self.battery_mv = max(millivolts, 0)

    def _command(self, now: int, name: str, argument: object, out: "list[tuple[object, ...]]") -> None:
        """Commands of the host: "time" (unix ms, the sentinel's clock) and "status"."""
        if name == "time" and self.sentinel and isinstance(argument, int) and 0 <= argument < 1 << 47:
            self.clock.set(now, argument, 0)
            self._plan(now)
            self._at(argument, ANNOUNCE)
        elif name == "status":
            self._report(now, 0, self.link.seal(packet.TELEMETRY, self._telemetry(now)), out)
        else:
            out.append((ev.REPLY, b'{"error":"unknown command or argument"}'))
            return
        out.append((ev.REPLY, b'{"ok":true}'))

    def _packet(self, now: int, frame: bytes, rssi: int, out: "list[tuple[object, ...]]") -> None:
        opened = self.link.open(frame, now)
        if opened is None:
            return
        kind, node, payload = opened
        if self.sentinel:
            self._report(now, rssi, frame, out)
        try:
            if kind == packet.MODEL:
                self._hear_model(now, node, payload)
            elif kind == packet.UPDATE:
                self.rounds.hear_update(node, payload, frame, self.pool.permille())
            elif kind == packet.ALERT:
                self._hear_alert(node, payload, frame)
            elif kind == packet.PULL and self.sentinel and payload == b"":
                self._at_once(self.clock.swarm(now) + 5, ANNOUNCE)
        except (PacketError, ValueError):
            self.link.reject()

    def _hear_model(self, now: int, node: int, payload: bytes) -> None:
        if packet.model_key(payload) != self.cfg["model_key"]:
            raise PacketError("another layout of channels")
        heard = packet.unpack_model(payload)
        fresh = self.clock.stratum == UNSYNCED
        self.clock.hear(now, heard.time_ms, heard.stratum)
        model = self.rounds.hear_model(heard, self.sensing.model)
        if model is not None:
            if model.hash != self.sensing.model.hash:
                self.sensing.adopt(model)
            if heard.stratum == 0:
                self.sensing.confirm(model)
        if fresh and self.clock.stratum != UNSYNCED:
            self.agenda = []
            self._plan(now)
            swarm = self.clock.swarm(now)
            self.queue.put(packet.TELEMETRY, b"")
            self.rounds.window = 1
            self._at(swarm + self._slot_ms(), SPEAK)
            self._at(swarm + self.rounds.window_ms, END)

    def _hear_alert(self, node: int, payload: bytes, frame: bytes) -> None:
        """Count voters for Storm; enough reputable ones open the consensus gate."""
        regime, _, epoch = packet.unpack_alert(payload)
        if self.sentinel and regime:
            self.rounds.keep_alert(frame)
        if regime != STORM:
            return
        votes = [v for v in self.votes if v[0] != node and v[1] + VOTE_ROUNDS >= epoch]
        self.votes = (votes + [(node, epoch)])[-_VOTES_MAX:]
        if gate_opens([(n, self.link.peers.get(n)) for n, _ in self.votes]):
            self.machine.force_storm()
            self.votes = []

    # The agenda

    def _at(self, swarm_ms: int, item: int) -> None:
        self.agenda = sorted(self.agenda + [(swarm_ms, item)])

    def _at_once(self, swarm_ms: int, item: int) -> None:
        """As _at, unless the item stands there already."""
        if not [i for _, i in self.agenda if i == item]:
            self._at(swarm_ms, item)

    def _drop(self, item: int) -> None:
        self.agenda = [entry for entry in self.agenda if entry[1] != item]

    def _plan(self, now: int) -> None:
        """Enter the next sample and the next radio window."""
        swarm = self.clock.swarm(now)
        period: int = self.cfg["period_ms"]  # type: ignore[assignment]
        if self.senses:
            self._drop(SAMPLE)
            self._at(((swarm + period // 2) // period + 1) * period, SAMPLE)
        self._drop(OPEN)
        start = self.next_window(now)
        guard: int = self.cfg["guard_ms"]  # type: ignore[assignment]
        self._at(start - self.clock.guard_ms(start - swarm, guard), OPEN)
        self.rounds.start = start

    def next_window(self, now: int) -> int:
        """Swarm time of the next radio window; in Calm a node that recharges skips those between the epochs' boundaries."""
        state = self.machine.state
        recharging = state == CALM and self.pool.permille() <= RECHARGE_PERMILLE
        return self.rounds.next_start(self.clock.swarm(now), state, self._reputation(), bool(self.pool.capped), recharging)

    def _work_off(self, now: int, out: "list[tuple[object, ...]]") -> bool:
        """Do what is due; True when sensors must be read first, whose SAMPLE continues."""
        while self.agenda and self.agenda[0][0] <= self.clock.swarm(now):
            item = self.agenda.pop(0)[1]
            if item == SAMPLE:
                out.append((ev.SENSE,))
                return True
            if item == OPEN:
                self._open(now, out)
            elif item == SPEAK:
                self._speak(now, out)
            elif item == CLOSE:
                self._close()
            elif item == ANNOUNCE:
                self._announce(now, out)
            elif item == END:
                self._end(now, out)
            else:
                self._join(now, out)
        return False

    def _sleep(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Until the next entry of the agenda: idle with the radio on, light when short, deep when long."""
        until = max(self.clock.local(self.agenda[0][0]), now + 1)
        if self.radio or self.sentinel:
            kind = ev.IDLE
        elif until - now < self.cfg["light_ms"]:  # type: ignore[operator]
            kind = ev.LIGHT
        else:
            kind = ev.DEEP
        self.rest = kind
        if kind == ev.DEEP:
            out.append((ev.SAVE, ev.RTC, self.snapshot(True)))
        out.append((ev.SLEEP, until, kind))

    def _join(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Ask for model and time; after four tries close the radio and wait, each time twice as long, up to Calm's interval."""
        if self.clock.stratum != UNSYNCED:
            return
        swarm = self.clock.swarm(now)
        if self.tries % _JOIN_TRIES == 0 and self.tries and self.radio:
            self._radio(0, out)
            longest: int = self.cfg["base_ms"][0]  # type: ignore[index]
            self._at(swarm + min(1000 << min(self.tries, 24), longest), JOIN)
            return
        self._radio(1, out)
        self._say(packet.PULL, b"", out, now)
        self.tries += 1
        self._at(swarm + _JOIN_WAIT_MS + self.rng.below(200), JOIN)

    # Radio windows

    def _open(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Begin the window that was planned; at the boundary of an epoch it is a learning round."""
        rounds = self.rounds
        start = max(rounds.start, self.clock.swarm(now))
        self._radio(1, out)
        rounds.window = 1
        for item in (SPEAK, CLOSE, ANNOUNCE, END):
            self._drop(item)
        learning = rounds.open(rounds.start, self.sensing.model)
        close = start + rounds.window_ms
        self._at(start + self._slot_ms(), SPEAK)
        if self.sentinel:
            self._at(start + 5, ANNOUNCE)
            self._at(start + rounds.window_ms // 2, ANNOUNCE)
        if not learning:
            self._at(close, END)
            return
        self._at(close, CLOSE)
        settle = rounds.settle_ms
        if self.sentinel:
            for i in range(3):
                self._at(close + 5 + i * settle // 3, ANNOUNCE)
        else:
            self._at(close + settle // 4 + self._slot_ms() * settle // (2 * rounds.window_ms), ANNOUNCE)
        self._at(close + settle, END)

    def _speak(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Send what waits: data, the queue, and in a learning round the lesson and telemetry."""
        self._radio(1, out)
        swarm = self.clock.swarm(now)
        oldest = self.sensing.pending_since_ms()
        learning = self.rounds.round is not None
        if oldest >= 0 and swarm - oldest >= self.cfg["flush_ms"]:  # type: ignore[operator]
            self.queue.put(packet.DATA, self.sensing.flush(self.machine.state) or b"")
        telemetry = learning
        for kind, payload in self.queue.take():
            if kind == packet.TELEMETRY:
                telemetry = True
            else:
                self._say(kind, payload, out, now)
        if learning and self.senses:
            residual, gain, change = self.sensing.lesson()
            rest = self.pool.permille()
            if self.silence.allows(self.sensing.entropy, self._reputation(), self._cost(), rest):
                update = self.rounds.own_update(self.link.me, residual, gain, rest, change, self.sensing)
                if update:
                    self._say(packet.UPDATE, update, out, now)
        if telemetry:
            self._say(packet.TELEMETRY, self._telemetry(now), out, now)

    def _close(self) -> None:
        self.rounds.close(self.machine.state, self.link.peers)

    def _announce(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Send the model, and first whatever others said that sleepers should hear."""
        for frame in self.rounds.relays(self.sentinel):
            out.append((ev.SEND, frame))
            self.pool.spend_send(len(frame))
        model = self.rounds.voice(self.sensing.model, self.sentinel)
        if model is None:
            return
        if model.hash != self.sensing.model.hash:
            self.sensing.adopt(model)
        if self.sentinel:
            self.sensing.confirm(model)
        held = packet.Announcement(
            self.clock.swarm(now), self.clock.stratum, self.rounds.epoch, self.rounds.inputs(), model.channels, model.order, model.packed
        )
        self._say(packet.MODEL, held.pack(self.cfg["model_key"]), out, now)  # type: ignore[arg-type]

    def _end(self, now: int, out: "list[tuple[object, ...]]") -> None:
        """Close the window, settle the round, plan the next."""
        if self.rounds.finish(self.sensing.model, self.sentinel):
            self.sensing.begin_epoch()
            if self.sentinel:
                out.append((ev.SAVE, ev.FLASH, self.snapshot(False)))
                out.append((ev.REPORT, ev.WIRE_PEERS, telemetry.peers(self, now)))
        if not self.sentinel:
            self._radio(0, out)
        self._plan(now)

    def _radio(self, on: int, out: "list[tuple[object, ...]]") -> None:
        if self.radio != on:
            self.radio = on
            out.append((ev.RADIO, on))

    def _say(self, kind: int, payload: bytes, out: "list[tuple[object, ...]]", now: int) -> None:
        """Send a frame of our own; the gateway shows it to the host as well."""
        frame = self.link.seal(kind, payload)
        out.append((ev.SEND, frame))
        self.pool.spend_send(len(frame))
        if self.sentinel:
            self._report(now, 0, frame, out)

    # Words about itself

    def _report(self, now: int, rssi: int, frame: bytes, out: "list[tuple[object, ...]]") -> None:
        head = self.clock.swarm(now).to_bytes(8, "little") + bytes([rssi & 0xFF])
        out.append((ev.REPORT, ev.WIRE_RADIO, head + frame))

    def _hello(self, out: "list[tuple[object, ...]]") -> None:
        out.append((ev.REPORT, ev.WIRE_HELLO, telemetry.hello(self)))

    def _telemetry(self, now: int) -> bytes:
        return telemetry.pack(telemetry.values(self, now))

    def _reputation(self) -> int:
        return self.link.peers.get(self.link.me)

    def _cost(self) -> int:
        cost: int = self.cfg["cost_permille"]  # type: ignore[assignment]
        return (cost << 16) // 1000

    def _slot_ms(self) -> int:
        """The own sending slot, another one each epoch so that no pair collides for ever."""
        mixed = (self.link.me * 40503 + self.rounds.epoch * 9973) >> 3
        return self.rounds.slot_ms * (mixed % self.rounds.slots)

    # Snapshots

    def snapshot(self, compact: bool) -> bytes:
        """The whole state.  `compact`: at most 2,048 bytes, for RTC memory; drops queued frames that do not fit, and counts them."""
        blob = self._dump()
        if compact and len(blob) > RTC_BYTES:
            size = sum([len(p) + 3 for _, p in self.queue.items])
            self.queue.shrink(max(size - (len(blob) - RTC_BYTES), 0))
            blob = self._dump()
        return blob

    def _dump(self) -> bytes:
        out = Writer()
        out.uint(self.cfg["model_key"])  # type: ignore[arg-type]
        out.blob(self.mac)
        for part in (self.link, self.clock, self.sensing, self.machine, self.pool, self.silence, self.queue, self.rounds):
            part.dump(out)  # type: ignore[attr-defined]
        out.uint(self.rng.state)
        out.sints([v for entry in self.agenda for v in entry])
        out.sints([v for vote in self.votes for v in vote])
        for n in (self.radio, self.rest, self.measured, self.tries, self.battery_mv, self.awake_ms, self.radio_ms):
            out.uint(n)
        out.sint(self.last_ms)
        out.sint(self.started_ms)
        return out.finish()

    def restore(self, blob: bytes) -> None:
        """Become what `blob` says; SnapshotError, with nothing changed, when it is damaged or of another configuration."""
        fresh = Node.__new__(Node)
        fresh.cfg, fresh.sentinel, fresh.senses = self.cfg, self.sentinel, self.senses
        fresh._parts()
        try:
            fresh._load(Reader(blob))
        except ValueError as error:
            raise SnapshotError(str(error))
        for name in _STATE:
            setattr(self, name, getattr(fresh, name))

    def _load(self, data: Reader) -> None:
        if data.uint() != self.cfg["model_key"]:
            raise SnapshotError("another layout of channels")
        self.mac = data.blob()
        for part in (self.link, self.clock, self.sensing, self.machine, self.pool, self.silence, self.queue, self.rounds):
            part.load(data)  # type: ignore[attr-defined]
        self.rng.state = data.below(1 << 32)
        flat = data.sints()
        self.agenda = [(flat[i], flat[i + 1]) for i in range(0, len(flat) - 1, 2)]
        flat = data.sints()
        self.votes = [(flat[i], flat[i + 1]) for i in range(0, len(flat) - 1, 2)]
        self.radio = data.below(2)
        self.rest = data.below(3)
        self.measured = data.below(2)
        self.tries = data.uint()
        self.battery_mv = data.uint()
        self.awake_ms = data.uint()
        self.radio_ms = data.uint()
        self.last_ms = data.sint()
        self.started_ms = data.sint()
        data.done()
