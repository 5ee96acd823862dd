"""fixed, stats, rng, compat: numbers against plain big-integer arithmetic and published vectors."""

from qres import compat, fixed
from qres.moments import Moments
from qres.rng import Rng
from qres.stats import Welford
from support import below, raises, xorshift


def test_mul_div_vector_and_saturation():
    assert 0x00018000 + fixed.mul(0x0666, 0x4000) == 0x00018199
    assert fixed.mul(-1, 1) == -1  # floor
    assert fixed.div(-1 << 16, 3 << 16) == -21845  # toward zero
    assert fixed.mul(fixed.MAX32, fixed.MAX32) == fixed.MAX32
    assert fixed.div(fixed.MIN32, 1) == fixed.MIN32
    raises(ZeroDivisionError, fixed.div, 1, 0)


def test_isqrt_exact():
    source = xorshift(3)
    for bits in range(1, 66, 2):
        for _ in range(20):
            n = 0
            for _ in range(3):
                n = n << 30 | next(source)
            n >>= 90 - bits
            for v in (n, n * n, n * n - 1 if n else 0):
                r = fixed.isqrt(v)
                assert r * r <= v < (r + 1) * (r + 1)


def test_isqrt_around_every_kind_of_square():
    for bits in range(1, 33):
        for root in (1 << bits - 1, (1 << bits) - 1, (3 << bits) // 4):
            square = root * root
            for v, r in ((square - 1, root - 1), (square, root), (square + 2 * root, root), (square + 1, root)):
                assert fixed.isqrt(v) == r
    for v in range(1200):
        r = fixed.isqrt(v)
        assert r * r <= v < (r + 1) * (r + 1)


def test_log2_and_exp2_are_inverse_and_monotone():
    last = -1
    for v in range(1, 5000):
        q = fixed.log2_q12(v)
        assert q >= last
        last = q
        assert abs(fixed.exp2_q12(q) - v) <= 1 + v // 4096
    assert fixed.log2_q12(1 << 31) == 31 << 12


def test_bfp_round_trip_within_half_a_step():
    source = xorshift(5)
    for _ in range(200):
        values = [(next(source) << 2 | 3) - (1 << 31) >> below(source, 31) for _ in range(9)]
        data = fixed.bfp_pack(values)
        assert len(data) == 19
        back = fixed.bfp_unpack(data, 9)
        step = 1 << data[0]
        for a, b in zip(values, back):
            assert 2 * abs(a - b) <= step
        assert fixed.bfp_pack(back) == data or max([abs(v) for v in back]) != max([abs(v) for v in values])


def test_bfp_full_scale_power_of_two_does_not_saturate():
    for v in (1 << 15, 1 << 30, -(1 << 31), 32768, -32768, 65535):
        assert abs(fixed.bfp_unpack(fixed.bfp_pack([v, 0]), 2)[0] - v) <= abs(v) >> 14
    raises(fixed.FixedError, fixed.bfp_unpack, b"\x00\x01", 1)
    raises(fixed.FixedError, fixed.bfp_unpack, b"\x20\x01\x02", 1)


def test_bit_length():
    for bits in range(0, 70):
        assert compat.bit_length((1 << bits) - 1) == bits
        assert compat.bit_length(-(1 << bits)) == bits + 1


def test_hmac_rfc4231():
    assert compat.hmac_sha256(b"\x0b" * 20, b"Hi There")[:8] == b"\xb0\x34\x4c\x61\xd8\xdb\x38\x53"
    assert compat.hmac_sha256(b"Jefe", b"what do ya want for nothing?")[:8] == b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e"
    long_key = compat.hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First")
    assert long_key[:8] == b"\x60\xe4\x31\x59\x1e\xe0\xb6\x7f"


def test_crc32_check_value():
    assert compat.crc32(b"123456789") == 0xCBF43926
    assert compat.crc32(b"6789", compat.crc32(b"12345")) == 0xCBF43926


def test_rng_published_sequence_and_range():
    r = Rng(0x9E3779B9 ^ 1)  # state 1
    assert [r.next() for _ in range(3)] == [270369, 67634689, 2647435461]
    r = Rng(7)
    seen = [0] * 10
    for _ in range(1000):
        seen[r.below(10)] += 1
    assert min(seen) > 60


def test_welford_is_exact_and_merges():
    source = xorshift(11)
    x = [(next(source) << 2) - (1 << 31) >> below(source, 24) for _ in range(400)]
    whole, left, right = Welford(), Welford(), Welford()
    for i, v in enumerate(x):
        whole.push(v)
        (left if i < 150 else right).push(v)
    left.merge(right)
    n = len(x)
    spread = n * sum([v * v for v in x]) - sum(x) * sum(x)
    for w in (whole, left):
        assert w.n == n and w.spread() == spread and w.mean() == sum(x) // n


def test_welford_deviation_matches_its_definition():
    w = Welford()
    for v in (0, 10, -10, 10, -10, 0):
        w.push(v)
    # sample variance 80, mean 0: 40 is 4.472 deviations
    assert w.deviation_q8(40) == 1144 and w.deviation_q8(-40) == 1144 and w.deviation_q8(0) == 0
    flat = Welford()
    for _ in range(50):
        flat.push(7)
    assert flat.deviation_q8(7) == 0
    assert flat.deviation_q8(8) == 256  # a variance of zero counts as one unit


def test_welford_stays_exact_and_halving_lets_it_follow():
    w = Welford()
    level = (1 << 30) - 5
    for i in range(9000):
        w.push(level + (i & 1))
    assert w.n == 9000 and w.mean() == level and w.spread() == 4500 * 4500
    while w.n > 4:
        w.halve()
    for _ in range(20):
        w.push(-level)
    assert w.mean() < -level >> 1


def test_sums_in_machine_words_are_those_of_any_size():
    source = xorshift(13)
    for bits in (1, 8, 15, 16, 29):
        words, wide = Moments(), Welford()
        for _ in range(200):
            x = below(source, 1 << bits + 1) - (1 << bits)
            words.push(x)
            wide.push(x)
        same = words.welford()
        assert (same.n, same.x0, same.s, same.q) == (wide.n, wide.x0, wide.s, wide.q)
    three = Moments()
    assert three.mean_q32() == three.m2_q32() == 0
    for x in (0, 0, 1):
        three.push(x)
    assert three.mean_q32() == 21845 and three.m2_q32() == 1  # 65536 / 3, 2 / 3
