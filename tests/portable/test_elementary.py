"""elementary: known values of exp, sigmoid, tanh and softmax, the same on every machine."""

from qres.compat import crc32
from qres.elementary import exp, sigmoid, softmax, tanh
from support import below, raises, xorshift


def test_known_values():
    # round(65536 * f(x)) for x of 0, 1/65536, 1/2, 1, 2, 5, 11
    x = (0, 1, 32768, 65536, 131072, 327680, 720896)
    assert [exp(-v) for v in x] == [65536, 65535, 39750, 24109, 8869, 442, 1]
    assert [sigmoid(v) for v in x] == [32768, 32768, 40793, 47911, 57724, 65097, 65535]
    assert [tanh(v) for v in x] == [0, 1, 30285, 49912, 63179, 65530, 65536]


def test_symmetry_and_ends():
    source = xorshift(8)
    for _ in range(100):
        x = below(source, 1 << 20)
        assert tanh(-x) == -tanh(x)
        assert abs(sigmoid(-x) + sigmoid(x) - 65536) <= 1
    for x in (1310720, 0x7FFFFFFF, 1 << 40):
        assert (exp(-x), sigmoid(-x), sigmoid(x), tanh(-x), tanh(x)) == (0, 0, 65536, -65536, 65536)
    assert exp(3) == 65536


def test_softmax_sums_to_one_and_keeps_the_order():
    source = xorshift(9)
    for count in range(1, 17):
        values = sorted([below(source, 1 << 19) - (1 << 18) for _ in range(count)])
        shares = softmax(values)
        assert sum(shares) == 65536 and shares == sorted(shares) and shares[0] >= 0
    assert softmax([5, 5]) == [32768, 32768]
    assert softmax([-0x80000000, 0x7FFFFFFF]) == [0, 65536]
    raises(ValueError, softmax, [])
    raises(ValueError, softmax, [0] * 17)


def test_every_machine_computes_the_same():
    source = xorshift(10)
    made = []
    for _ in range(300):
        x = below(source, 1 << 21) - (1 << 20)
        made += [exp(-abs(x)), sigmoid(x), tanh(x) & 0xFFFFF]
    assert crc32(bytes([v >> shift & 255 for v in made for shift in (0, 8, 16)])) == 1094922379
