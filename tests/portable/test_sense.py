"""regime, energy, wake, reputation: what a node makes of its signal, its battery and its peers."""

from qres import energy, regime, reputation, wake
from qres.config import POWER
from qres.fixed import ONE
from qres.regime import CALM, PRESTORM, STORM, Machine
from support import raises


def states(profile, entropies):
    machine = Machine(profile)
    return [machine.push(e) for e in entropies]


def test_a_single_spike_never_leaves_calm():
    for background in (0, ONE // 10, 19000):
        for height in (ONE // 2, ONE):
            line = [background] * 20 + [height] + [background] * 20
            assert set(states("default", line)) == {CALM}


def test_a_burst_of_five_is_storm_within_five():
    line = states("default", [0] * 30 + [ONE] * 5)
    assert line[30:] == [CALM, PRESTORM, PRESTORM, PRESTORM, STORM]


def test_ramps_are_seen():
    for length in (4, 16, 64):
        ramp = [ONE * (i + 1) // length for i in range(length)] + [ONE] * 3
        assert STORM in states("default", [0] * 10 + ramp), length


def test_storm_lasts_at_least_fifty_samples_and_ends():
    line = states("default", [0] * 5 + [ONE] * 5 + [0] * 80)
    first = line.index(STORM)
    last = len(line) - 1 - line[::-1].index(STORM)
    assert last - first + 1 == regime.T_MIN and line[-1] == CALM
    again = states("default", [0] * 5 + [ONE] * 70 + [0] * 20)
    assert again[75:].index(CALM) == 6  # smoothed < 0.30 from the third quiet sample on, five times


def test_a_false_alarm_returns_to_calm():
    assert states("default", [0] * 5 + [ONE] * 2 + [0] * 10)[-1] == CALM
    hover = [0] * 5 + [ONE] * 2 + [25000] * 60  # neither high nor settled: it expires
    line = states("default", hover)
    assert line[6] == PRESTORM and line[-1] == CALM
    assert line[6:].index(CALM) == regime.T_MIN


def golden(profile, levels):
    """The regimes, as digits, that entropies in hundredths lead to; a run is (level, how often)."""
    machine = Machine(profile)
    return "".join([str(machine.push(ONE * level // 100)) for level, times in levels for _ in range(times)])


def test_golden_traces_of_the_seed_profile():
    # Calm to PreStorm: derivative of the average > 0.15 twice; PreStorm to Storm: raw > 0.45 three times
    assert golden("seed", ((0, 3), (100, 6))) == "000011122"
    # PreStorm to Calm at the first derivative < 0
    assert golden("seed", ((0, 3), (100, 2), (0, 5))) == "0000110000"
    # one sample is enough for PreStorm, because the average keeps it
    assert golden("seed", ((0, 3), (100, 1), (0, 4))) == "00001100"
    # a slow ramp never has that derivative: not seen
    assert golden("seed", [(i, 1) for i in range(0, 100, 2)] + [(100, 20)]) == "0" * 70
    # Storm to Calm: average < 0.30 five times, in a Storm of more than 50 samples
    assert golden("seed", ((0, 3), (100, 6), (0, 60))) == "0000111" + "2" * 51 + "0" * 11
    # a lull that ends begins the count anew
    assert golden("seed", ((0, 3), (100, 60), (0, 5), (100, 3), (0, 10))) == "0000111" + "2" * 70 + "0000"


def test_golden_traces_of_the_default_profile():
    assert golden("default", ((0, 3), (50, 5))) == "00001112"
    assert golden("default", ((0, 3), (40, 4))) == "0000111"  # derivative 0.20 twice, never high
    assert golden("default", ((0, 3), (50, 2), (0, 4))) == "000011100"  # settled twice
    assert golden("default", ((0, 3), (100, 5), (0, 54))) == "0000111" + "2" * 50 + "0" * 5
    # neither high nor settled: back after 50 samples, and deaf for 50
    assert golden("default", ((0, 3), (50, 2), (35, 50), (100, 60))) == "0000" + "1" * 50 + "0" * 50 + "1112" + "2" * 7


def test_consensus_gate():
    high = regime.VOTE_REPUTATION
    assert not regime.gate_opens([(1, ONE), (2, ONE)])
    assert not regime.gate_opens([(1, ONE), (1, ONE), (1, high)])  # one voter, three times
    assert not regime.gate_opens([(1, ONE), (2, ONE), (3, high - 1)])
    assert regime.gate_opens([(1, ONE), (2, ONE), (3, high)])


def test_pool_accounts_in_microjoules_and_caps_with_hysteresis():
    pool = energy.Pool(POWER, 1000000)
    pool.spend_time("radio", 1000)
    assert pool.level_uj == 1000000 - POWER["radio_uw"] and pool.permille() == 736
    pool.measured(99)
    assert pool.capped == 1
    pool.measured(149)
    assert pool.capped == 1
    pool.measured(150)
    assert pool.capped == 0
    pool.spend(10**12)
    assert pool.level_uj == 0 and pool.spent_uj > 10**12
    mains = energy.Pool(POWER, 1000000, True)
    mains.spend(10**12)
    assert mains.permille() == 1000 and mains.spent_uj == 10**12


def test_silence():
    s = energy.Silence()
    assert s.allows(ONE, ONE, ONE // 2, 500)  # useful enough
    assert not s.allows(100, ONE, ONE // 2, 500)  # not useful, not rich
    assert s.allows(0, ONE, ONE // 2, 900)  # rich
    assert not s.allows(ONE, ONE, 0, 149)  # below the reserve
    for _ in range(99):
        s.push(0, CALM)
    assert s.state == energy.ACTIVE
    s.push(0, CALM)
    assert s.state == energy.DEEP_SILENCE
    for entropy, quiet in ((ONE // 40, True), (ONE // 10, False)):  # variances 0.0006 and 0.01
        other = energy.Silence()
        for i in range(400):
            other.push(entropy * (i & 1) * 2, CALM)
        assert (other.state == energy.DEEP_SILENCE) == quiet
    beats = 0
    for _ in range(200):
        s.push(0, CALM)
        beats += s.allows(ONE, ONE, 0, 900)
    assert beats == 4  # one in fifty
    s.push(ONE, STORM)
    assert s.state == energy.ALERT and s.allows(0, 0, ONE, 301) and not s.allows(0, 0, ONE, 300)


def test_clock_learns_offset_and_drift():
    clock = wake.Clock()
    t = 5000000
    local = 0
    assert clock.hear(local, t, 0) and clock.swarm(0) == t and clock.stratum == 1
    for _ in range(6):  # the own clock is 200 ppm slow
        local += 14400000 - 2880
        t += 14400000
        clock.hear(local, t, 0)
    assert clock.swarm(local + 14400000 - 2880) - (t + 14400000) in range(-3, 4)
    assert clock.error_ms < 4
    for ahead in (1, 999, 14400000):
        due = t + ahead
        at = clock.local(due)
        assert clock.swarm(at) >= due > clock.swarm(at - 1)


def test_clock_believes_only_those_nearer_to_the_reference():
    clock = wake.Clock()
    assert not clock.hear(0, 99, wake.UNSYNCED)
    assert clock.hear(0, 1000, 3) and clock.stratum == 4
    assert not clock.hear(10, 5000, 4)
    assert clock.hear(10, 1010, 1) and clock.stratum == 2


def test_intervals_and_slots_nest():
    base = 14400000
    assert wake.interval_ms(base, ONE * 9 // 10, False) // 1000 == 13679  # 0.95 x base
    assert wake.interval_ms(base, ONE // 5, False) // 1000 == 8639  # 0.60 x base
    assert wake.interval_ms(base, ONE * 9 // 10, True) == base
    assert wake.interval_ms(base, ONE // 5, True) == base >> 1
    for now in (0, 1, base - 1, base, 12345678901):
        long = wake.next_slot_ms(now, base)
        assert long > now and long % base == 0
        assert wake.next_slot_ms(now, base >> 1) <= long


def test_queue_drops_the_oldest_and_counts():
    q = wake.Queue(3)
    for i in range(5):
        q.put(1, bytes([i]))
    assert q.dropped == 2 and [p for _, p in q.items] == [b"\x02", b"\x03", b"\x04"]
    q.shrink(8)
    assert len(q.items) == 2 and q.dropped == 3
    assert len(q.take()) == 2 and q.items == []


def test_influence_is_capped_and_zero_below_the_floor():
    for peers in (5, 30, 100):
        last = 0
        for rep in range(0, ONE + 1, 1024):
            w = reputation.influence(rep, peers)
            assert w >= last and w <= reputation.CAP
            assert (w == 0) == (rep < reputation.FLOOR)
            last = w
    half = ONE // 2
    assert [reputation.influence(half, n) for n in (10, 30)] == [ONE // 4, ONE // 8]
    assert abs(reputation.influence(half, 60) - 5792) < 2  # 0.5 ^ 3.5


def test_reputation_stays_within_its_bounds():
    t = reputation.Table(4)
    t.know(1, 0)
    for _ in range(100):
        t.change(1, reputation.VALID)
    assert t.get(1) == ONE
    for _ in range(100):
        t.change(1, reputation.DRIFT)
    assert t.get(1) == 0 and t.get(99) == reputation.START


def test_configuration_errors_name_the_key():
    from qres import config

    good = {"swarm_key": "00" * 32, "channels": [{"name": "t"}]}
    cfg = config.load(good)
    assert cfg["key"] == bytes(32) and cfg["channels"][0]["scale"] == "1" and "key" not in good
    for key, value in (
        ("period_ms", 1),
        ("period_ms", "x"),
        ("role", "boss"),
        ("swarm_key", "12"),
        ("swarm_key", "zz" * 32),
        ("channels", []),
        ("channels", [{"name": 'a"b'}]),
        ("base_ms", [1, 2]),
        ("power", {"sleep_uw": -1}),
        ("nonsense", 1),
    ):
        bad = dict(good)
        bad[key] = value
        assert key in str(raises(config.ConfigError, config.load, bad)), key
