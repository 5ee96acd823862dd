"""The picture of `qres detect --plot`: signal, score and regimes over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qres.regime import NAMES, THETA2

from qres_host.archive import inputs
from qres_host.archive.chunk import CLOCK
from qres_host.archive.clock import Clock
from qres_host.detecting import Detection, threshold
from qres_host.errors import USAGE, QresError
from qres_host.recording import Recording

SUFFIXES = (".png", ".svg", ".pdf")
PANELS_MAX = 6  # channels with a panel of their own
_POINTS_MAX = 4000  # drawn of a line; of more, the least and the largest of each stretch
_INK, _QUIET, _LINE, _ALARM = "#1f2a37", "#8a94a3", "#2f6fae", "#c2410c"
_REGIMES = ("#e8edf2", "#f2c879", "#d9694f")
Array = NDArray[Any]


def check(path: str) -> None:
    """QresError when matplotlib is absent, or the file's name does not say what to draw."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise QresError(f"{path} is no picture's name", "end it with " + ", ".join(SUFFIXES), USAGE)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise QresError("matplotlib is not installed", "pip install 'qres[plot]'") from None


def times_of(given: inputs.Input) -> Array | None:
    """The times of a table's rows, where it has a column that reads as times; else None."""
    table = inputs.table(given, None, "fast")
    if table is None or table.meta.time < 0:
        return None
    blocks = [chunks[table.meta.time] for chunks, _ in table.read()]
    if not blocks or any(chunk.form != CLOCK or chunk.codes is not None for chunk in blocks):
        return None
    times = np.concatenate([Clock(chunk.template).times(chunk.integers) for chunk in blocks])
    return times if bool((times[1:] >= times[:-1]).all()) else None


def draw(path: str, table: Recording, found: Detection, profile: str, times: Array | None, title: str) -> None:
    """Draw a recording and what was found in it into the file at `path`."""
    from matplotlib import dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = min(len(table.channels), PANELS_MAX)
    heights = [*[2.4 if shown == 1 else 1.2] * shown, 1.3, 0.3]
    figure = Figure(figsize=(10, sum(heights) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    t = np.arange(1, len(table.x) + 1) if times is None else times
    if shown < len(table.channels):
        title += f", the first {shown} of {len(table.channels)} channels"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    literal = profile == "seed"
    limit = THETA2 / 65536 if literal else threshold(len(table.channels))
    for c in range(shown):
        _signal(axes[c], t, table, c, _begins(found.alarm if literal else found.score[:, c] >= limit))
    _score(axes[shown], t, found, limit, literal)
    _band(axes[shown + 1], t, found.regime)
    patches = [Patch(color=color, label=name) for name, color in zip(NAMES, _REGIMES, strict=True)]
    figure.legend(handles=patches, ncols=3, loc="upper right", fontsize=8, frameon=False, labelcolor=_QUIET)
    for axis in axes:
        axis.margins(x=0)
        axis.tick_params(colors=_QUIET, labelsize=8)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom") and axis is not axes[-1])
            spine.set_color("#c9d1da")
    if times is None:
        axes[-1].set_xlabel("row", color=_QUIET, fontsize=9)
    else:
        locator: Any = dates.AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes[-1].xaxis.get_offset_text().set(color=_QUIET, fontsize=8)
    figure.align_ylabels(axes)
    figure.savefig(path, dpi=150)


def _begins(mask: Array) -> Array:
    return np.flatnonzero(mask & ~np.concatenate(([False], mask[:-1])))


def _thinned(values: Array) -> Array:
    """The rows of a line worth drawing: of each stretch the least and the largest value."""
    step = -(-2 * len(values) // _POINTS_MAX)
    if step < 2:
        return np.arange(len(values))
    chosen = [0, len(values) - 1]
    for begin in range(0, len(values), step):
        part = values[begin : begin + step]
        if np.isfinite(part).any():
            chosen += [begin + int(np.nanargmin(part)), begin + int(np.nanargmax(part))]
    return np.unique(chosen)


def _signal(axis: Any, t: Array, table: Recording, c: int, marks: Array) -> None:
    """One channel, with a mark above each alarm."""
    values = np.where(table.missing[:, c], np.nan, table.x[:, c] * table.steps[c])
    rows = _thinned(values)
    axis.plot(t[rows], values[rows], color=_LINE, linewidth=0.9)
    if len(marks):  # no marks at all would upset the layout
        above = axis.get_xaxis_transform()
        axis.plot(t[marks], np.full(len(marks), 1.04), "v", color=_ALARM, markersize=4, clip_on=False, transform=above)
    axis.set_ylabel(_short(table.channels[c]), color=_INK, fontsize=9, rotation=0, ha="right", va="center")
    axis.locator_params(axis="y", nbins=4)


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "\u2026"


def _score(axis: Any, t: Array, found: Detection, limit: float, literal: bool) -> None:
    """The highest score of a channel, and the joint one; the dashed line is the threshold."""
    score = found.score.max(axis=1)
    rows = np.flatnonzero(score > 0)
    if len(rows) > _POINTS_MAX:
        rows = rows[np.argsort(score[rows])[-_POINTS_MAX:]]
    beyond = score[rows] >= limit
    axis.vlines(t[rows[~beyond]], 0, score[rows[~beyond]], color=_QUIET, linewidth=0.8)
    axis.vlines(t[rows[beyond]], 0, score[rows[beyond]], color=_ALARM, linewidth=1.1)
    if found.t2.any():
        joint = found.t2 * limit
        chosen = _thinned(joint)
        axis.plot(t[chosen], joint[chosen], color=_LINE, linewidth=0.8, label="joint T\u00b2")
        marks = _begins(found.t2 > 1)
        axis.plot(t[marks], joint[marks], "v", color=_ALARM, markersize=4)
        axis.legend(loc="upper left", fontsize=8, frameon=False, labelcolor=_QUIET, borderaxespad=0)
    axis.axhline(limit, color=_ALARM, linewidth=0.8, linestyle=(0, (4, 3)))
    if not literal:
        axis.set_yscale("symlog", linthresh=10, linscale=2)
        top = max(float(score.max(initial=0)), float(found.t2.max(initial=0)) * limit, 10)
        ticks = [0, 5, 10, 100, 1000]
        axis.set_yticks([tick for tick in ticks if tick <= top * 1.01], minor=False)
        axis.minorticks_off()
        axis.set_yticklabels([str(tick) for tick in ticks if tick <= top * 1.01])
        axis.set_ylim(0, top * 1.15)
    else:
        axis.set_ylim(0, 1.05)
    name = "entropy" if literal else "score"
    axis.set_ylabel(name, color=_INK, fontsize=9, rotation=0, ha="right", va="center")


def _band(axis: Any, t: Array, regime: Array) -> None:
    """The regimes as a coloured band."""
    edges = np.flatnonzero(np.diff(regime, prepend=regime[0] + 1))
    for begin, end in zip(edges, [*edges[1:], len(regime)], strict=True):
        axis.axvspan(t[begin], t[min(end, len(t) - 1)], color=_REGIMES[regime[begin]], linewidth=0)
    axis.set_yticks([])
    axis.set_ylabel("regime", color=_INK, fontsize=9, rotation=0, ha="right", va="center")
