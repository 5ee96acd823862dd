"""What the sensors of virtual boards read: recordings on a time grid, and how to load them.

A `Playback` is one board's recording: integers, a mask of what is missing, the grid, and what each channel means.
`make_weather` plays the weather that the project carries, `load` plays a user's CSV or NPZ file.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import importlib.resources
import itertools
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qres_host.errors import USAGE, QresError

INT32_MAX = 2**31 - 1
SEASON_ROWS = 73 * 24
SEASONS = 5
WEATHER_CHANNELS = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure")
LABEL_CHARS = 32  # of a channel, as a board takes it
_UNPRINTED = re.compile(r'[\x00-\x1f"\\]')
NAME_CHARS = 24  # of a board, which names a file as well; a heading may hold anything
DEFAULT_T0_MS = 1_357_020_000_000  # 2013-01-01T06:00Z, for files that name no time
TIME_NAMES = ("time", "timestamp", "date", "datetime", "time_ms", "unix_ms")
_REMEDY = {
    ".npz": "give an array of numbers, a column per board, saved by numpy.savez",
    ".csv": "give a heading line, then decimal numbers, a column per board; leave what is missing empty",
}


@dataclass(frozen=True)
class Channel:
    """One quantity: its name, its unit, and the value of one integer step as decimal text, such as "0.1"."""

    name: str
    unit: str = ""
    scale: str = "1"

    def as_config(self) -> dict[str, str]:
        """Return the channel as a board's configuration names it."""
        return {"name": self.name, "unit": self.unit, "scale": self.scale}


@dataclass(frozen=True)
class Playback:
    """One board's recording. `values` int32 and `missing` bool are (row, channel); row 0 is at `t0_ms` (unix)."""

    name: str
    channels: tuple[Channel, ...]
    values: NDArray[np.int32]
    missing: NDArray[np.bool_]
    t0_ms: int
    period_ms: int

    def index_at(self, true_time_ms: int) -> int:
        """Return the grid index (rows since unix time 0) whose instant is nearest to `true_time_ms`."""
        return (true_time_ms + self.period_ms // 2) // self.period_ms

    def row(self, index: int) -> tuple[int | None, ...]:
        """Return the row at grid `index`; the recording repeats when it ends. Missing values are None."""
        position = (index - self.t0_ms // self.period_ms) % len(self.values)
        return tuple(
            None if gone else value
            for value, gone in zip(self.values[position].tolist(), self.missing[position].tolist(), strict=True)
        )


@cache
def _weather() -> tuple[NDArray[np.int32], NDArray[np.bool_], list[str], list[list[str]], int, int]:
    file = importlib.resources.files("qres_host") / "data" / "weather.npz"
    with file.open("rb") as stream, np.load(stream) as data:
        values = data["x"]
        missing = np.unpackbits(data["missing"])[: values.size].reshape(values.shape).astype(bool)
        return (
            values,
            missing,
            data["stations"].tolist(),
            data["channels"].tolist(),
            int(data["t0_ms"]),
            int(data["period_ms"]),
        )


def make_weather(boards: int, channels: Sequence[str] = WEATHER_CHANNELS) -> list[Playback]:
    """Return `boards` recordings: three airports in turn, each set of three one season of 2013 further on.

    After five seasons (15 boards) further sets start in the middle between two seasons, and so on. All start at
    the same instant and run through the whole year, then repeat. Raises QresError for an unknown channel.
    """
    values, missing, stations, known, t0_ms, period_ms = _weather()
    names = [name for name, _unit, _scale in known]
    unknown = [name for name in channels if name not in names]
    if unknown:
        raise QresError(f"no weather channel {unknown[0]}", "choose from " + ", ".join(names), USAGE)
    columns = [names.index(name) for name in channels]
    meaning = tuple(Channel(*known[column]) for column in columns)
    recordings = []
    for board in range(boards):
        station, season = board % len(stations), board // len(stations)
        shift = (season % SEASONS) * SEASON_ROWS + _between(season // SEASONS)
        recordings.append(
            Playback(
                f"{stations[station].lower()}-{season + 1}",
                meaning,
                np.roll(values[station][:, columns], -shift, axis=0),
                np.roll(missing[station][:, columns], -shift, axis=0),
                t0_ms,
                period_ms,
            )
        )
    return recordings


def _between(turn: int) -> int:
    """Return the offset of the `turn`-th use of a season: 0, 1/2, 1/4, 3/4, 1/8 ... of its length, in whole days."""
    numerator, denominator = 0, 1
    while turn:
        numerator, denominator = numerator * 2 + (turn & 1), denominator * 2
        turn >>= 1
    return (73 * numerator // denominator) * 24


def load(paths: Sequence[Path], period_ms: int = 0) -> list[Playback]:
    """Load recordings from files: a board per column of one file, or a board per file when several are given.

    CSV: a heading line, an optional time column (ISO 8601, unix seconds or milliseconds), decimal columns; an
    empty field, NaN or NA is missing. NPZ: array `x`, else the first of one or two dimensions. Without a time
    column `period_ms` counts (one minute when 0). Raises QresError for anything else.
    """
    recordings: list[Playback] = []
    for path in paths:
        whole = _load_file(path, period_ms)
        recordings.extend([whole] if len(paths) > 1 else _split(whole))
    return recordings


def _split(whole: Playback) -> list[Playback]:
    return [
        Playback(
            re.sub(r"[^\w.+-]+", "-", channel.name).strip(".-")[:NAME_CHARS] or f"column-{column + 1}",
            (channel,),
            whole.values[:, [column]],
            whole.missing[:, [column]],
            whole.t0_ms,
            whole.period_ms,
        )
        for column, channel in enumerate(whole.channels)
    ]


def _load_file(path: Path, period_ms: int) -> Playback:
    try:
        if path.suffix.lower() == ".npz":
            return _load_npz(path, period_ms)
        if path.suffix.lower() in (".csv", ".txt"):
            return _load_csv(path, period_ms)
    except OSError as error:
        why = f"cannot read {path} ({error.strerror or error})"
        raise QresError(why, "name a .csv or .npz file that you may read", USAGE) from error
    except (ValueError, EOFError, zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        remedy = _REMEDY.get(path.suffix.lower(), _REMEDY[".csv"])
        raise QresError(f"{path.name} is not usable ({error})", remedy, USAGE) from error
    raise QresError(f"{path.name} is neither .csv nor .npz", "convert it to one of them", USAGE)


def _load_npz(path: Path, period_ms: int) -> Playback:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no NPZ archive")
    with np.load(path, allow_pickle=False) as data:
        names = [name for name in data.files if data[name].ndim in (1, 2) and data[name].dtype.kind in "iuf"]
        if not names:
            raise ValueError("it holds no numeric array of one or two dimensions")
        array = data["x" if "x" in names else names[0]]
    if array.ndim == 1:
        array = array[:, None]
    if not array.size:
        raise ValueError("its array is empty")
    columns = [_integers([_cell(_shortest(value)) for value in array[:, k]]) for k in range(array.shape[1])]
    labels = [f"ch{k}" for k in range(len(columns))]
    return _assemble(path.stem, labels, columns, DEFAULT_T0_MS, period_ms or 60_000)


def _load_csv(path: Path, period_ms: int) -> Playback:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        lines = [line for line in csv.reader(stream) if line]
    if len(lines) < 2:
        raise ValueError("it needs a heading line and at least one row")
    heading, rows = lines[0], lines[1:]
    width = len(heading)
    for number, row in enumerate(rows, 2):
        if len(row) != width:
            raise ValueError(f"line {number} has {len(row)} fields, the heading has {width}")
    first = 1 if heading[0].strip().lower() in TIME_NAMES else 0
    t0_ms, step_ms, places = DEFAULT_T0_MS, period_ms or 60_000, list(range(len(rows)))
    if first:
        t0_ms, step_ms, places = _grid([_time_ms(row[0]) for row in rows], period_ms)
    columns = []
    for column in range(first, width):
        cells = [_cell(row[column]) for row in rows]
        placed: list[decimal.Decimal | None] = [None] * (places[-1] + 1)
        for place, cell in zip(places, cells, strict=True):
            placed[place] = cell
        columns.append(_integers(placed))
    if not columns:
        raise ValueError("it has no column beside the time")
    return _assemble(path.stem, [text.strip() for text in heading[first:]], columns, t0_ms, step_ms)


def _shortest(value: np.generic) -> str:
    """Return the shortest decimal that stands for a numpy number of this very width (0.1 for a float32 of 0.1)."""
    return np.format_float_positional(value) if isinstance(value, np.floating) else str(value)


def _cell(text: object) -> decimal.Decimal | None:
    """Return the exact decimal of a field; None when it is missing. ValueError when it is no number."""
    word = str(text).strip()
    if word.lower() in ("", "na", "nan", "null", "none"):
        return None
    try:
        value = decimal.Decimal(word)
    except decimal.InvalidOperation:
        raise ValueError(f"{word!r} is not a number") from None
    if not value.is_finite():
        raise ValueError(f"{word!r} is not finite")
    return value


def _time_ms(text: str) -> int:
    """Return unix milliseconds of an ISO date (UTC when it names no zone), of seconds or of milliseconds."""
    try:
        number = decimal.Decimal(text.strip())
    except decimal.InvalidOperation:
        moment = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return round(moment.timestamp() * 1000)
    return int(number if abs(number) > 10**11 else number * 1000)


def _grid(times: list[int], period_ms: int) -> tuple[int, int, list[int]]:
    """Return the first instant, the period (the median step when not given) and each row's place on the grid."""
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    if steps and steps[0] <= 0:
        raise ValueError("its time column does not increase")
    step_ms = period_ms or (steps[(len(steps) - 1) // 2] if steps else 60_000)
    t0_ms = (times[0] + step_ms // 2) // step_ms * step_ms
    places = [(t - t0_ms + step_ms // 2) // step_ms for t in times]
    if len(set(places)) < len(places):
        raise ValueError(f"its rows are closer than one period of {step_ms} ms")
    if places[-1] > 50 * len(times):
        raise ValueError("its time column has gaps of more than 98 %")
    return t0_ms, step_ms, places


def _integers(cells: list[decimal.Decimal | None]) -> tuple[list[int | None], int]:
    """Return the cells as integers and their number of decimal digits; ValueError when 32 bits do not hold them."""
    digits = max([0] + [-int(cell.normalize().as_tuple().exponent) for cell in cells if cell is not None])
    with decimal.localcontext(prec=60):
        numbers = [None if cell is None else int(cell.scaleb(digits)) for cell in cells]
    largest = max([0] + [abs(number) for number in numbers if number is not None])
    if largest > INT32_MAX:
        raise ValueError(f"a column with {digits} decimal digits does not fit 32 bits: round it first")
    return numbers, digits


def _assemble(
    name: str, labels: list[str], columns: list[tuple[list[int | None], int]], t0_ms: int, period_ms: int
) -> Playback:
    values = np.array([[number or 0 for number in numbers] for numbers, _ in columns], np.int32).T
    missing = np.array([[number is None for number in numbers] for numbers, _ in columns], bool).T
    channels = tuple(
        Channel(_UNPRINTED.sub("", label)[:LABEL_CHARS] or f"ch{k}", "", str(decimal.Decimal(1).scaleb(-digits)))
        for k, (label, (_, digits)) in enumerate(zip(labels, columns, strict=True))
    )
    return Playback(name, channels, np.ascontiguousarray(values), np.ascontiguousarray(missing), t0_ms, period_ms)
