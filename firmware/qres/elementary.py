"""Elementary functions in Q16.16: exp, sigmoid and tanh within 0.51 ulp, softmax within 1 ulp; integers only.

`exp`, `sigmoid`, `tanh`, `softmax` take and return Python's numbers; `activate` and `shares` are their kernels, for
whole vectors in place, and get the table `EXPS` as their last argument.

exp(-t) = 2^-k * e^(-j / 64) * e^-s: k from t / ln 2, j from a table, 0 <= s < 1/64 by three terms of the series, all
in Q26.  Quotients are a long division of two digits in base 2^12.  Imported only by what needs it.
"""

from array import array

from qres.compat import const, kernel, ptr32

EXP = const(0)  # kinds of `activate`: e^x of x <= 0 (above counts as 0), Q16.16
EXP_Q26 = const(1)  # the same in Q26, not rounded
SIGMOID = const(2)  # 1 / (1 + e^-x)
TANH = const(3)
SHARES_MAX = const(16)  # values that `softmax` takes
_END = const(0x140000)  # 20: e^-20 is nothing even in Q26
_ONE_Q26 = const(0x4000000)
_LN2_Q25 = const(23258160)
_STEPS = const(45)  # of 1/64 each: a little more than ln 2
_RATIO_Q60 = 1135047113432355401  # e^(-1/64)


def _exps() -> "array[int]":
    """e^(-j / 64) in Q26."""
    table = array("i", [0] * _STEPS)
    value = 1 << 60
    for j in range(_STEPS):
        table[j] = (value + (1 << 33)) >> 34
        value = value * _RATIO_Q60 >> 60
    return table


EXPS = _exps()
"""What `activate` and `shares` take as their last argument; 180 bytes."""


@kernel
def activate(i: int, x: int, e: int, kind: int, count: int, values: object, exps: object) -> int:
    """Replace values[i..i+count-1], Q16.16 within +-2^30, by their EXP, EXP_Q26, SIGMOID or TANH; returns 0.

    `x` and `e` are work, whatever they are.
    """
    v = ptr32(values)
    table = ptr32(exps)
    end = i + count
    limit = _END
    if kind == TANH:
        limit = _END >> 1
    while i < end:
        x = v[i]
        negative = 0
        if x < 0:
            negative = 1
            if x < -limit:
                x = -limit
            x = -x
        elif kind < SIGMOID:
            x = 0
        elif x > limit:
            x = limit
        if kind == TANH:
            x += x
        k = ((x >> 6) * 23637) >> 24  # x / ln 2, at most 0.002 too small
        x = ((x << 9) - k * _LN2_Q25) << 1
        e = table[x >> 20]
        x &= 0xFFFFF
        p = x >> 5
        p = (p * p + 65536) >> 17
        x -= p - ((((p * (x >> 6)) >> 12) * 85 + 32768) >> 16)  # 1 - e^-s
        e -= ((e >> 16) * x + ((((e >> 6) & 1023) * x) >> 10) + 512) >> 10
        e >>= k
        if kind >= SIGMOID:
            p = _ONE_Q26
            if kind == TANH:
                p -= e
            elif negative:
                p = e
            p <<= 3
            e += _ONE_Q26
            k = e >> 12
            x = p // k
            p = ((p - x * k) << 12) - x * (e & 4095)
            e = ((x << 12) + p // k) >> 1
        if kind != EXP_Q26:
            e = (e + 512) >> 10
            if kind == TANH and negative:
                e = -e
        v[i] = e
        i += 1
    return 0


@kernel
def shares(i: int, x: int, top: int, count: int, values: object, exps: object) -> int:
    """Replace values[0..count-1], Q16.16 within +-2^29, by their softmax: at least 0, sum 65536; returns 0.

    `count` is from 1 to SHARES_MAX; `i`, `x` and `top` are work, whatever they are.  Rounded by largest remainders
    (Hamilton's method), the first of equal ones first: the order of the values is kept.
    """
    v = ptr32(values)
    top = v[0]
    i = 1
    while i < count:
        x = v[i]
        if x > top:
            top = x
        i += 1
    i = 0
    while i < count:
        v[i] -= top
        i += 1
    activate(0, 0, 0, EXP_Q26, count, values, exps)
    total = 0
    i = 0
    while i < count:
        total += (v[i] + 1) >> 1
        i += 1
    shift = 1
    while total >= _ONE_Q26:
        total = (total + 1) >> 1
        shift += 1
    high = total >> 11  # the sum, twice `total` in Q26, in digits of 12 bits
    low = (total << 1) & 4095
    missing = 65536
    i = 0
    while i < count:
        x = v[i] << 3
        top = x // high
        x = ((x - top * high) << 12) - top * low
        x = ((top << 12) + x // high) >> shift
        v[i] = x
        missing -= x >> 10
        i += 1
    while missing > 0:
        top = -1
        at = 0
        i = 0
        while i < count:
            x = v[i] & 1023
            if x > top:
                top = x
                at = i
            i += 1
        v[at] = ((v[at] >> 10) + 1) << 10
        missing -= 1
    i = 0
    while i < count:
        v[i] >>= 10
        i += 1
    return 0


def _of(kind: int, x: int) -> int:
    cell = array("i", [min(max(x, -_END), _END)])
    activate(0, 0, 0, kind, 1, cell, EXPS)
    return cell[0]


def exp(x: int) -> int:
    """e^x for x <= 0, Q16.16, within 0.51 ulp; x above 0 counts as 0."""
    return _of(EXP, x)


def sigmoid(x: int) -> int:
    """1 / (1 + e^-x), Q16.16, within 0.51 ulp for any x."""
    return _of(SIGMOID, x)


def tanh(x: int) -> int:
    """Hyperbolic tangent, Q16.16, within 0.51 ulp for any x; odd."""
    return _of(TANH, x)


def softmax(values: list[int]) -> list[int]:
    """e^x / sum of e^x for 1 to SHARES_MAX numbers, Q16.16, each within 1 ulp; the results sum to exactly 65536.

    ValueError for another count.
    """
    if not 0 < len(values) <= SHARES_MAX:
        raise ValueError("softmax takes 1 to 16 values")
    top = max(values)
    cells = array("i", [max(x - top, -_END) for x in values])
    shares(0, 0, 0, len(cells), cells, EXPS)
    return list(cells)
