"""ew: exponentially weighted mean and variance against their definition, and what guard bits are for."""

from array import array

from qres.ew import Ew, ew_step
from support import below, xorshift


def test_mean_follows_its_definition():
    source = xorshift(41)
    for k in (0, 1, 5, 9):
        ew = Ew(k)
        bits = k + 30
        mean = n = 0  # with many more fractional bits
        for _ in range(600):
            x = below(source, 1 << 20) - (1 << 19)
            n = min(n + 1, 1 << k)
            shift = 0
            while n >> shift + 1:
                shift += 1
            mean += ((x << bits) - mean) >> shift
            ew.push(x)
            assert abs((mean >> 30) - (ew.m << k >> ew.bits)) <= 2 + (1 << k >> 7)
        assert ew.n == 1 << k or k == 9


def test_variance_of_a_square_wave_and_of_a_constant():
    ew = Ew(6)
    for i in range(4000):
        ew.push(1000 if i & 1 else -1000)
    assert abs(ew.mean()) < 20
    assert abs(ew.variance_q8() - 1000000 * 256) < 256 * 20000
    assert abs(ew.deviation_q8(ew.mean() + 2000) - 512) < 12
    flat = Ew(6)
    for _ in range(300):
        flat.push(-7)
    assert flat.mean() == -7 and flat.variance_q8() == 0
    assert flat.deviation_q8(-7) == 0 and flat.deviation_q8(-6) == 256


def settled(shift, bits, start, level):
    """Where a mean of this width stays when the samples do."""
    state = array("i", [start, 0])
    for _ in range(40 << shift):
        ew_step(level, 0, 0, shift, bits, state)
    return ((state[0] - level) << bits) + state[1]


def test_guard_bits_keep_the_mean_free_of_bias():
    # Without them a mean that comes from below stays 2^k - 1 units away; with 8 it stays within 1/256 of a unit.
    for k in (1, 4, 6):
        assert settled(k, k, 0, 1000) >> k == -1 and settled(k, k + 8, 0, 1000) == -((1 << k) - 1)
        assert settled(k, k + 8, 2000, 1000) == 0
        bare = 0
        for _ in range(40 << k):
            bare += (1000 - bare) >> k
        assert bare == 1000 - ((1 << k) - 1)


def test_the_kernel_and_the_class_are_one():
    source = xorshift(43)
    for k in (2, 7):
        ew = Ew(k)
        state = array("i", [0, 0])
        n = 0
        for _ in range(400):
            x = below(source, 1 << 28) - (1 << 27)
            ew.push(x)
            n = min(n + 1, 1 << k)
            shift = len(bin(n)) - 3
            assert ew_step(x, 0, 0, shift, k + 8, state) == ew.mean()
            assert (state[0] << ew.bits) + state[1] == ew.m


def test_extremes():
    ew = Ew(8)
    for i in range(2000):
        ew.push(0x7FFFFFFF if i & 1 else -0x80000000)
    assert abs(ew.mean()) < 1 << 24
    assert ew.deviation_q8(0x7FFFFFFF) in range(240, 270)
