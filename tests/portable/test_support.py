"""The helpers of the portable tests themselves."""

import support


def test_raises_returns_the_error():
    assert isinstance(support.raises(ZeroDivisionError, lambda: 1 // 0), ZeroDivisionError)


def test_raises_complains_when_nothing_is_raised():
    support.raises(AssertionError, support.raises, ValueError, int)


def test_xorshift_is_the_same_everywhere():
    source = support.xorshift(2463534242)
    assert [next(source) for _ in range(3)] == [
        723471715 >> 2,
        2497366906 >> 2,
        2064144800 >> 2,
    ]  # Marsaglia 2003, p. 4


def test_noise_is_deterministic():
    assert support.noise(support.xorshift(7), 16) == support.noise(support.xorshift(7), 16)


def test_word_size_is_known():
    import sys

    assert support.is_32bit == (sys.maxsize < 2**32)


def test_garbage_is_gone_in_the_next_stage():
    if not support.is_micropython:
        return None
    before = support.allocated()
    for _ in range(1000):
        bytes(1000)

    def then():
        assert support.allocated() - before < 20000

    return then
