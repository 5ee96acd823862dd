"""Files brought to a board over its REPL: all staged beside the old ones first, then put in their places at once.

Until everything has arrived and is verified nothing of the old application changes. A run that was cut off goes on
where it stopped: what is staged already is not sent again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qres.port import trial

from qres_host.deploy import HEAD
from qres_host.errors import QresError

if TYPE_CHECKING:
    from qres_host.repl import Repl

NEW = ".new"  # ends the name of a staged file
_FOLDERS = """
import os
for _path in {paths!r}:
    try:
        os.mkdir(_path)
    except OSError:
        pass
"""
_SWITCH = """
import os
for _path in {paths!r}:
    os.rename(_path + {new!r}, _path)
for _path in {stale!r}:
    os.remove(_path)
for _path in {folders!r}:
    try:
        os.rmdir(_path)
    except OSError:
        pass
"""
_REMOVE = """
import os
def _gone(path):
    try:
        if os.stat(path)[0] & 0x4000:
            for name in os.listdir(path):
                _gone(path + "/" + name)
            os.rmdir(path)
        else:
            os.remove(path)
    except OSError:
        pass
for _path in {paths!r}:
    _gone(_path)
"""
_NO_UPDATE = """
import json, os
try:
    with open({done!r}) as _file:
        _done = json.load(_file)
except (OSError, ValueError):
    _done = dict()
_done["sequence"] = max({now_s}, _done.get("sequence", 0))
with open({done!r} + ".new", "w") as _file:
    json.dump(_done, _file)
os.rename({done!r} + ".new", {done!r})
"""
_LIST = """
import os
def _walk(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            _walk(path)
        else:
            print(path)
try:
    _walk({folder!r})
except OSError:
    pass
"""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Difference:
    """What a board lacks: `missing` are the paths whose content differs there, `staged` those of them that lie beside
    it already, `stale` the files of an older application that go."""

    files: Mapping[str, bytes]
    missing: tuple[str, ...]
    staged: frozenset[str] = frozenset()
    stale: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.stale)

    @property
    def sent(self) -> tuple[str, ...]:
        """The paths that are still to be sent."""
        return tuple(path for path in self.missing if path not in self.staged)

    @property
    def sent_bytes(self) -> int:
        """How much that is."""
        return sum(len(self.files[path]) for path in self.sent)


def compare(repl: Repl, files: Mapping[str, bytes], package: str = "") -> Difference:
    """Return what a board lacks of `files`, by their SHA-256; what else lies in the folder `package` is stale."""
    wanted = {path: hashlib.sha256(data).digest() for path, data in files.items()}
    there = repl.digests(list(wanted))
    missing = [path for path in sorted(wanted, key=lambda path: (path == HEAD, path)) if there[path] != wanted[path]]
    new = repl.digests([path + NEW for path in missing])
    staged = frozenset(path for path in missing if new[path + NEW] == wanted[path])
    kept = {*files, *(path + NEW for path in missing)}
    found = repl.run(_LIST.format(folder=package)).split("\n") if package else []
    stale = tuple(sorted({path.strip() for path in found if path.strip()} - kept))
    return Difference(files, tuple(missing), staged, stale)


def stage(repl: Repl, difference: Difference, progress: Progress) -> None:
    """Bring what is missing to the board, beside what is there, verified. Raises QresError.

    When the file system has no room for both, what was staged is removed again.
    """
    folders = sorted({folder for path in difference.sent for folder in _parents(path)})
    if folders:
        repl.run(_FOLDERS.format(paths=folders))
    total, done = difference.sent_bytes, 0
    try:
        for path in difference.sent:
            repl.write(path + NEW, difference.files[path])
            done += len(difference.files[path])
            progress(done / max(1, total))
    except QresError as error:
        if "full" in error.message:
            remove(repl, [path + NEW for path in difference.missing])
        raise
    there = repl.digests([path + NEW for path in difference.sent])
    for path in difference.sent:
        if there[path + NEW] != hashlib.sha256(difference.files[path]).digest():
            raise QresError(f"{path} did not arrive whole", "run the command again")


def switch(repl: Repl, difference: Difference) -> None:
    """Put everything that is staged in its place, in one go, the file that names the application last."""
    folders = sorted({folder for path in difference.stale for folder in _parents(path)}, reverse=True)
    if difference:
        repl.run(_SWITCH.format(paths=list(difference.missing), new=NEW, stale=list(difference.stale), folders=folders))


def end_update(repl: Repl) -> None:
    """Forget an update over the air that is under way, and refuse all that were signed before now: another application
    is about to take its place."""
    remove(repl, [f"/{name}" for name in (trial.STATE, trial.NEXT, trial.OLD)])
    repl.run(_NO_UPDATE.format(done=f"/{trial.DONE}", now_s=int(time.time())))


def remove(repl: Repl, paths: Sequence[str]) -> None:
    """Remove files, and folders with all that is in them; what is not there is no error."""
    repl.run(_REMOVE.format(paths=list(paths)))


def bring(repl: Repl, files: Mapping[str, bytes], progress: Progress, package: str = "") -> Difference:
    """Compare, stage and switch; return what differed."""
    difference = compare(repl, files, package)
    stage(repl, difference, progress)
    if package:
        end_update(repl)
    switch(repl, difference)
    return difference


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
