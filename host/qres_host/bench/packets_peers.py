"""Coders of one packet alone: bit codes column after column, general compressors and pcodec on the columns in a row."""

from __future__ import annotations

import zlib

import numpy as np

from qres_host.bench.bits import view
from qres_host.bench.coder import Ints, Skipped, absent
from qres_host.bench.packets import Alone
from qres_host.bench.peers import lec, pco, rice
from qres_host.bench.peers.general import Press, prepare, restore


def bit_code(code: rice.Code) -> Alone:
    """The columns one after the other, without a gap."""

    def encode(x: Ints) -> bytes:
        out = np.zeros(16 * x.shape[1] + x.size * rice.VALUE_BITS_MAX // 8, np.uint8)
        at = 0
        for c in range(x.shape[1]):
            at = code.write(x[:, c].astype(np.int64), out, at)
        return out[: (at + 7) >> 3].tobytes()

    def decode(data: bytes, rows: int, channels: int) -> Ints:
        bits, at, columns = view(data), 0, []
        for _ in range(channels):
            column, at = code.read(bits, at, rows)
            columns.append(column)
        return np.stack(columns, axis=1).astype(np.int32)

    return Alone(encode, decode)


def general(press: Press, expand: Press, shuffle: bool) -> Alone:
    """Differences along the columns in a row, then a general compressor without a dictionary."""

    def encode(x: Ints) -> bytes:
        return press(prepare(np.ascontiguousarray(x.T).reshape(-1), True, shuffle))

    def decode(data: bytes, rows: int, channels: int) -> Ints:
        return restore(expand(data), rows * channels, True, shuffle).reshape(channels, rows).T

    return Alone(encode, decode)


def _deflate(data: bytes) -> bytes:
    press = zlib.compressobj(9, wbits=-15)  # without the header and the checksum
    return press.compress(data) + press.flush()


def _brotli(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.compress(data, quality=11))


def _unbrotli(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.decompress(data))


def _pcodec() -> Alone:
    form = pco.form(12)
    return Alone(
        lambda x: form.encode(np.ascontiguousarray(x.T).reshape(-1)),
        lambda data, rows, channels: form.decode(data, (rows * channels,)).reshape(channels, rows).T,
    )


def alone() -> tuple[list[tuple[str, Alone]], list[Skipped]]:
    """All that can run here, and those that cannot."""
    found = [(code.name, bit_code(code)) for code in (lec.CODE, rice.DELTA, rice.FIXED)]
    found += [
        ("deflate-9, delta", general(_deflate, lambda data: zlib.decompress(data, -15), False)),
        ("deflate-9, delta+shuffle", general(_deflate, lambda data: zlib.decompress(data, -15), True)),
    ]
    skipped = []
    if reason := absent("brotli", "brotli"):
        skipped.append(Skipped("brotli-11 in packets", reason))
    else:
        found.append(("brotli-11, delta", general(_brotli, _unbrotli, False)))
        found.append(("brotli-11, delta+shuffle", general(_brotli, _unbrotli, True)))
    if reason := absent("pcodec", "pcodec"):
        skipped.append(Skipped("pcodec-12 in packets", reason))
    else:
        found.append(("pcodec-12", _pcodec()))
    return found, skipped
