"""detect, joint: how unusual a value, a channel and a row are, spikes, and the faults of sensors."""

from qres.detect import ALARM_Q8, MISSING, SATURATED, STUCK, Detector, Spikes, seed_entropy
from qres.fixed import MAX32, MIN32, ONE
from qres.joint import TRAINING, Joint
from qres.regime import CALM, STORM, Machine
from support import below, xorshift

HIGH = 29491  # entropy 0.45


def noise(source, size):
    """Roughly normal, deviation about size / 1.7."""
    return below(source, size) + below(source, size) + below(source, size) + below(source, size) - 2 * size


def entropies(detector, values):
    return [detector.push(v) for v in values]


def settled(seed=8, rows=3000, level=5000):
    """A detector that knows a noise of about +-60 around `level`, and the source of more."""
    source = xorshift(seed)
    detector = Detector(0)
    entropies(detector, [level + noise(source, 100) for _ in range(rows)])
    return detector, source


def test_noise_is_calm_and_an_outlier_is_not():
    detector, source = settled()
    machine = Machine("default")
    for _ in range(3000):
        assert machine.push(detector.push(5000 + noise(source, 100))) == CALM
    assert detector.push(7000) == ONE
    assert detector.score >= ALARM_Q8
    assert detector.push(5001) == 0


def test_one_sample_never_leaves_calm_however_high():
    for height in (500, 5000, 1 << 20, MAX32, MIN32):
        detector, source = settled()
        machine = Machine("default")
        for t in range(300):
            value = height if t == 100 else 5000 + noise(source, 100)
            assert machine.push(detector.push(value)) == CALM, (height, t)


def test_a_burst_of_five_is_storm_within_five():
    for height in (1500, 20000):
        detector, _ = settled()
        machine = Machine("default")
        line = [machine.push(e) for e in entropies(detector, [5000 + height] * 5)]
        assert line[4] == STORM, (height, line)


def test_ramps_are_seen():
    for length in (4, 16, 64):
        detector, source = settled()
        machine = Machine("default")
        ramp = [5000 + 3000 * (i + 1) // length + noise(source, 100) for i in range(length)] + [8000] * 3
        assert STORM in [machine.push(e) for e in entropies(detector, ramp)], length


def test_an_event_counts_once_and_an_outlier_does_not_blind():
    detector, source = settled()
    alarms = 0
    for t in range(200):
        detector.push(5000 + noise(source, 100) + (3000 if t >= 20 else 0))
        alarms += detector.score >= ALARM_Q8
    assert 1 <= alarms <= 4
    detector, source = settled()
    entropies(detector, [MAX32])
    entropies(detector, [5000 + noise(source, 100) for _ in range(300)])
    assert detector.push(7000) > HIGH


def test_energy_alone_raises_an_alarm():
    detector, source = settled()
    top = 0
    for t in range(400):
        detector.push(5000 + noise(source, 100 if t < 100 else 300) // 2)
        top = max(top, detector.score if t >= 100 else 0)
    assert top >= ALARM_Q8


def test_a_constant_signal_is_calm_for_ever():
    for value in (0, -7, MAX32, MIN32):
        detector, machine = Detector(0), Machine("default")
        for _ in range(1500):
            assert detector.push(value) == 0
            assert detector.score == 0 and machine.push(0) == CALM
        assert detector.faults == (SATURATED if value in (MAX32, MIN32) else 0)


def test_extremes_do_not_overflow():
    source = xorshift(5)
    detectors, joint = (Detector(0), Detector(0)), Joint(2)
    hard = (MIN32, MAX32, 0, -1, 1, 1 << 27, -(1 << 27), 1 << 30)
    for _ in range(2000):
        row = (hard[below(source, 8)], hard[below(source, 8)] if below(source, 9) else None)
        for c in (0, 1):
            assert 0 <= detectors[c].push(row[c]) <= ONE
        assert 0 <= joint.push(row) <= ONE
        limits = [
            -(1 << 30) <= v <= 1 << 30 for state in (detectors[0].state, detectors[1].state, joint.state) for v in state
        ]
        assert sum(limits) >= len(limits) - 4  # all but the first values


def test_faults_of_sensors_are_flags():
    plain, adc = Detector(0), Detector(4095)
    source = xorshift(3)
    for _ in range(200):
        plain.push(noise(source, 20))
        adc.push(2000 + noise(source, 20))
    assert plain.faults == 0 and adc.faults == 0
    for _ in range(70):
        plain.push(3)
        adc.push(4095)
    assert adc.faults == STUCK | SATURATED
    assert plain.push(None) == 0
    assert plain.faults == STUCK | MISSING
    for detector in (plain, adc):
        detector.push(7)
        assert detector.faults == 0


def test_a_slow_signal_is_not_stuck():
    detector = Detector(0)
    for t in range(3000):
        detector.push(t // 50 % 7)
        assert detector.faults == 0
    entropies(detector, [9] * 250)
    assert detector.faults == STUCK


def test_spikes_are_residuals_beyond_the_threshold():
    source = xorshift(8)
    spikes = Spikes(2, 5)
    assert sum([spikes.push(1, noise(source, 20)) for _ in range(3000)]) == 0
    assert [spikes.push(1, r) for r in (400, 3, -400, 2)] == [1, 0, 1, 0]
    for r in (1 << 30, MAX32 - MIN32):
        assert spikes.push(1, r) == 1
    for _ in range(30):
        spikes.push(1, noise(source, 20))
    assert spikes.push(1, 5000) == 1
    assert sum([spikes.push(0, 0) for _ in range(100)]) == 0
    assert spikes.push(0, 1) == 0  # less than 5 deviations of 1 LSB


def test_seed_entropy_is_residual_over_full_scale():
    assert [seed_entropy(r, 1000) for r in (0, 250, -250, 1000, 5000)] == [0, ONE // 4, ONE // 4, ONE, ONE]
    assert seed_entropy(-3, 0) == 3


def test_a_small_shift_of_many_channels_is_joint_news():
    source = xorshift(4)
    joint = Joint(6)
    for _ in range(2000):
        row = tuple([noise(source, 100) for _ in range(6)])
        joint.push(row)
    quiet = 0
    for _ in range(200):
        quiet = max(quiet, joint.push(tuple([noise(source, 100) for _ in range(6)])))
    shifted = 0
    alarmed = 0
    for _ in range(60):
        row = tuple([60 + noise(source, 100) for _ in range(6)])
        shifted = max(shifted, joint.push(row))
        alarmed += joint.alarmed()
    assert quiet < HIGH < shifted
    assert alarmed > 30 and joint.rows > TRAINING


def test_a_glitch_of_all_channels_stays_calm():
    source = xorshift(4)
    joint, machine = Joint(6), Machine("default")
    for t in range(2500):
        row = [noise(source, 100) for _ in range(6)]
        state = machine.push(joint.push(tuple([50000] * 6 if t == 2300 else row)))
        assert state == CALM, t


def test_joint_takes_rows_with_gaps():
    joint = Joint(3)
    for t in range(200):
        assert 0 <= joint.push((t % 5, None, None if t % 7 else 9)) <= ONE
