"""Which running swarm owns which names in the folder of links, and what a killed one left behind.

A swarm holds a lock on its claim file for as long as it lives; a claim that can be locked belongs to a dead one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from qres_host.errors import QresError

PREFIX = ".swarm-"


class Claim:
    """The names of one swarm's boards in `links`, and its working `folder`. Raises QresError when one is taken."""

    def __init__(self, links: Path, names: Sequence[str], folder: Path) -> None:
        links.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = _sweep(links)
        both = sorted(taken.intersection(names))
        if both:
            raise QresError(
                f"a virtual board named {both[0]} runs already",
                "stop the other virtual boards, or set QRES_RUNTIME_DIR to another folder",
            )
        self._path = links / f"{PREFIX}{os.getpid()}"
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        json.dump({"names": list(names), "folder": str(folder)}, self._file)
        self._file.flush()

    def release(self) -> None:
        """Give the names back."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._file.close()


def _sweep(links: Path) -> set[str]:
    """Remove what dead swarms left; return the names of the living."""
    taken: set[str] = set()
    for path in links.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, KeyError), path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                taken.update(json.load(file)["names"])
                continue
            claim = json.load(file)
            for name in claim["names"]:
                with contextlib.suppress(FileNotFoundError):
                    (links / str(name)).unlink()
            if Path(claim["folder"]).name.startswith("qres-virtual-"):
                shutil.rmtree(claim["folder"], ignore_errors=True)
            path.unlink()
    return taken
