"""The bounded and silent modes beside their peers: bits a sample where every value may be off by a known amount.

The bound of a column is a share of its range, in whole steps and at least one, the same for every coder. SZ3 may use
half a step more on real numbers, because its values are rounded to whole steps afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from qres_host.bench.coder import Ints, Skipped, absent
from qres_host.bench.process import Ended, apart
from qres_host.bench.segments import LINES, SEND_ON_DELTA
from qres_host.bench.streams import Stream

SHARES = (0.001, 0.01)  # of each column's range
SZ3_SLACK = 0.49  # steps; rounding to whole steps stays within the bound
Bounds = NDArray[np.int64]
Lossy = Callable[[Ints, Bounds], tuple[int, Ints, str]]  # (bytes, what the decoder gives, how)


class BoundedRow(TypedDict, total=False):
    """One coder on one stream at one bound; `worst` is the greatest error over the bound of its column."""

    stream: str
    mode: str  # bounded or silent
    share: float
    coder: str
    bytes: int
    bits: float
    how: str
    worst: float
    error: str


def bounds(x: Ints, share: float) -> Bounds:
    """The bound of each column, in steps."""
    span = x.max(axis=0).astype(np.int64) - x.min(axis=0)
    eps: Bounds = np.maximum((span * share).astype(np.int64), 1)
    return eps


def _ours_bounded(x: Ints, eps: Bounds) -> tuple[int, Ints, str]:
    from qres_host import blocks
    from qres_host.blocks import lossy

    data = blocks.encode(lossy.bounded(x, eps), "best")
    return len(data), blocks.decode(data, *x.shape), "bounded, best"


def _ours_silent(x: Ints, eps: Bounds) -> tuple[int, Ints, str]:
    from qres_host import blocks
    from qres_host.blocks import lossy

    data = blocks.encode(lossy.silent(x, eps + 1), "best")  # what is off by less than the threshold is not sent
    return len(data), blocks.decode(data, *x.shape), "silent, best"


def by_column(encode: Callable[[Ints, int], bytes], decode: Callable[[bytes, int], Ints], how: str) -> Lossy:
    """A coder that takes each column alone."""

    def run(x: Ints, eps: Bounds) -> tuple[int, Ints, str]:
        size, columns = 0, []
        for c in range(x.shape[1]):
            data = encode(np.ascontiguousarray(x[:, c]), int(eps[c]))
            size += len(data)
            columns.append(decode(data, len(x)))
        return size, np.stack(columns, axis=1), how

    return run


def _sz3(x: Ints, eps: Bounds) -> tuple[int, Ints, str]:
    """The best of SZ3's algorithms and of integers and floats, column by column."""
    columns, size, used = [], 0, []
    for c in range(x.shape[1]):
        best = min(_sz3_trials(np.ascontiguousarray(x[:, c]), int(eps[c])), key=lambda trial: trial[0])
        size += best[0]
        columns.append(best[1])
        used.append(best[2])
    return size, np.stack(columns, axis=1), ", ".join(f"{name} ({used.count(name)})" for name in dict.fromkeys(used))


def _sz3_trials(x: Ints, eps: int) -> Iterator[tuple[int, Ints, str]]:
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    for kind in (np.int32, np.float32, np.float64):
        for name in ("INTERP_LORENZO", "INTERP", "LORENZO_REG", "NOPRED"):
            config = szConfig(len(x))
            config.errorBoundMode = szErrorBoundMode.ABS
            config.absErrorBound = eps if kind is np.int32 else eps + SZ3_SLACK
            config.cmprAlgo = getattr(szAlgorithm, name)
            data, _ = sz.compress(x.astype(kind), config)
            y, _ = sz.decompress(data, kind, (len(x),))
            rounded = np.rint(np.asarray(y, np.float64)).astype(np.int64)
            if np.abs(rounded - x).max() <= eps:  # floats of 32 bits cannot hold every bound
                yield len(data), rounded.astype(np.int32), f"{name.lower()} {kind.__name__}"


def lossy_coders() -> tuple[list[tuple[str, str, Lossy]], list[Skipped]]:
    """(mode, name, coder) of all that can run here, and those that cannot."""
    found: list[tuple[str, str, Lossy]] = [("bounded", "qres", _ours_bounded), ("silent", "qres", _ours_silent)]
    skipped = []
    if reason := absent("pysz", "pysz"):
        skipped.append(Skipped("SZ3", reason))
    else:
        found.append(("bounded", "SZ3", _sz3))
    found += [("bounded", line.name, by_column(line.encode, line.decode, "segments")) for line in LINES]
    found.append(("silent", SEND_ON_DELTA.name, by_column(SEND_ON_DELTA.encode, SEND_ON_DELTA.decode, "segments")))
    return found, skipped


def run(mode: str, name: str, coder: Lossy, streams: list[Stream]) -> Iterator[BoundedRow]:
    """Yield a row a stream and bound; a bound that does not hold after decoding is an error."""
    tasks = [(stream, share) for stream in streams for share in SHARES]
    done = 0
    try:
        for row in apart(lambda: (_row(mode, name, coder, stream, share) for stream, share in tasks)):
            done += 1
            yield row
    except Ended as error:
        for stream, share in tasks[done:]:
            yield {"stream": stream.name, "mode": mode, "share": share, "coder": name, "error": str(error)}


def _row(mode: str, name: str, coder: Lossy, stream: Stream, share: float) -> BoundedRow:
    row: BoundedRow = {"stream": stream.name, "mode": mode, "share": share, "coder": name}
    eps = bounds(stream.x, share)
    try:
        size, decoded, how = coder(stream.x, eps)
    except Exception as error:  # a peer may fail in any way: that is its result on this stream
        return {**row, "error": f"{type(error).__name__}: {error}"[:200]}
    worst = float((np.abs(decoded.astype(np.int64) - stream.x) / eps).max())
    if worst > 1:
        return {**row, "error": f"the error is {worst:.3f} times the bound"}
    return {**row, "bytes": size, "bits": 8 * size / stream.x.size, "how": how, "worst": worst}
