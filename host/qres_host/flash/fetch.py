"""Where an image of MicroPython comes from: a file, an address, or the build that a board's table names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from qres_host import __version__
from qres_host.errors import NO_DEVICE, USAGE, QresError
from qres_host.flash import image
from qres_host.hardware import Hardware

TIMEOUT_S = 30.0
MIN_BYTES = 64 << 10  # smaller than any MicroPython: an error page, a note


def cache_dir() -> Path:
    """Return the folder of downloaded images (it may not exist)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qres" / "images"


def load(given: str, board: Hardware) -> image.Image:
    """Return the checked image for a kind of board: the file or address `given`, "" for the one of its table.

    Raises QresError before anything is erased: a wrong chip, size or hash never reaches a board.
    """
    if not given and board.chip == "virtual":
        from qres_host.virtual import firmware

        return image.check(firmware.micropython(), flash_bytes=board.flash_bytes)
    where = given or str(board.image.get("url", ""))
    if not where:
        raise QresError(f"{board.name} names no image", "name a file with --image", USAGE)
    pinned = "" if given else str(board.image.get("sha256", ""))
    data = download(where, board.flash_bytes, pinned) if "://" in where else _read(Path(where))
    return image.check(data, flash_bytes=board.flash_bytes)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise QresError(f"cannot read {path}", error.strerror or "not a file", USAGE) from error


def download(address: str, max_bytes: int, sha256: str = "") -> bytes:
    """Return what is at an http or https address, from the cache if it is there. `sha256`: what it must hash to.

    Raises QresError when it cannot be had, has another size than announced, is too large or hashes otherwise.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise QresError(f"cannot download {address}", "name a file, or an http or https address", USAGE)
    name = Path(urlsplit(address).path).name or "image"
    kept = cache_dir() / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{name}"
    if kept.is_file():
        data = kept.read_bytes()
    else:
        data = _fetch(address, max_bytes)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        kept.unlink(missing_ok=True)
        raise QresError(f"{name} is not the build that was pinned: its SHA-256 differs", "name a file with --image")
    if not kept.is_file():
        _keep(kept, data)
    return data


def _fetch(address: str, max_bytes: int) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": f"qres/{__version__}"})
    elsewhere = "download it elsewhere and name the file with --image"
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            announced = answer.headers.get("Content-Length")
            data = answer.read(max_bytes + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise QresError(f"cannot download {address} ({reason})", elsewhere, NO_DEVICE) from error
    if len(data) > max_bytes:
        raise QresError(f"{address} is larger than the board's flash", elsewhere, USAGE)
    if announced is not None and announced.isdigit() and int(announced) != len(data):
        raise QresError(f"{address} was cut off", "run the same command again")
    if len(data) < MIN_BYTES:
        raise QresError(f"{address} has {len(data):,} bytes: that is no MicroPython", elsewhere, USAGE)
    return bytes(data)


def _keep(path: Path, data: bytes) -> None:
    """Put a download into the cache; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
