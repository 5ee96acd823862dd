"""outliers: Grubbs' and the generalised ESD test on published data and on what they must leave alone."""

from qres.outliers import generalized_esd, grubbs
from support import below, raises, xorshift

# Rosner's data (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17.3), hundredths.
ROSNER = (-25, 68, 94, 115, 120, 126, 126, 134, 138, 143, 149, 149, 155, 156, 158, 165, 169, 170, 176, 177, 181, 191)
ROSNER += (194, 196, 199, 206, 209, 210, 214, 215, 223, 224, 226, 235, 237, 240, 247, 254, 262, 264, 290, 292, 292)
ROSNER += (293, 321, 326, 330, 359, 368, 430, 464, 534, 542, 601)


def test_rosner_data():
    # At alpha = 0.05 three are outliers. At 0.01 the ratios 3.119, 2.943, 3.179 stand against 3.516, 3.508, 3.500.
    assert generalized_esd(list(ROSNER), 10) == []
    assert generalized_esd(list(ROSNER) + [1200], 10) == [54]


def test_one_outlier():
    # NIST 1.3.5.17.1, masses of uranium in hundredths: 245.57 is an outlier at 0.05 and at 0.01
    masses = [19936, 19934, 19937, 19930, 19949, 19941, 19945, 24557]
    assert grubbs(masses) == 7
    assert grubbs(masses[:7]) == -1
    assert grubbs([5, 5, 5, 5]) == -1
    assert grubbs([0, 0, 0, 0, 0, -1]) == 5
    assert grubbs([0, 0, 1]) == 2


def test_several_alike_hide_from_grubbs_alone():
    source = xorshift(71)
    values = [sum([below(source, 1 << 16) for _ in range(12)]) for _ in range(95)]  # near normal, deviation 65536
    values += [12 * 32768 + 5 * 65536] * 5
    assert grubbs(values) == -1
    assert generalized_esd(values, 20) == [95, 96, 97, 98, 99]


def test_size_order_and_scale_do_not_matter():
    source = xorshift(72)
    values = [below(source, 2001) - 1000 for _ in range(40)]
    values[7] = 9000
    values[30] = -12000
    for factor, shift in ((1, 0), (-3, 1 << 31), (1 << 40, -5)):
        assert generalized_esd([v * factor + shift for v in values], 9) == [7, 30]
    assert generalized_esd(values[::-1], 9) == [9, 32]
    assert generalized_esd(values, 1) == [30] and generalized_esd(values, 0) == []


def test_counts():
    for count in (0, 2, 131):
        raises(ValueError, grubbs, [0] * count)
        raises(ValueError, generalized_esd, list(range(count)), 3)
    assert generalized_esd([1, 2, 3, 1 << 31], 50) in ([], [3])
    assert grubbs(list(range(130))) == -1
