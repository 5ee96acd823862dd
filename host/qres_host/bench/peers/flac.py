"""FLAC by the reference encoder at -8 -e -p, one channel a column; only its audio frames count."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import numpy as np

from qres_host.bench.coder import Coder, Form, Ints, Shape, Skipped, to_bytes

RATE = 1000
BLOCK = 4096  # samples a frame, what -8 chooses
FRAME_BITS = {4: 16, 6: 24, 7: 32}  # how a frame's header names the bits of a sample
RAW = ("--force-raw-format", "--endian=little", "--sign=signed", "--totally-silent", "-f", "-c", "-")
BEST = ("-8", "-e", "-p", "--no-padding", "--no-seektable", "--lax", "--channels=1", f"--sample-rate={RATE}")


def _bits(x: Ints) -> int:
    """The narrowest of 16, 24 and 32 bits that hold the column."""
    top = max(-int(x.min()) - 1, int(x.max()))
    return 16 if top < 1 << 15 else 24 if top < 1 << 23 else 32


def _run(arguments: tuple[str, ...], data: bytes) -> bytes:
    done = subprocess.run(("flac", *arguments), input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"flac: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout


def _frames(file: bytes) -> bytes:
    """What follows the metadata blocks of a FLAC file (RFC 9639, section 8)."""
    at, last = 4, False
    while not last:
        last = bool(file[at] & 128)
        at += 4 + int.from_bytes(file[at + 1 : at + 4], "big")
    return file[at:]


def _head(bits: int, rows: int) -> bytes:
    """The least file header that a decoder needs: STREAMINFO with what the reader knows anyway."""
    packed = RATE << 44 | 0 << 41 | (bits - 1) << 36 | rows
    info = BLOCK.to_bytes(2, "big") * 2 + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes([128]) + len(info).to_bytes(3, "big") + info


def _encode(x: Ints) -> bytes:
    if not x.size:
        return b""
    bits = _bits(x)
    raw = to_bytes(x.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8])
    return _frames(_run((*BEST, f"--bps={bits}", *RAW), raw))


def _decode(data: bytes, shape: Shape) -> Ints:
    if not data:
        return np.zeros(shape, np.int32)
    bits = FRAME_BITS[data[3] >> 1 & 7]
    raw = np.frombuffer(_run(("-d", *RAW), _head(bits, shape[0]) + data), np.uint8).reshape(-1, bits // 8)
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 4 - bits // 8 :] = raw
    return (wide.view("<i4").reshape(-1) >> (32 - bits)).astype(np.int32)


def coders() -> Iterator[Coder | Skipped]:
    """FLAC, where its program is installed."""
    if shutil.which("flac") is None:
        yield Skipped("FLAC -8ep", "the program flac is not installed (apt install flac)")
    else:
        yield Coder("FLAC -8ep", (Form("frames", _encode, _decode),))
