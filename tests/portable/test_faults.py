"""What must not happen: clocks that leap, members that lie, snapshots that do not fit, accounts that are wrong."""

from qres import aggregate, gossip, packet
from qres import config as settings
from qres import events as ev
from qres.link import Link
from qres.model import Model, pack_vector
from qres.node import Node
from qres.reputation import Table
from qres.snapshot import RTC_BYTES, Reader
from qres.stats import Welford
from qres.wake import JUMPED, Clock
from support import below, raises, xorshift
from test_swarm import HOUR, START, Swarm, config

DAY = 24 * HOUR


def member(number):
    """A link with the swarm's key: an authenticated board that may say anything."""
    link = Link(bytes([0x5A] * 32), 64)
    link.start(bytes([2, 0, 0, 0, 0, number]), 1, False)
    return link


def announcement(node, time_ms, epoch, inputs=9, stratum=0, model=None):
    model = model or node.sensing.model
    said = packet.Announcement(time_ms, stratum, epoch, inputs, model.channels, model.order, model.packed)
    return said.pack(node.cfg["model_key"])


def test_a_leap_of_the_clock_teaches_no_drift():
    for error in (70000, HOUR, -HOUR, -26 * 365 * DAY, 50 * 365 * DAY):
        clock = Clock()
        clock.hear(0, 40 * 365 * DAY, 0)
        clock.hear(4 * HOUR, 40 * 365 * DAY + 4 * HOUR + 20, 0)
        assert 0 < clock.rate_ppb < 5000
        late = 8 * HOUR
        leap = error + late // 5 * (1 if error > 0 else -1)
        assert clock.hear(late, 40 * 365 * DAY + late + leap, 0) == JUMPED
        assert clock.rate_ppb == 0 and clock.swarm(late + 5) == 40 * 365 * DAY + late + leap + 5
        far = clock.swarm(late) + 30 * 365 * DAY
        assert clock.swarm(clock.local(far)) >= far


def test_nodes_follow_when_the_sentinels_time_is_set():
    for shift in (67 * 60000, -5 * HOUR):
        swarm = Swarm(3).run(START + 31 * HOUR)
        sentinel = swarm.nodes[0]
        now = START + 31 * HOUR
        swarm.step(0, (ev.COMMAND, now, "time", sentinel.clock.swarm(now) + shift))
        swarm.run(START + 60 * HOUR)
        later = START + 60 * HOUR
        for i, n in enumerate(swarm.nodes):
            assert abs(n.clock.swarm(later) - swarm.nodes[0].clock.swarm(later)) < 50, (shift, i)
            assert n.sensing.model.hash == sentinel.sensing.model.hash
        samples = swarm.nodes[1].sensing.samples
        swarm.run(START + 66 * HOUR)
        assert swarm.nodes[1].sensing.samples >= samples + 5


def test_only_the_known_sentinel_sets_the_clock_and_the_model():
    swarm = Swarm(3).run(START + 13 * HOUR)
    evil = Model(2, 4, [90000] * 10)
    for target in (swarm.nodes[0], swarm.nodes[1]):
        now = target.last_ms
        before = (target.sensing.model.hash, target.clock.swarm(now), target.rounds.epoch)
        epoch = target.rounds.epoch_of(target.clock.swarm(now))
        for time_ms, e in ((now + 9 * DAY, epoch), (now, 0xFFFFFFFF), (now, epoch), ((1 << 48) - 1, epoch)):
            frame = member(77).seal(packet.MODEL, announcement(target, time_ms, e, 255, 0, evil))
            target.step((ev.PACKET, now, frame, -40))
        assert (target.sensing.model.hash, target.clock.swarm(now), target.rounds.epoch) == before
    assert swarm.nodes[1].link.rejected > 0


def test_the_sentinel_itself_cannot_name_an_epoch_of_the_future():
    swarm = Swarm(2).run(START + 7 * HOUR)
    node, now = swarm.nodes[1], swarm.nodes[1].last_ms
    body = announcement(node, swarm.nodes[0].clock.swarm(now), 0xFFFFFFFF)
    before = node.link.rejected
    node.step((ev.PACKET, now, swarm.nodes[0].link.seal(packet.MODEL, body), -40))
    assert node.link.rejected == before + 1 and node.rounds.epoch < 1 << 20


def test_one_liar_does_not_set_the_model_in_calm():
    base = Model(1, 2)
    for n in (3, 10, 30):
        for lie in ([131071] * 3, [-131071] * 3):
            r, peers = gossip.Round(9, base), Table(64)
            for node in range(n):
                values = lie if not node else [4000 + node, 100, 2000]
                delta = pack_vector(1, 2, values)
                assert r.add(node, packet.Update(9, base.hash, 1, 9000, bytes(8), delta))
            values = r.close("adaptive", 300, 0, peers).values
            assert 3990 <= values[0] <= 4000 + n and 96 <= values[1] <= 104
    huge = bytes([17]) + b"\x00\x80" * 3
    assert not gossip.Round(9, base).add(1, packet.Update(9, base.hash, 1, 1, bytes(8), huge))


def test_a_liar_cannot_fill_the_memory_of_a_round():
    r = gossip.Round(9, Model(1, 2))
    for i in range(200):
        m = Model(1, 2, [4 * i, 0, 0])
        r.consider(packet.Announcement(0, 1, 9, 255, 1, 2, m.packed), False)
    assert len(r.heard) <= 32


def test_winsorized_weights_still_count():
    rule = aggregate.get("adaptive")
    entries = [(i, 60000 if i == 3 else 100, [10 * i]) for i in range(7)]
    assert rule(entries, 2, 0)[0] == 30
    assert rule(entries, 2, 2)[0] == 30
    assert rule([(1, 5, [8])], 0, 0) == [8]


def test_alerts_of_another_time_do_not_count():
    swarm = Swarm(3).run(START + 30 * HOUR)
    node, now = swarm.nodes[1], swarm.nodes[1].last_ms
    own = node.rounds.epoch_of(node.clock.swarm(now))
    for i in range(3):
        link = member(60 + i)
        node.step((ev.PACKET, now, link.seal(packet.ALERT, packet.pack_alert(2, 60000, own)), -40))
        node.link.peers.change(link.me, 40000)
        if i == 1:
            for far in (0xFFFFFFFF, 0, own + 2):
                node.step((ev.PACKET, now, member(70).seal(packet.ALERT, packet.pack_alert(2, 1, far)), -40))
    assert len(node.votes) == 3
    frame = member(60)
    frame.counter = 9
    node.step((ev.PACKET, now, frame.seal(packet.ALERT, packet.pack_alert(2, 60000, own)), -40))
    assert node.machine.state == 2 and not node.votes  # the consensus gate opened


def test_rtc_memory_always_has_room():
    channels = [{"name": "c%d" % i} for i in range(15)]
    cfg = dict(config("scheduled"), channels=channels, sensors=[1] * 15, peers=128)
    node = Node(cfg)
    node.step((ev.BOOT, START, ev.POWER_ON, 1, b"\x02\x00\x00\x00\x00\x09", 1, bytes(5)))
    for i in range(120):
        node.step((ev.PACKET, START + i, member(i + 20).seal(packet.PULL, b""), -50))
    for _ in range(30):
        node.queue.put(packet.DATA, bytes(200))
    assert len(node.snapshot(False)) > RTC_BYTES
    now, saved = START + 200, None
    for _ in range(12):
        actions = node.step((ev.TIMER, now))
        saved = [a[2] for a in actions if a[0] == ev.SAVE] or saved
        now = actions[-1][1]
    assert saved and len(saved[-1]) <= RTC_BYTES and node.queue.dropped
    Node(cfg).restore(saved[-1])
    assert node.link.me in node.link.peers.peers


def test_a_crash_is_not_charged_as_radio_time():
    swarm = Swarm(2).run(START + 25 * HOUR)
    node = swarm.nodes[1]
    node.radio = 1
    blob = node.snapshot(False)
    again = Node(config("scheduled"))
    again.restore(blob)
    before = again.pool.level_uj
    again.step((ev.BOOT, node.last_ms + 2 * DAY, ev.WATCHDOG, 5, swarm.macs[1], 2, bytes(5)))
    assert again.pool.level_uj == before and again.radio_ms == 0 and again.awake_ms == 0


def test_sensing_in_light_sleep_is_charged_as_awake():
    swarm = Swarm(2).run(START + 10 * HOUR + 1)
    node = Node(config("scheduled", light_ms=DAY))
    node.restore(swarm.nodes[1].snapshot(False))
    now = node.last_ms
    while True:
        actions = node.step((ev.TIMER, now))
        if (ev.SENSE,) in actions:
            break
        now = actions[-1][1]
    awake = node.awake_ms
    node.step((ev.SAMPLE, now + 750, (1, 2)))
    assert node.awake_ms == awake + 750


def test_low_energy_still_hurries_to_the_next_window():
    swarm = Swarm(3).run(START + 24 * HOUR)
    swarm.storm = 40000
    node = swarm.nodes[1]
    node.pool.measured(250)
    calm = node.next_window(node.last_ms)
    node.machine.force_storm()
    assert node.next_window(node.last_ms) <= calm
    assert node.next_window(node.last_ms) - node.clock.swarm(node.last_ms) <= HOUR


def test_no_sample_is_skipped_where_windows_end():
    swarm = Swarm(2, period_ms=HOUR // 30, base_ms=[HOUR, HOUR, HOUR]).run(START + 8 * HOUR)
    rows = sorted(swarm.decoded()[1])
    assert len(rows) > 100 and rows == list(range(rows[0], rows[0] + len(rows)))


def test_extreme_statistics_survive_a_snapshot():
    from qres.snapshot import Writer

    w = Welford()
    for i in range(4000):
        w.push(-(1 << 31) if i & 1 else (1 << 31) - 1)
    out = Writer()
    out.fields(w)
    again = Welford()
    Reader(out.finish()).fields(again)
    assert (again.n, again.s, again.q) == (w.n, w.s, w.q)


def test_layouts_that_cannot_work_are_refused_and_names_in_any_script_agree():
    cfg = config("scheduled")
    many = [{"name": "c%d" % i} for i in range(15)]
    raises(settings.ConfigError, settings.load, dict(cfg, channels=many, order=6))
    assert settings.load(dict(cfg, channels=[{"name": "t", "unit": "°C"}]))["model_key"] == 16771


def test_the_shortest_period_fits_its_packet():
    from qres.codec import decode
    from qres.encoder import Encoder

    e = Encoder(1, 0, 232, None)
    index = (1 << 47) // 10 - 1
    n = 0
    while e.add(index + n, (n * 7919 % 5003,)):
        n += 1
    data = e.finish(10, 0)
    assert len(data) <= 232 and decode(data, {}).index == index


def test_a_node_whose_state_is_too_large_for_deep_sleep_sleeps_lightly():
    channels = [{"name": "c%d" % i} for i in range(15)]
    node = Node(config("scheduled", channels=channels, sensors=[1] * 15, order=1, light_ms=1000, period_ms=600000))
    swarm_ms = START
    node.step((ev.BOOT, swarm_ms, ev.POWER_ON, 5, b"\x02\x00\x00\x00\x00\x09", 1, bytes(5)))
    node.clock.set(swarm_ms, swarm_ms, 1)
    node.clear()
    node.plan(swarm_ms)
    kinds = []
    source = xorshift(4)
    now = swarm_ms
    for _ in range(300):
        actions = node.step((ev.TIMER, now))
        if actions[-1][0] == ev.SENSE:
            actions = node.step((ev.SAMPLE, now, tuple([below(source, 1 << 20) for _ in range(15)])))
        assert actions[-1][0] == ev.SLEEP
        kinds.append(actions[-1][2])
        now = actions[-1][1]
    assert ev.DEEP in kinds and kinds[-1] == ev.LIGHT and node.sensing.samples > 100
