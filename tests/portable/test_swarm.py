"""node: a small swarm in one process; snapshots, hostile frames, and a life that hashes the same on every machine."""

from qres import events as ev
from qres import packet, telemetry
from qres.codec import decode
from qres.compat import crc32
from qres.model import unpack
from qres.node import Node
from qres.snapshot import RTC_BYTES, SnapshotError
from support import below, noise, raises, xorshift

HOUR = 3600000
START = 1357084800000 - 5000  # five seconds before a day begins
CHANNELS = [{"name": "a", "scale": "0.1"}, {"name": "b"}]
BUILD = b"\x01\x02\x03\x04\x00"


def config(role, **changes):
    cfg = {
        "role": role,
        "swarm_key": "5a" * 32,
        "channels": CHANNELS,
        "sensors": [] if role == "sentinel" else [1],
        "period_ms": HOUR,
        "epoch_ms": 6 * HOUR,
        "flush_ms": 6 * HOUR,
        "base_ms": [3 * HOUR, HOUR, HOUR],
        "min_gain_permille": 5,
        "max_residual_permille": 10000,
    }
    cfg.update(changes)
    return cfg


class Swarm:
    """Nodes on one clock, frames that reach everybody whose radio is on, deep sleep as a new Node from RTC memory."""

    def __init__(self, count, lose=0, sentinel=True, **changes):
        self.roles = ["sentinel" if sentinel and not i else "scheduled" for i in range(count)]
        self.changes = changes
        self.nodes = [Node(config(role, **changes)) for role in self.roles]
        self.macs = [bytes([2, 0, 0, 0, 0, i + 1]) for i in range(count)]
        self.source = xorshift(91)
        self.lose = lose
        self.x = [[100 * i, -50 * i] for i in range(count)]
        self.truth = [{} for _ in range(count)]
        self.rtc = [b""] * count
        self.radio = [0] * count
        self.due = [(START, i, ev.BOOT) for i in range(count)]
        self.reports = []
        self.frames = 0
        self.crc = 0
        self.apart = ()  # pairs (sender, listener) that are out of range
        self.storm = 0  # a disturbance of the signal from here on
        self.host = None  # decodes what the sentinel reports, and acknowledges it

    def value(self, i, t):
        """What node i senses: a walk of its own, remembered as the truth."""
        self.x[i] = [v + below(self.source, 21) - 10 + self.storm * (below(self.source, 3) - 1) for v in self.x[i]]
        row = tuple([None if below(self.source, 40) == 0 else v for v in self.x[i]])
        self.truth[i][(t + HOUR // 2) // HOUR] = row
        return row

    def step(self, i, event):
        """One event into node i and everything that follows from it at this instant."""
        queue = [event]
        sent = []
        while queue:
            event = queue.pop(0)
            actions = self.nodes[i].step(event)
            self.crc = crc32(repr((i, event, actions)).encode(), self.crc)
            for a in actions:
                if a[0] == ev.SEND:
                    sent.append(a[1])
                elif a[0] == ev.RADIO:
                    self.radio[i] = a[1]
                elif a[0] == ev.SAVE and a[1] == ev.RTC:
                    assert len(a[2]) <= RTC_BYTES
                    self.rtc[i] = a[2]
                elif a[0] == ev.REPORT:
                    self.reports.append((i, a[1], a[2]))
                elif a[0] == ev.SENSE:
                    queue.append((ev.POWER, event[1], 900, 3900))
                    queue.append((ev.SAMPLE, event[1], self.value(i, event[1])))
                elif a[0] == ev.SLEEP:
                    assert a[1] > event[1]
                    self.due[i] = (a[1], i, ev.BOOT if a[2] == ev.DEEP else ev.TIMER)
        if self.host and i == 0:
            for name, names in self.host.answers(self.reports):
                self.step(0, (ev.COMMAND, event[1], name, names))
        for frame in sent:
            self.frames += 1
            for j in range(len(self.nodes)):
                if (
                    j != i
                    and self.radio[j]
                    and (i, j) not in self.apart
                    and not (self.lose and below(self.source, 100) < self.lose)
                ):
                    self.step(j, (ev.PACKET, event[1], frame, -60))

    def run(self, until):
        """Until swarm time `until`; the earliest board goes first."""
        while min(self.due)[0] < until:
            t, i, tag = min(self.due)
            if tag == ev.TIMER:
                self.step(i, (ev.TIMER, t))
                continue
            cause = ev.DEEP_SLEEP if self.rtc[i] else ev.POWER_ON
            if self.rtc[i]:
                self.nodes[i] = Node(config(self.roles[i], **self.changes))
                self.nodes[i].restore(self.rtc[i])
                self.radio[i] = 0
            self.step(i, (ev.BOOT, t, cause, 1000 + i, self.macs[i], 1, BUILD))
        return self

    def decoded(self):
        """Node number -> {sample index: row}, from what the gateway reported."""
        models, rows = {}, [{} for _ in self.nodes]
        for _, kind, payload in self.reports:
            if kind != ev.WIRE_RADIO:
                continue
            kind, node, _, _, body = packet.parse(payload[9:])
            if kind == packet.MODEL:
                held = packet.unpack_model(body)
                if not held.channels:
                    continue
                m = unpack(held.channels, held.order, held.packed)
                models[m.hash] = m
            elif kind == packet.DATA:
                block = decode(body, models)
                for k, row in enumerate(block.steps):
                    rows[(node & 255) - 1][block.index + k] = row
        return rows


def test_a_swarm_learns_one_model_and_the_host_reads_every_sample():
    swarm = Swarm(5).run(START + 60 * HOUR)
    hashes = {n.sensing.model.hash for n in swarm.nodes}
    assert len(hashes) == 1
    assert any(swarm.nodes[0].sensing.model.values)
    rows = swarm.decoded()
    for i in range(1, 5):
        assert len(rows[i]) >= 48
        for index, row in sorted(rows[i].items()):
            assert row == swarm.truth[i][index]
        first = min(rows[i])
        assert sorted(rows[i]) == list(range(first, first + len(rows[i])))
        assert swarm.nodes[i].rounds.agreed >= 8
        assert swarm.nodes[i].link.rejected == 0


def test_with_a_fifth_of_the_frames_lost_what_arrives_is_right_and_models_agree():
    swarm = Swarm(6, lose=20).run(START + 60 * HOUR)
    rows = swarm.decoded()
    for i in range(1, 6):
        assert rows[i]
        for index, row in sorted(rows[i].items()):
            assert row == swarm.truth[i][index]
    held = [n.sensing.model.hash for n in swarm.nodes]
    assert len([h for h in held if h == held[0]]) >= 5


def test_without_a_sentinel_nodes_that_share_a_clock_agree_too():
    swarm = Swarm(5).run(START + 13 * HOUR)  # the clock comes from the sentinel, which then falls silent
    swarm.due[0] = (START + 10**12, 0, ev.TIMER)
    swarm.radio[0] = 0
    swarm.run(START + 49 * HOUR)
    hashes = {n.sensing.model.hash for n in swarm.nodes[1:]}
    assert len(hashes) == 1 and hashes != {swarm.nodes[0].sensing.model.hash}


def test_who_misses_a_round_pulls_the_model_that_the_beacon_names():
    boundary = START + 5000 + 12 * HOUR
    swarm = Swarm(4).run(boundary)
    swarm.radio[2] = 0  # deaf for the whole round
    swarm.run(boundary + 5000)
    new = swarm.nodes[0].sensing.model.hash
    assert {n.sensing.model.hash for n in swarm.nodes} == {new, swarm.nodes[2].sensing.model.hash}
    assert swarm.nodes[2].sensing.model.hash != new
    swarm.run(boundary + 4 * HOUR)
    assert swarm.nodes[2].sensing.model.hash == new
    pulls = [p for _, k, p in swarm.reports if k == ev.WIRE_RADIO and p[9] & 15 == packet.PULL]
    assert packet.parse(pulls[-1][9:])[1] & 255 == 3


def test_updates_reach_a_gateway_out_of_range_over_two_hops():
    for hops in (1, 2):
        swarm = Swarm(3, hops=hops, min_gain_permille=0).run(START + 5000 + 18 * HOUR - 2000)
        swarm.apart = ((0, 2), (2, 0))  # from here on only node 1 hears both
        while swarm.nodes[0].rounds.round is None or not swarm.nodes[0].rounds.closed:
            swarm.run(min(swarm.due)[0] + 1)
        updates = swarm.nodes[0].rounds.round.updates
        assert packet.node_id(swarm.macs[1]) in updates
        assert (packet.node_id(swarm.macs[2]) in updates) == (hops == 2)


def test_an_on_demand_node_keeps_to_the_boundaries():
    starts = []
    for role in ("scheduled", "on-demand"):
        node = Node(config(role))
        node.clock.reference(START + 5001)
        starts.append(node.next_window(START + 5001) - START - 5000)
    assert starts == [3 * HOUR, 6 * HOUR]


def test_a_swarm_of_persistence_works_and_learns_scales_only():
    swarm = Swarm(3, predictor="persistence").run(START + 30 * HOUR)
    values = swarm.nodes[1].sensing.model.values
    assert not any(values[:4]) and values[4] > 0
    rows = swarm.decoded()
    assert len(rows[1]) > 20
    for index, row in sorted(rows[1].items()):
        assert row == swarm.truth[1][index]


def test_sleepers_sleep():
    swarm = Swarm(3).run(START + 50 * HOUR)
    n = swarm.nodes[1]
    assert n.sensing.samples >= 49
    assert n.awake_ms * 1000 < 4 * 50 * HOUR  # awake less than 0.4 % of the time
    assert 0 < n.radio_ms < n.awake_ms


def test_a_storm_wakes_the_radio_at_once():
    swarm = Swarm(4).run(START + 200 * HOUR)
    calm = swarm.frames
    swarm.storm = 4000
    swarm.run(START + 208 * HOUR)
    assert max([n.machine.state for n in swarm.nodes[1:]]) == 2
    assert [1 for _, k, p in swarm.reports if k == ev.WIRE_RADIO and p[9] & 15 == packet.ALERT]
    assert swarm.frames > calm


def test_restore_then_step_is_the_same_as_step_for_every_kind_of_event():
    swarm = Swarm(4).run(START + 20 * HOUR)
    sealed = swarm.nodes[1].link.seal(packet.PULL, b"")
    for hours in (0, 3, 4, 5):
        swarm.run(START + (20 + hours) * HOUR + 700)
        for i in range(4):
            now = swarm.nodes[i].last_ms + 1
            blob = swarm.nodes[i].snapshot(False)
            for event in (
                (ev.BOOT, now, ev.DEEP_SLEEP, 5, swarm.macs[i], 1, BUILD),
                (ev.BOOT, now, ev.POWER_ON, 5, swarm.macs[i], 2, BUILD),
                (ev.SAMPLE, now, (5, None)),
                (ev.PACKET, now, sealed, -70),
                (ev.PACKET, now, b"x" * 40, -70),
                (ev.TIMER, now + HOUR),
                (ev.POWER, now, 500, 3700),
                (ev.SENT, now, 1),
                (ev.COMMAND, now, "time", START + 30 * HOUR),
                (ev.COMMAND, now, "status", None),
                (ev.COMMAND, now, "dance", None),
            ):
                a, b = Node(config(swarm.roles[i])), Node(config(swarm.roles[i]))
                a.restore(blob)
                b.restore(blob)
                assert a.snapshot(False) == blob
                first = a.step(event)
                assert first == b.step(event), event
                c = Node(config(swarm.roles[i]))
                c.restore(a.snapshot(False))
                assert c.snapshot(False) == b.snapshot(False)
                later = (ev.TIMER, now + 2 * HOUR)
                assert c.step(later) == b.step(later), event


def test_snapshots_of_others_are_refused_and_change_nothing():
    node = Swarm(3).run(START + 9 * HOUR).nodes[1]
    blob = node.snapshot(False)
    other = Node(config("scheduled", order=3))
    before = other.snapshot(False)
    raises(SnapshotError, other.restore, blob)
    source = xorshift(3)
    for _ in range(60):
        bad = bytearray(blob[:-4])
        bad[3 + below(source, len(bad) - 3)] ^= 1 << below(source, 8)
        bad += crc32(bad).to_bytes(4, "little")  # damaged, and yet the checksum is right
        try:
            Node(config("scheduled")).restore(bytes(bad))
        except SnapshotError:
            pass
    assert other.snapshot(False) == before


def test_hostile_frames_never_raise_and_are_counted():
    swarm = Swarm(3).run(START + 12 * HOUR + 300)
    source = xorshift(6)
    liar = swarm.nodes[2].link
    for target in (swarm.nodes[0], swarm.nodes[1]):
        now = target.last_ms
        before = target.link.rejected
        for _ in range(150):
            target.step((ev.PACKET, now, noise(source, below(source, 256)), -90))
        assert target.link.rejected == before + 150
        for kind in range(1, 7):  # authentic frames with bodies of noise
            for size in (0, 3, 16, 25, 60, 200):
                target.step((ev.PACKET, now, liar.seal(kind, noise(source, size)), -40))
        assert target.snapshot(True)


def test_commands():
    swarm = Swarm(2).run(START + 2 * HOUR)
    sentinel = swarm.nodes[0]
    now = sentinel.last_ms
    replies = [a for a in sentinel.step((ev.COMMAND, now, "status", None)) if a[0] in (ev.REPLY, ev.REPORT)]
    values = telemetry.unpack(packet.parse(replies[0][2][9:])[4])
    assert values["mac"] == swarm.macs[0] and values["role"] == 1
    assert replies[1][1] == ev.WIRE_PEERS and b'"peers":[[' in replies[1][2], "a sentinel tells whom it knows"
    assert replies[2] == (ev.REPLY, b'{"cmd":"status","ok":true}')
    said = [a for a in sentinel.step((ev.COMMAND, now, "ota", "AAECAwQF")) if a[0] != ev.SLEEP]
    heard = packet.parse(said[0][1])
    assert heard[0] == packet.OTA and heard[4] == b"\0\1\2\3\4\5" and (ev.STAGE, heard[4]) in said
    node = swarm.nodes[1]
    node.radio = node.rounds.window = 1
    assert (ev.STAGE, heard[4]) in node.step((ev.PACKET, node.last_ms, said[0][1], -50))
    spoken = node.step((ev.OTA, node.last_ms, b"\3abcd\0"))
    assert packet.parse(spoken[0][1])[4] == b"\3abcd\0" and spoken[-1][1] > node.last_ms
    assert not [a for a in sentinel.step((ev.PACKET, now, spoken[0][1], -50)) if a[0] == ev.STAGE], (
        "boards steer nobody"
    )
    for wrong in ("", "A", "A" * 400, 5, None, "%%%%"):
        out = sentinel.step((ev.COMMAND, now, "ota", wrong))
        assert (ev.REPLY, b'{"error":"unknown command or argument"}') in out, wrong
    assert not [a for a in node.step((ev.COMMAND, node.last_ms, "ota", "AAAA")) if a[0] == ev.SEND]
    sentinel.step((ev.COMMAND, now, "time", 1764000000000))
    assert sentinel.clock.swarm(now + 5) == 1764000000005
    for name, argument in (("time", -1), ("time", "x"), ("format", None)):
        out = sentinel.step((ev.COMMAND, now, name, argument))
        assert (ev.REPLY, b'{"error":"unknown command or argument"}') in out


def test_nobody_answers_and_the_node_keeps_asking_ever_more_rarely():
    node = Node(config("scheduled"))
    now, asked = START, []
    actions = node.step((ev.BOOT, now, ev.POWER_ON, 1, b"\x02\x00\x00\x00\x00\x09", 1, BUILD))
    for _ in range(60):
        asked += [now for a in actions if a[0] == ev.SEND]
        sleep = actions[-1]
        assert sleep[0] == ev.SLEEP
        now = sleep[1]
        tag = (
            (ev.BOOT, now, ev.DEEP_SLEEP, 1, b"\x02\x00\x00\x00\x00\x09", 1, BUILD)
            if sleep[2] == ev.DEEP
            else (ev.TIMER, now)
        )
        actions = node.step(tag)
    assert len(asked) > 10 and asked[-1] - asked[-5] > HOUR
    assert node.radio_ms < 60000


def test_a_life_hashes_the_same_on_every_machine():
    swarm = Swarm(4, lose=10).run(START + 30 * HOUR)
    swarm.storm = 900
    swarm.run(START + 40 * HOUR)
    last = crc32(b"".join([n.snapshot(False)[:-4] for n in swarm.nodes]))  # without their own checksums
    assert (swarm.frames, swarm.crc, last) == GOLDEN, (swarm.frames, swarm.crc, last)


GOLDEN = (106, 1260139682, 2882144229)
