"""A carrying binary range coder (Martin 1979, as in LZMA) on integers below 2^30; one kernel both writes and reads.

`work`, an array('i') whose first six items are the coder's, and the bytes.  A carry runs into the bytes already
written, so the whole code must stay in the buffer until it is finished.
"""

from qres.compat import const, kernel, ptr8, ptr32

if False:
    from array import array

_LOW = const(0)  # below 2^24; the decoder keeps it too, to know the one right end
_RANGE = const(1)  # 2^16 to 2^24 between decisions
AT = const(2)  # bytes written or read
_CODE = const(3)  # decoder: what was read, less low
_END = const(4)  # decoder: bytes there are
_DECODING = const(5)


@kernel
def code(bit: int, p: int, work: object, buf: object) -> int:
    """Code one decision that is 1 with probability p / 16384 (1 to 16383); the bit, which is read when decoding."""
    w = ptr32(work)
    b = ptr8(buf)
    size = w[_RANGE]
    p = ((size >> 10) * p) >> 4  # from here on the part of the range that means 1
    if w[_DECODING]:
        bit = 1 if w[_CODE] < p else 0
    if bit:
        size = p
    else:
        size -= p
        w[_LOW] += p
        if w[_DECODING]:
            w[_CODE] -= p
            w[_LOW] &= 0xFFFFFF
        elif w[_LOW] > 0xFFFFFF:
            w[_LOW] &= 0xFFFFFF
            i = w[AT] - 1
            while b[i] == 255:
                b[i] = 0
                i -= 1
            b[i] += 1
    while size < 65536:
        size <<= 8
        if w[_DECODING]:
            w[_CODE] <<= 8
            if w[AT] < w[_END]:
                w[_CODE] |= b[w[AT]]
        else:
            b[w[AT]] = w[_LOW] >> 16
        w[_LOW] = (w[_LOW] & 0xFFFF) << 8
        w[AT] += 1
    w[_RANGE] = size
    return bit


@kernel
def code_bits(work: object, buf: object, value: int, count: int) -> int:
    """Code the low `count` bits (at most 28) of `value` as they are; the value."""
    result = 0
    while count > 0:
        count -= 1
        result = result << 1 | int(code((value >> count) & 1, 8192, work, buf))
    return result


def start(work: "array[int]", data: "bytes | bytearray | None") -> None:
    """Begin to write, or to read `data`."""
    work[_LOW] = work[AT] = work[_CODE] = work[_END] = work[_DECODING] = 0
    work[_RANGE] = 0xFFFFFF
    if data is not None:
        work[_DECODING] = 1
        work[_END] = len(data)
        work[AT] = 3
        for i in range(3):
            work[_CODE] = work[_CODE] << 8 | (data[i] if i < len(data) else 0)


def _rest(work: "array[int]") -> int:
    """Bytes that still have to follow, 0 to 3: as many as make a number from low to below low + range."""
    low = work[_LOW]
    for n in range(3):
        unit = 1 << (24 - 8 * n)
        if (low + unit - 1) // unit * unit < low + work[_RANGE]:
            return n
    return 3


def _end(work: "array[int]", n: int) -> int:
    """The last 24 bits of a code that ends with `n` more bytes, zeros behind; 2^24 more where there is a carry."""
    unit = 1 << (24 - 8 * n)
    return (work[_LOW] + unit - 1) // unit * unit


def length(work: "array[int]") -> int:
    """Bytes that the code takes when it ends now."""
    return work[AT] + _rest(work)


def mark(work: "array[int]", buf: bytearray, kept: "array[int]") -> None:
    """Keep in kept[0..3] what `back` needs."""
    for i in range(3):
        kept[i] = work[i]
    kept[3] = buf[work[AT] - 1] if work[AT] else 0


def back(work: "array[int]", buf: bytearray, kept: "array[int]") -> None:
    """Undo what was written since `mark`; of the bytes before it, one carry at most has changed some."""
    for i in range(3):
        work[i] = kept[i]
    at = work[AT] - 1
    if at >= 0 and buf[at] != kept[3]:
        while buf[at] == 0:
            buf[at] = 255
            at -= 1
        buf[at] -= 1


def finish(work: "array[int]", buf: bytearray) -> bytes:
    """The whole code; `work` and `buf` have served."""
    n = _rest(work)
    value = _end(work, n)
    end = work[AT]
    for i in range(n):
        buf[end + i] = value >> (16 - 8 * i) & 255
    if value > 0xFFFFFF:
        i = end - 1
        while buf[i] == 255:
            buf[i] = 0
            i -= 1
        buf[i] += 1
    return bytes(buf[: end + n])


def ended(work: "array[int]") -> bool:
    """Decoder: whether the bytes are just those that the encoder wrote."""
    n = _rest(work)
    return work[AT] - 3 + n == work[_END] and work[_CODE] == _end(work, n) - work[_LOW]
