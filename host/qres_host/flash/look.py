"""What a board holds before it is flashed: told by its MicroPython in one exchange, else read by its boot loader.

MicroPython answers in a fraction of the second that a boot loader needs to be entered and asked, and tells what lies in
the flash by its SHA-256 instead of sending it. A board that does not answer at once is left to the loader.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qres.port import trial

from qres_host.deploy import COMPILED_PACKAGE
from qres_host.errors import QresError
from qres_host.flash import files
from qres_host.flash.image import TABLE_BYTES, TABLE_OFFSET, Image, ImageError, file_system, read_table
from qres_host.flash.loader import Loader
from qres_host.repl import Repl

OWN_BYTES_MAX = 262_144  # more is read faster by the boot loader than through the REPL
_ASK = """
import binascii, esp, gc, hashlib, json, machine, os
gc.collect()
_view = memoryview(bytearray(2048))
_left = {most}
def _tell(*words):
    print(json.dumps(words))
def _region(offset, size):
    found = hashlib.sha256()
    while size > 0:
        part = _view[:min(size, len(_view))]
        esp.flash_read(offset, part)
        found.update(part)
        offset += len(part)
        size -= len(part)
    return binascii.hexlify(found.digest()).decode()
def _file(path, own):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            part = _view[:file.readinto(_view)]
            if not len(part):
                break
            found.update(part)
            if own:
                _tell("part", binascii.b2a_base64(part).decode())
    _tell("own" if own else "file", path, binascii.hexlify(found.digest()).decode())
def _walk(folder):
    global _left
    for entry in os.ilistdir(folder or "/"):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            _walk(path)
            continue
        own = path not in {names!r} and not [1 for part in {folders!r} if path.startswith(part)]
        _left -= entry[3] if own else 0
        if _left < 0:
            raise OSError("too much")
        _file(path, own)
_tell("board", binascii.hexlify(machine.unique_id()[:6]).decode(), esp.flash_size())
for _offset, _size in {regions!r}:
    _tell("region", _offset, _region(_offset, _size))
_walk("")
_tell("end")
"""


@dataclass(frozen=True)
class Seen:
    """What a board holds: `own` files by path, and of the application SHA-256 by path; None where that was not asked.

    `same`: offsets of those parts of the image that its flash is known to hold already.
    """

    mac: str
    flash_bytes: int
    own: Mapping[str, bytes]
    digests: Mapping[str, str] | None = None
    same: frozenset[int] = field(default_factory=frozenset)

    def shares(self, wanted: Mapping[str, bytes]) -> bool:
        """Whether parts of a file system with `wanted` may be there already: not, when it is known to hold none."""
        if self.digests is None:
            return True
        return any(self.digests.get(path) == _sha256(data) for path, data in wanted.items())

    def holds(self, wanted: Mapping[str, bytes]) -> bool:
        """Whether it is known to hold just this application and these own files, where the image's table says, and no
        update that another boot would try."""
        if self.digests is None or TABLE_OFFSET not in self.same or trial.STATE in self.digests:
            return False
        there = {**self.digests, **{path: _sha256(data) for path, data in self.own.items()}}
        stale = {path for path in self.digests if path.startswith(f"{COMPILED_PACKAGE}/")} - set(wanted)
        return not stale and all(there.get(path) == _sha256(data) for path, data in wanted.items())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_micropython(repl: Repl, parts: Sequence[tuple[int, bytes]]) -> Seen:
    """Ask the MicroPython at a REPL; `parts`: offsets and bytes of the image that may be there already.

    Raises QresError when it cannot tell all of it, such as another firmware's file system.
    """
    code = _ASK.format(
        most=OWN_BYTES_MAX,
        names=tuple(f"/{name}" for name in files.FILES),
        folders=tuple(f"/{name}" for name in files.FOLDERS),
        regions=[(offset, len(data)) for offset, data in parts],
    )
    try:
        return _understood(repl.run(code), parts)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise QresError("the board's answer makes no sense", "flash it with --erase") from error


def _understood(said: str, parts: Sequence[tuple[int, bytes]]) -> Seen:
    rows = [json.loads(line) for line in said.splitlines() if line.strip()]
    if rows[-1] != ["end"] or rows[0][0] != "board":
        raise ValueError
    wanted = {offset: _sha256(data) for offset, data in parts}
    own: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    same, data = set(), b""
    for kind, *words in rows[1:-1]:
        if kind == "part":
            data += base64.b64decode(words[0])
            continue
        if kind == "region":
            same |= {words[0]} if wanted[words[0]] == words[1] else set()
        elif kind == "own":
            if _sha256(data) != words[1]:
                raise ValueError
            own[words[0][1:]], data = data, b""
        else:
            digests[words[0][1:]] = words[1]
    return Seen(bytes.fromhex(rows[0][1]).hex(":"), int(rows[0][2]), own, digests, frozenset(same))


def by_loader(loader: Loader, image: Image, folder: Path, say: Callable[[str, float], None], ask: bool) -> Seen:
    """Read a board through its boot loader; `ask`: its own files too, from where its own partition table says."""
    chip = loader.identify()
    if not ask:
        return Seen(chip.mac, chip.flash_bytes, {})
    say("looking", 0.0)
    head = loader.read(TABLE_OFFSET, TABLE_BYTES, folder / "table")
    same = frozenset({TABLE_OFFSET} if head == image.data[TABLE_OFFSET : TABLE_OFFSET + TABLE_BYTES] else ())
    try:
        offset, size = file_system(read_table(head, 0), chip.flash_bytes)
    except ImageError:
        return Seen(chip.mac, chip.flash_bytes, {}, None, same)
    own = files.read_own(lambda at, count: loader.read(offset + at, count, folder / "part"), size)
    return Seen(chip.mac, chip.flash_bytes, own, None, same)
