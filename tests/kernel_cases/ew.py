"""Arguments for every kernel of qres.ew."""

from array import array

from support import below, xorshift

FAR = 1 << 29


def ew_step():
    source = xorshift(31)
    for shift in (0, 1, 4, 8, 15, 20):
        bits = shift + 8
        top = (1 << bits) - 1
        for x in (0, 1, -1, FAR - 1, -FAR):
            for low in (0, 1, top):
                for mean in (0, -FAR, FAR - 1, x):
                    yield x, 0, 1, shift, bits, array("i", [9, mean, low, 9])
        for size in (4, 12, 28):
            x, mean, low = (below(source, 2 << n) - (1 << n) for n in (size, size, bits))
            yield x, 0, 0, shift, bits, array("i", [mean, low & top])
