"""Runs one coder over streams in a process of its own: size, verified round trip, speed, peak memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints
from qres_host.bench.process import Ended, apart
from qres_host.bench.streams import Stream

REPEATS = 3
WARM_ROWS = 64


class Row(TypedDict, total=False):
    """One coder on one stream. Speeds count 4 bytes a sample; memory is what the process held at most beyond before."""

    stream: str
    coder: str
    bytes: int
    bits: float  # a sample
    forms: str
    encode_mb_s: float
    decode_mb_s: float
    encode_peak_mb: float | None
    decode_peak_mb: float | None
    repeats: int
    error: str


class Packed(NamedTuple):
    """One part of a stream (a column, or the matrix), the form that took fewest bytes, and these bytes."""

    part: Ints
    form: Form
    data: bytes


def run(coder: Coder, streams: list[Stream], cap_s: float) -> Iterator[Row]:
    """Yield a row a stream as they come. Repetitions of a stream end after `cap_s` seconds, but one is always timed."""
    done = 0
    try:
        for row in apart(lambda: (_row(coder, stream, cap_s) for stream in streams), numba=not coder.plain):
            done += 1
            yield row
    except Ended as error:
        for stream in streams[done:]:
            yield {"stream": stream.name, "coder": coder.name, "error": str(error)}


def _row(coder: Coder, stream: Stream, cap_s: float) -> Row:
    try:
        return _measure(coder, stream, cap_s)
    except Exception as error:  # a peer may fail in any way: that is its result on this stream
        return {"stream": stream.name, "coder": coder.name, "error": f"{type(error).__name__}: {error}"[:200]}


def parts_of(coder: Coder, x: Ints) -> list[Ints]:
    """What the coder gets: the matrix, or each column alone."""
    return [x] if coder.whole else [np.ascontiguousarray(x[:, c]) for c in range(x.shape[1])]


def pack(coder: Coder, x: Ints) -> list[Packed]:
    """Every part in the form that takes fewest bytes; ValueError when one does not come back as it was."""
    packed = []
    for part in parts_of(coder, x):
        trials = []
        for form in coder.forms:
            data = form.encode(part)
            if not np.array_equal(form.decode(data, part.shape), part):
                raise ValueError(f"{form.name}: what was decoded differs from the input")
            trials.append(Packed(part, form, data))
        packed.append(min(trials, key=lambda trial: len(trial.data)))
    return packed


def _measure(coder: Coder, stream: Stream, cap_s: float) -> Row:
    pack(coder, stream.x[:WARM_ROWS])  # imports and compiles
    packed = pack(coder, stream.x)
    size = sum(len(each.data) for each in packed)

    def encode() -> list[bytes]:
        return [each.form.encode(each.part) for each in packed]

    def decode() -> list[Ints]:
        return [each.form.decode(each.data, each.part.shape) for each in packed]

    encode_mb, decode_mb = _peak_mb(encode), _peak_mb(decode)
    encode_s, repeats = _median_s(encode, cap_s / 2)
    decode_s, _ = _median_s(decode, cap_s / 2)
    used = [each.form.name for each in packed]
    names = [f"{name} ({used.count(name)})" if len(set(used)) > 1 else name for name in dict.fromkeys(used)]
    raw_mb = stream.x.size * 4 / 1e6
    return {
        "stream": stream.name,
        "coder": coder.name,
        "bytes": size,
        "bits": 8 * size / stream.x.size,
        "forms": ", ".join(names),
        "encode_mb_s": raw_mb / encode_s,
        "decode_mb_s": raw_mb / decode_s,
        "encode_peak_mb": encode_mb,
        "decode_peak_mb": decode_mb,
        "repeats": repeats,
    }


def _median_s(work: Callable[[], object], cap_s: float) -> tuple[float, int]:
    """(median seconds of REPEATS runs, or of as many as begin within `cap_s`; their number)."""
    times: list[float] = []
    while not times or (len(times) < REPEATS and sum(times) < cap_s):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def _peak_mb(work: Callable[[], object]) -> float | None:
    """How far the resident memory of this process rose above what it was before, in MB; None where Linux is not."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator kept would hide what is used again
        reset.write_text("5")
        before = _kilobytes(status, "VmRSS")
        kept = work()
        peak = _kilobytes(status, "VmHWM")
        del kept
    except (OSError, AttributeError, StopIteration):
        return None
    return max(peak - before, 0) / 1024


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))
