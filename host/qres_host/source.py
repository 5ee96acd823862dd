"""The source line behind a place in a board's traceback.

Modules on a board are compiled under their own names, and neither folding of constants nor the making of machine code
moves a line, so a place on the board is a place in `firmware/`. What a board runs it tells as a hash; when that is not
this installation's, the line is not shown, because it may be another.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from qres_host.errors import QresError

LINE_CHARACTERS = 160


def source_line(file: str, number: int, build: bytes = b"") -> str:
    """Return line `number` of a file of the application, stripped; "" when it is none of ours.

    `build`: the hash that the board told, none when it did not.
    """
    if build and build[:4] not in _own_builds():
        return f"(another application than this installation's: {build[:4].hex()})" if _lines(file) else ""
    lines = _lines(file)
    return lines[number - 1].strip()[:LINE_CHARACTERS] if 0 < number <= len(lines) else ""


@lru_cache(maxsize=64)
def _lines(file: str) -> tuple[str, ...]:
    from qres_host.deploy import firmware_root  # costs a tenth of a second, and most boards never crash

    path = PurePosixPath(file.lstrip("/"))
    if ".." in path.parts or path.suffix != ".py":
        return ()
    try:
        return tuple((firmware_root() / path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError, QresError, ValueError):
        return ()


@lru_cache(maxsize=1)
def _own_builds() -> frozenset[bytes]:
    from qres_host.deploy import build_id
    from qres_host.hardware import ARCHITECTURES

    return frozenset(build_id(arch) for arch in ARCHITECTURES)
