"""aggregate, model, gossip: the contract battery of aggregators, and a round that agrees."""

from qres import aggregate, gossip, packet
from qres.fixed import MAX32, MIN32
from qres.model import Model, ModelError, pack_vector, unpack, unpack_vector
from qres.reputation import START, Table
from support import below, raises, xorshift


def entries(source, n, d):
    return [
        (i * 7919 % 65521, 1000 + below(source, 60000), [below(source, 2001) - 1000 for _ in range(d)])
        for i in range(n)
    ]


def test_every_aggregator_keeps_its_contract():
    source = xorshift(41)
    for name in aggregate.NAMES:
        rule = aggregate.get(name)
        for n in (1, 2, 3, 7, 20):
            for regime in (0, 1, 2):
                e = entries(source, n, 5)
                before = repr(e)
                result = rule(e, n * 3 // 10, regime)
                assert repr(e) == before, name  # inputs untouched
                assert len(result) == 5 and all([isinstance(v, int) for v in result])
                assert rule(e[::-1], n * 3 // 10, regime) == result, name  # order of arrival
                assert rule(sorted(e, reverse=True), n * 3 // 10, regime) == result
                for i in range(5):
                    column = [v[i] for _, _, v in e]
                    assert min(column) - 1 <= result[i] <= max(column) + 1, name
                same = [(node, w, [5, -5]) for node, w, _ in e]
                assert rule(same, n * 3 // 10, regime) == [5, -5], name
    raises(ValueError, aggregate.get, "oracle")


def test_robust_rules_stay_within_the_honest_under_attack():
    source = xorshift(43)
    for name, regime in (("trimmed_mean", 0), ("median", 0), ("adaptive", 2)):
        rule = aggregate.get(name)
        for n, f in ((10, 3), (20, 6), (5, 2), (4, 2)):
            if 2 * f >= n and name == "trimmed_mean":
                continue
            honest = entries(source, n - f, 3)
            for lie in (MAX32, MIN32):
                liars = [(70000 + i, 65536, [lie] * 3) for i in range(f)]
                if 2 * f >= n:
                    liars = liars[: f - 1]
                result = rule(honest + liars, f, regime)
                for i in range(3):
                    column = [v[i] for _, _, v in honest]
                    assert min(column) <= result[i] <= max(column), (name, n, f)


def test_extreme_vectors_do_not_overflow():
    for name in aggregate.NAMES:
        for lie in (MAX32, MIN32):
            assert aggregate.get(name)([(i, 65536, [lie]) for i in range(9)], 2, 2) == [lie]


def test_models_are_canonical():
    source = xorshift(47)
    for _ in range(50):
        values = [below(source, 262143) - 131071 for _ in range(15)]
        m = Model(3, 4, values)
        again = unpack(3, 4, m.packed)
        assert again.values == m.values and again.hash == m.hash and Model(3, 4, m.values).packed == m.packed
        assert all([abs(a - b) <= 4 for a, b in zip(m.values, values) if b >= 0 or (True and a != 0)])
    raises(ModelError, unpack, 3, 4, m.packed[:-1])
    raises(ModelError, unpack, 16, 4, m.packed)
    raises(ModelError, unpack, 1, 1, b"\x01\x01\x00\x01\x00")  # not the smallest exponent
    assert unpack_vector(3, 4, pack_vector(3, 4, [0] * 15)) == [0] * 15


def announcement(model, epoch, inputs, stratum):
    return packet.Announcement(0, stratum, epoch, inputs, model.channels, model.order, model.packed)


def update_of(model, epoch, values):
    return packet.Update(epoch, model.hash, 30000, 9000, bytes(8), pack_vector(model.channels, model.order, values))


def test_a_round_agrees_although_each_heard_something_else():
    base = Model(1, 2)
    lessons = {n: [4000 + 10 * n, -300 * (n & 1), 2000] for n in range(1, 9)}
    rounds, peers = [], []
    for deaf in range(6):
        r, t = gossip.Round(9, base), Table(20)
        for node, values in sorted(lessons.items()):
            t.know(node, 0)
            if node != deaf:
                assert r.add(node, update_of(base, 9, values))
                assert not r.add(node, update_of(base, 9, values))  # once each
        assert not r.add(77, update_of(base, 8, [0, 0, 0]))  # another epoch
        assert not r.add(77, packet.Update(9, b"base", 1, 1, bytes(8), b""))  # another base
        assert not r.add(77, packet.Update(9, base.hash, 1, 1, bytes(8), b"xx"))  # no vector
        r.close("adaptive", 300, 0, t)
        rounds.append(r)
        peers.append(t)
    assert len({r.candidate.hash for r in rounds}) > 1
    winner = rounds[0].candidate
    for r in rounds:
        model = r.consider(announcement(winner, 9, 8, 0), True)
        assert model is not None and model.hash == winner.hash
        assert r.consider(announcement(winner, 9, 8, 1), False) is None  # known already
        assert not r.needs_voice(winner.hash)
    assert peers[0].get(3) > START


def test_a_lying_announcement_is_refused():
    base = Model(1, 2)
    r, t = gossip.Round(9, base), Table(20)
    for node in range(1, 9):
        assert r.add(node, update_of(base, 9, [4000 + 10 * node, 100, 2000]))
    r.close("adaptive", 300, 0, t)
    assert r.consider(announcement(Model(1, 2, [60000, 100, 2000]), 9, 255, 0), True) is None
    assert r.consider(announcement(Model(1, 2, [4040, 100, 2000]), 8, 8, 0), True) is None
    assert r.consider(announcement(Model(2, 2), 9, 255, 0), True) is None
    bad = packet.Announcement(0, 0, 9, 8, 1, 2, b"\xff" * 7)
    assert r.consider(bad, True) is None
    assert r.consider(announcement(Model(1, 2, [4040, 100, 2000]), 9, 8, 1), False) is not None


def test_a_far_outlier_loses_reputation():
    base = Model(1, 2)
    r, t = gossip.Round(9, base), Table(20)
    for node in range(1, 9):
        t.know(node, 0)
        assert r.add(node, update_of(base, 9, [4000 + 10 * node, 100, 2000] if node < 8 else [-90000, 90000, 0]))
    r.close("trimmed_mean", 300, 2, t)
    assert t.get(8) < START < t.get(1)


def test_infection_and_priority():
    cfg = {"max_residual_permille": 950, "min_gain_permille": 50}
    assert gossip.infects(60000, 4000, 500, cfg)
    assert not gossip.infects(65000, 4000, 500, cfg)  # hardly better than persistence
    assert not gossip.infects(60000, 3000, 500, cfg)  # gains too little
    assert not gossip.infects(60000, 4000, 149, cfg)  # no energy
    assert gossip.priority(0, 65536, 1000) == 65536 and gossip.priority(0, 65536, 150) == 0
    assert gossip.priority(30000, 9000, 900) > gossip.priority(50000, 9000, 900)
