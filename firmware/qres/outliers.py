"""Outliers among numbers: Grubbs' test and the generalised ESD test (Rosner 1983), alpha = 0.01, in whole numbers.

A value x of n with sums S1 = sum(x), S2 = sum(x^2) deviates significantly when, without any root or fraction,

    (n x - S1)^2 (n - 1) << 16  >  T[n] n (n S2 - S1^2)

T[n] is the squared critical value in Q16, a table for 3 to 130 samples that tools/grubbs.py computes. Grubbs finds
one outlier, and several alike hide each other; the generalised ESD test takes the most deviating value away up to
`most` times and then looks which of them were outliers, so it finds them all.
"""

from qres.compat import const

SIZE_MIN = const(3)
SIZE_MAX = const(130)
_T = (
    b"\x53\x55\x01\x20\x3d\x02\x4e\x1c\x03\x5a\xe4\x03\x66\x93\x04\x38\x2c\x05\x66\xb2\x05\x26\x29\x06\x21\x93\x06"
    b"\x74\xf2\x06\xd2\x48\x07\x92\x97\x07\xcd\xdf\x07\x65\x22\x08\x15\x60\x08\x76\x99\x08\x09\xcf\x08\x3c\x01\x09"
    b"\x6b\x30\x09\xe4\x5c\x09\xed\x86\x09\xbe\xae\x09\x8d\xd4\x09\x86\xf8\x09\xd0\x1a\x0a\x8f\x3b\x0a\xe1\x5a\x0a"
    b"\xe2\x78\x0a\xac\x95\x0a\x53\xb1\x0a\xed\xcb\x0a\x8b\xe5\x0a\x3e\xfe\x0a\x15\x16\x0b\x1d\x2d\x0b\x63\x43\x0b"
    b"\xf2\x58\x0b\xd4\x6d\x0b\x14\x82\x0b\xba\x95\x0b\xce\xa8\x0b\x58\xbb\x0b\x5f\xcd\x0b\xe9\xde\x0b\xfd\xef\x0b"
    b"\x9f\x00\x0c\xd6\x10\x0c\xa6\x20\x0c\x15\x30\x0c\x25\x3f\x0c\xdb\x4d\x0c\x3c\x5c\x0c\x4a\x6a\x0c\x09\x78\x0c"
    b"\x7c\x85\x0c\xa6\x92\x0c\x8a\x9f\x0c\x2a\xac\x0c\x8a\xb8\x0c\xab\xc4\x0c\x90\xd0\x0c\x3b\xdc\x0c\xad\xe7\x0c"
    b"\xea\xf2\x0c\xf2\xfd\x0c\xc7\x08\x0d\x6c\x13\x0d\xe1\x1d\x0d\x28\x28\x0d\x43\x32\x0d\x33\x3c\x0d\xfa\x45\x0d"
    b"\x98\x4f\x0d\x0f\x59\x0d\x5f\x62\x0d\x8b\x6b\x0d\x93\x74\x0d\x78\x7d\x0d\x3c\x86\x0d\xde\x8e\x0d\x60\x97\x0d"
    b"\xc3\x9f\x0d\x08\xa8\x0d\x2f\xb0\x0d\x39\xb8\x0d\x27\xc0\x0d\xfa\xc7\x0d\xb2\xcf\x0d\x51\xd7\x0d\xd5\xde\x0d"
    b"\x42\xe6\x0d\x96\xed\x0d\xd2\xf4\x0d\xf7\xfb\x0d\x06\x03\x0e\xff\x09\x0e\xe3\x10\x0e\xb1\x17\x0e\x6b\x1e\x0e"
    b"\x11\x25\x0e\xa3\x2b\x0e\x23\x32\x0e\x8f\x38\x0e\xe9\x3e\x0e\x31\x45\x0e\x67\x4b\x0e\x8c\x51\x0e\xa0\x57\x0e"
    b"\xa4\x5d\x0e\x97\x63\x0e\x7a\x69\x0e\x4e\x6f\x0e\x13\x75\x0e\xc8\x7a\x0e\x6f\x80\x0e\x07\x86\x0e\x91\x8b\x0e"
    b"\x0e\x91\x0e\x7c\x96\x0e\xde\x9b\x0e\x32\xa1\x0e\x79\xa6\x0e\xb3\xab\x0e\xe1\xb0\x0e\x03\xb6\x0e\x19\xbb\x0e"
    b"\x23\xc0\x0e\x21\xc5\x0e"
)


def _significant(n: int, s1: int, s2: int, x: int) -> bool:
    at = 3 * (n - SIZE_MIN)
    limit = _T[at] | _T[at + 1] << 8 | _T[at + 2] << 16
    d = n * x - s1
    return (d * d * (n - 1) << 16) > limit * n * (n * s2 - s1 * s1)


def _farthest(values: "list[int]", kept: "list[int]", s1: int) -> int:
    """Of the indices `kept`, the one whose value is farthest from their mean; the first of equal ones."""
    n = len(kept)
    best = kept[0]
    most = -1
    for i in kept:
        d = n * values[i] - s1
        if d < 0:
            d = -d
        if d > most:
            most = d
            best = i
    return best


def grubbs(values: "list[int]") -> int:
    """Index of the one outlier of 3 to 130 integers of any size, -1 for none; ValueError for another count."""
    found = generalized_esd(values, 1)
    return found[0] if found else -1


def generalized_esd(values: "list[int]", most: int) -> "list[int]":
    """Sorted indices of the outliers, at most `most`, of 3 to 130 integers of any size; ValueError for another count.

    `most` is cut to what leaves 3 values. The test keeps its level from about 25 values on.
    """
    kept = list(range(len(values)))
    if not SIZE_MIN <= len(kept) <= SIZE_MAX:
        raise ValueError("outliers are sought among 3 to 130 values")
    s1 = sum(values)
    s2 = sum([x * x for x in values])
    taken: list[int] = []
    outliers = 0
    while len(taken) < most and len(kept) >= SIZE_MIN:
        i = _farthest(values, kept, s1)
        x = values[i]
        taken.append(i)
        if _significant(len(kept), s1, s2, x):
            outliers = len(taken)
        kept.remove(i)
        s1 -= x
        s2 -= x * x
    return sorted(taken[:outliers])
