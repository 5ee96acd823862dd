"""A chunk: up to 64 consecutive samples of a board as one small blob.

Layout: channels u8, then columns: the regime of each sample, then each channel. A column is a presence
bitmap u64 LE and, for each bit set from the lowest, the difference to the value before as a zigzag varint.
One row a chunk instead of one a sample makes an hourly board cost ten rows a month, not seven hundred.
"""

from __future__ import annotations

SAMPLES = 64
Row = tuple[int, tuple[int | None, ...]]  # regime, values


def pack(rows: dict[int, Row]) -> bytes:
    """Return the blob of the samples at offsets 0…63; all rows have the same number of channels."""
    offsets = sorted(rows)
    channels = len(rows[offsets[0]][1])
    out = bytearray([channels])
    _pack_column(out, [(i, rows[i][0]) for i in offsets])
    for channel in range(channels):
        column = [(i, rows[i][1][channel]) for i in offsets]
        _pack_column(out, [(i, value) for i, value in column if value is not None])
    return bytes(out)


def unpack(blob: bytes) -> dict[int, Row]:
    """Return the samples of a blob by offset. Raises ValueError when it is no chunk."""
    try:
        channels, at = blob[0], 1
        regimes, at = _unpack_column(blob, at)
        columns = []
        for _ in range(channels):
            column, at = _unpack_column(blob, at)
            columns.append(column)
    except IndexError:
        raise ValueError("not a chunk") from None
    if at != len(blob):
        raise ValueError("not a chunk")
    return {i: (regime, tuple(column.get(i) for column in columns)) for i, regime in regimes.items()}


def _pack_column(out: bytearray, cells: list[tuple[int, int]]) -> None:
    present = 0
    for i, _ in cells:
        present |= 1 << i
    out += present.to_bytes(8, "little")
    last = 0
    for _, value in cells:
        delta, last = value - last, value
        n = delta << 1 if delta >= 0 else ~(delta << 1)
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        out.append(n)


def _unpack_column(blob: bytes, at: int) -> tuple[dict[int, int], int]:
    present = int.from_bytes(blob[at : at + 8], "little")
    at += 8
    cells, value = {}, 0
    while present:
        n = shift = 0
        while True:
            byte = blob[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        value += n >> 1 ^ -(n & 1)
        low = present & -present
        cells[low.bit_length() - 1] = value
        present ^= low
    return cells, at
