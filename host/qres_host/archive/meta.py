"""What an archive says about itself once, at its beginning: where it came from, its columns, what was given up."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from qres.codec import CodecError

from qres_host.archive import general
from qres_host.archive.fields import Fields, string, varint

BYTES, CSV, NPY, NPZ, PARQUET, WAV, TABLE = range(7)
ORIGINS = ("bytes", "csv", "npy", "npz", "parquet", "wav", "table")
MODES = ("exact", "bounded", "silent")
META_MAX = 1 << 24
COLUMNS_MAX = 1 << 16


class NotThisFormat(Exception):
    """A file is not what its name or its first bytes promise; the message says where and why."""


_KIND = re.compile(r"[<>|=]([bui][1248]|f[248]|[mM]8(\[\d{0,4}[A-Za-z]{1,2}\])?)$")
_UNIT = re.compile(r"(?:\(([^()]*)\)|\[([^\[\]]*)\])\s*$")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name as written at the source, its unit, and NumPy's name of its type ("" for text)."""

    name: str
    unit: str = ""
    kind: str = ""

    def shown_unit(self) -> str:
        """Return the unit, or what the name has in brackets at its end: `temp (degC)`."""
        match = _UNIT.search(self.name)
        return self.unit or ((match[1] or match[2] or "").strip() if match else "")


@dataclass(slots=True)
class Meta:
    """`origin` and `mode` are indices of ORIGINS and MODES; `time` is the index of the time column, -1 for none.

    `tolerance` is the limit of a mode that is not exact, as the user gave it; `details` belong to the origin.
    """

    origin: int = BYTES
    columns: list[Column] = field(default_factory=list)
    time: int = -1
    mode: int = 0
    tolerance: str = ""
    details: bytes = b""

    def pack(self) -> bytes:
        """Return the metadata as bytes. Raises NotThisFormat when no archive can say so much about itself."""
        out = bytearray((self.origin | self.mode << 4,))
        if self.mode:
            out += string(self.tolerance.encode())
        if self.origin != BYTES:
            out += varint(len(self.columns)) + varint(self.time + 1)
            for column in self.columns:
                out += string(column.name.encode()) + string(column.unit.encode()) + string(column.kind.encode())
        out += self.details
        if len(self.columns) > COLUMNS_MAX or len(out) > META_MAX:
            raise NotThisFormat("it has more columns, or more beside them, than an archive holds")
        return general.pack(bytes(out), "fast")


def unpack(payload: bytes) -> Meta:
    """Return the metadata in `payload`; CodecError for anything else."""
    outer = Fields(payload)
    fields = Fields(general.unpack(outer, META_MAX))
    outer.end()
    byte = fields.byte()
    meta = Meta(byte & 15, mode=byte >> 4)
    if meta.origin >= len(ORIGINS) or meta.mode >= len(MODES):
        raise CodecError("unknown origin or mode: a newer QRES wrote this")
    if meta.mode:
        meta.tolerance = _text(fields)
    if meta.origin != BYTES:
        count = fields.varint(COLUMNS_MAX)
        meta.time = fields.varint(count) - 1
        for _ in range(count):
            meta.columns.append(Column(_text(fields), _text(fields), _text(fields)))
        if not all(_is_known(column.kind, meta.origin) for column in meta.columns):
            raise CodecError("unknown type of a column: a newer QRES wrote this")
    meta.details = fields.rest()
    return meta


def _is_known(kind: str, origin: int) -> bool:
    """Return whether a column of an archive from `origin` may have type `kind`."""
    if not kind:
        return origin not in (NPY, NPZ, WAV)
    try:
        return bool(_KIND.match(kind)) and bool(np.dtype(kind))
    except TypeError:
        return False


def _text(fields: Fields) -> str:
    try:
        return fields.string(META_MAX).decode()
    except UnicodeDecodeError:
        raise CodecError("text that is not UTF-8") from None


def unquoted(cell: str) -> str:
    """Return what a cell of a text table says without the quotes around it."""
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def unique_names(columns: list[Column]) -> list[str]:
    """Return the columns' names without quotes; one that comes again gets `_2`, `_3`, an empty one is `c1`, `c2`."""
    names: list[str] = []
    taken: set[str] = set()
    times: dict[str, int] = {}
    for i, column in enumerate(columns, 1):
        plain = name = unquoted(column.name) or f"c{i}"
        while name in taken:
            times[plain] = times.get(plain, 1) + 1
            name = f"{plain}_{times[plain]}"
        taken.add(name)
        names.append(name)
    return names
