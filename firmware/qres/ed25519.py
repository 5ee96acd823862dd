"""Ed25519 signatures, checked with whole numbers alone (RFC 8032).  Loaded when there is something to verify.

Points are (X, Y, Z, T) in extended coordinates on -x^2 + y^2 = 1 + d x^2 y^2 modulo p = 2^255 - 19 (Hisil, Wong, Carter
and Dawson 2008).  What is verified is public, so nothing here takes the same time for all inputs.
"""

from qres.compat import const
from qres.sha512 import sha512

if False:
    Point = tuple[int, int, int, int]

SIGNATURE = const(64)
PUBLIC = const(32)

_P = (1 << 255) - 19
_LOW = (1 << 255) - 1
_ORDER = (1 << 252) + 27742317777372353535851937790883648493
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_2D = 16295367250680780974490674513165176452449235426866156013048779062215315747161
_ROOT = 19681161376707505956807079304988542015446066515923890162744021073123829784752  # of -1
_BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
_NEUTRAL = (0, 1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` was made with the private key of `public` (32 bytes).

    Strict: only canonical encodings, the equation without the cofactor.  Any bytes give True or False.
    """
    if len(public) != PUBLIC or len(signature) != SIGNATURE:
        return False
    key = _decode(public)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= _ORDER:
        return False
    h = int.from_bytes(sha512(signature[:32] + public + message), "little") % _ORDER
    return _encode(_twice_multiplied(s, h, key)) == signature[:32]


def _times(a: int, b: int) -> int:
    """a x b modulo p, or p more; without the division, which costs MicroPython three products."""
    c = a * b
    c = (c & _LOW) + 19 * (c >> 255)
    return (c & _LOW) + 19 * (c >> 255)


def _power(a: int, n: int) -> int:
    """a to the n modulo p."""
    out = 1
    while n:
        if n & 1:
            out = _times(out, a)
        a = _times(a, a)
        n >>= 1
    return out % _P


def _decode(data: bytes) -> "Point | None":
    """The point of 32 bytes; None when they are the canonical encoding of none (RFC 8032, 5.1.3)."""
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= _LOW
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    v3 = v * v * v % _P
    x = u * v3 * _power(u * v3 * v3 * v % _P, (_P - 5) >> 3) % _P
    if v * x * x % _P != u:
        x = x * _ROOT % _P
        if v * x * x % _P != u:
            return None
    if not x and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: "Point") -> bytes:
    """A point as 32 bytes."""
    inverse = _power(point[2], _P - 2)
    x = point[0] * inverse % _P
    return (point[1] * inverse % _P | (x & 1) << 255).to_bytes(32, "little")


def _add(one: "Point", other: "Point") -> "Point":
    a = _times(one[1] - one[0] + _P + _P, other[1] - other[0] + _P + _P)
    b = _times(one[1] + one[0], other[1] + other[0])
    c = _times(_times(one[3], _2D), other[3])
    d = _times(one[2], other[2]) << 1
    e, f, g, h = b - a + _P + _P, d - c + _P + _P, d + c, b + a
    return _times(e, f), _times(g, h), _times(f, g), _times(e, h)


def _double(one: "Point") -> "Point":
    a = _times(one[0], one[0])
    b = _times(one[1], one[1])
    c = _times(one[2], one[2]) << 1
    e = _times(one[0] + one[1], one[0] + one[1]) - a - b + 4 * _P
    g = b - a + _P + _P
    f = g - c + 4 * _P
    h = -a - b + 4 * _P
    return _times(e, f), _times(g, h), _times(f, g), _times(e, h)


def _twice_multiplied(s: int, h: int, key: "Point") -> "Point":
    """s x base - h x key, both at once, two bits of each a step (Straus)."""
    base = (_BASE[0], _BASE[1], 1, _times(_BASE[0], _BASE[1]))
    minus = (_P - key[0], key[1], 1, _P - key[3])
    sums: "list[Point]" = [_NEUTRAL]
    for i in range(1, 16):
        if i & 3:
            sums.append(_add(sums[i - 1], base))
        else:
            sums.append(_add(sums[i - 4], minus))
    point: "Point" = _NEUTRAL
    for shift in range(252, -2, -2):
        point = _double(_double(point))
        i = (s >> shift & 3) | (h >> shift & 3) << 2
        if i:
            point = _add(point, sums[i])
    return point
