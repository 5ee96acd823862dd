"""Prints the table of qres/outliers.py: `python tools/grubbs.py` (needs scipy).

Squared two-sided critical values of Grubbs' test at alpha = 0.01 in Q16, rounded to the nearest, for 3 to 130 samples,
three bytes each, lowest first (Grubbs 1969; Rosner 1983 takes the same values for the generalised ESD test).
"""

from __future__ import annotations

ALPHA = 0.01
SIZES = range(3, 131)
WIDTH = 27  # entries of one line: 118 characters


def critical(n: int) -> float:
    """The squared critical value of (largest deviation / sample standard deviation) of n samples."""
    from scipy import stats

    t = float(stats.t.isf(ALPHA / (2 * n), n - 2))
    return (n - 1) ** 2 / n * t * t / (n - 2 + t * t)


def table() -> bytes:
    """The entries of all sizes."""
    return b"".join(round(critical(n) * 65536).to_bytes(3, "little") for n in SIZES)


def main() -> None:
    """Print the table as Python."""
    data = table()
    for at in range(0, len(data), WIDTH):
        print('    b"' + "".join(f"\\x{byte:02x}" for byte in data[at : at + WIDTH]) + '"')


if __name__ == "__main__":
    main()
