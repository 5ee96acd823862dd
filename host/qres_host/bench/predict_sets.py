"""The recordings of `qres bench predict`: a folder's, the carried weather, and those of packages that are installed."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qres_host import recording
from qres_host.bench.streams import held
from qres_host.errors import USAGE, QresError
from qres_host.virtual.playback import make_weather

ROWS_MAX = 12_000
SHARED = ("jena_weather9", "airq_uci8", "ETTh1", "skab_anomaly-free")
"""The sets of the reference's evaluation that can be had; Occupancy and ETTh2 are not at hand."""
SEEN = (*SHARED, "skab_valve1", "telosb_lib1_m3", "telosb_lib1_m11", "uncg_outdoor3", "intel_temp16", "gas4")
"""Recordings that were looked at while parameters were chosen; all others were not."""
LEFT_OUT = {
    "Occupancy": "not at hand: give occupancy.csv in the folder of --data",
    "ETTh2": "not at hand: give ETTh2.csv in the folder of --data",
}
_GONE = {"airq_uci8": (-200, -2000, -2_000_000)}  # values that mark a gap
_MEMBERS = {
    "bokeh_sampledata": ("sea_surface_temperature.csv.gz", "CGM.csv.gz"),
    "vega_datasets": ("seattle-temps.csv", "sf-temps.csv"),
}


class Set(NamedTuple):
    """A recording: int32 (row, channel), what is missing, and whether parameters were chosen with it in sight."""

    name: str
    x: NDArray[np.int32]
    missing: NDArray[np.bool_]
    seen: bool

    def filled(self) -> NDArray[np.int32]:
        """Missing values repeat the one before them, for peers that know no gaps."""
        return held(self.x, self.missing)


def load(folder: Path | None, names: tuple[str, ...]) -> tuple[list[Set], list[dict[str, str]]]:
    """All recordings, or the named ones, and what is left out with the reason; QresError when nothing is left."""
    found = [*(_folder(folder) if folder else ()), *_weather()]
    skipped = []
    for package, members in _MEMBERS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            skipped.append({"model": package, "reason": "the package is not installed"})
            continue
        for member in members:
            found.append(_member(Path(spec.submodule_search_locations[0]) / "_data" / member))
    here = {one.name for one in found}
    if not names:
        skipped += [{"model": name, "reason": reason} for name, reason in LEFT_OUT.items() if name not in here]
    for name in names:
        if name not in here:
            raise QresError(f"no recording {name}", "choose from " + ", ".join(sorted(here)), USAGE)
    return [one for one in found if not names or one.name in names], skipped


def _cut(name: str, x: NDArray[np.int32], missing: NDArray[np.bool_]) -> Set:
    x, missing = x[:ROWS_MAX], missing[:ROWS_MAX]
    for mark in _GONE.get(name, ()):
        missing = missing | (x == mark)
    used = ~missing.all(axis=0)
    return Set(name, np.ascontiguousarray(x[:, used]), np.ascontiguousarray(missing[:, used]), name in SEEN)


def _folder(folder: Path) -> Iterator[Set]:
    paths = [path for path in sorted(folder.glob("*")) if path.suffix in (".csv", ".npz", ".npy")]
    if not paths:
        raise QresError(f"no recordings in {folder}", "name a folder with .npz, .npy or .csv files", USAGE)
    for path in paths:
        yield _table(path.stem, path)
    free = folder / "skab" / "anomaly-free" / "anomaly-free.csv"
    valves = sorted((folder / "skab" / "valve1").glob("*.csv"), key=lambda path: int(path.stem))
    if free.exists():
        yield _table("skab_anomaly-free", free)
    if valves:
        parts = [recording.load(str(path)) for path in valves]
        channels = [name for name in parts[0].channels if name not in ("anomaly", "changepoint")]
        values = [recording.load(str(path), channels) for path in valves]
        least = np.min([part.steps for part in values], axis=0)
        x = np.concatenate([np.rint(part.x * (np.array(part.steps) / least)) for part in values])
        yield _cut("skab_valve1", x.astype(np.int32), np.concatenate([part.missing for part in values]))


def _table(name: str, path: Path) -> Set:
    """A file's numeric columns, the first 15 when there are more."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            if "x" in data.files and data["x"].ndim == 2 and data["x"].dtype.kind == "i":
                x = data["x"][:, : recording.CHANNELS_MAX]
                return _cut(name, x.astype(np.int32), np.zeros(x.shape, bool))
    table = recording.load(str(path))
    return _cut(name, table.x, table.missing)


def _weather() -> Iterator[Set]:
    for board in make_weather(3):
        yield _cut("weather_" + board.name.partition("-")[0], board.values, board.missing)


def _member(path: Path) -> Set:
    """The numeric column of a package's file: numbers in steps of their last place, at most a hundredth."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    column = []
    for row in list(csv.reader(io.StringIO(text)))[1:]:
        numbers = [float(cell) for cell in row if cell.replace(".", "", 1).replace("-", "", 1).isdigit()]
        column.append(numbers[-1] if numbers else np.nan)
    values = np.array(column)[:, None]
    gone = ~np.isfinite(values)
    x = np.rint(np.where(gone, 0, values) * 100).astype(np.int32)
    return _cut(path.name.partition(".")[0], x, gone)
