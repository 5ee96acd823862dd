"""An update of the application is tried before it counts: files beside those in place, taken over or thrown away.

/next holds a whole application, /update says how far it is: {"state": "trying", ...}, from the moment when all of it is
there.  A boot then runs from /next.  When the board does what it should (it has sampled and heard its swarm) the state
becomes "confirmed"; the next boot puts the files in place, and the one after it starts them.  When it restarts more
than BOOTS times before that, or gets nowhere in DEADLINE_MS, the files are removed, and the application in place runs
on as before.  /updated remembers which update came last, so that no older one is taken again, and which one failed.

Each step may be cut off by a loss of power and is done again by the next boot.
"""

import json
import os

from qres.events import COMMAND, OTA, SAMPLE
from qres.wake import UNSYNCED

if False:
    from typing import Any

    from qres.run import Driver

NEXT, STATE, DONE, OLD = "next", "update", "updated", "prev"
TRYING, CONFIRMED = "trying", "confirmed"
ROOT_FILES = ("boot.py", "main.py")
PACKAGE = "qres"
BOOTS = 3  # the self-test of machine code takes one, a battery that is changed another
DEADLINE_MS = 86400000
CONFIRMATION = b"\3\0\0\0\0\4"  # qres.port.ota: STATUS of no particular name, CONFIRMED
_RESTART_MS = 500


def read(path: str) -> "dict[str, Any]":
    """The JSON object in a file; an empty one when there is none."""
    try:
        with open(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: str, state: "dict[str, Any]") -> None:
    """Replace a file by a JSON object: a power cut leaves the old or the new one."""
    with open(path + ".new", "w") as file:
        json.dump(state, file)
    os.rename(path + ".new", path)


def choose(slept: bool, root: str = "/") -> "bool | None":
    """At a boot with an update under way: whether to run it, from NEXT; None: it is in place now, start anew.

    `slept`: this boot ends a deep sleep.
    """
    state = read(root + STATE)
    if state.get("state") == CONFIRMED:
        _take_over(root, state.get("sequence", 0))
        return None
    boots = state.get("boots", BOOTS)
    whole = exists(root + NEXT + "/" + ROOT_FILES[1]) and exists(root + NEXT + "/" + PACKAGE)
    if state.get("state") == TRYING and whole and slept:
        return True
    if state.get("state") == TRYING and whole and boots < BOOTS:
        state["boots"] = boots + 1
        state.pop("until_ms", None)  # the clock may have begun anew
        try:
            write(root + STATE, state)
            return True
        except OSError:
            pass  # a board that cannot count its boots must not try for ever
    print("The update %s failed here: the application before it runs." % state.get("build", ""))
    _end(root, state.get("build", ""), state.get("sequence", 0))
    return False


def _take_over(root: str, sequence: int) -> None:
    """Put a confirmed update in place."""
    fresh = root + NEXT + "/"
    if exists(fresh + PACKAGE):
        if exists(root + PACKAGE):
            remove(root + OLD)
            os.rename(root + PACKAGE, root + OLD)
        os.rename(fresh + PACKAGE, root + PACKAGE)
    for name in ROOT_FILES:
        if exists(fresh + name):
            os.rename(fresh + name, root + name)
    remove(root + OLD)
    _end(root, "", sequence)


def _end(root: str, failed: str, sequence: int) -> None:
    """Remember how it ended, and forget the rest; what frees room comes first, and first of all what would be run."""
    remove(root + NEXT + "/" + ROOT_FILES[1])
    remove(root + NEXT)
    done = read(root + DONE)
    done["failed"] = failed
    done["sequence"] = max(sequence, done.get("sequence", 0))
    try:
        write(root + DONE, done)
    except OSError:
        pass  # a flash that takes nothing must not keep the board from its application
    os.remove(root + STATE)


class Trial:
    """An update that runs: watches whether the board does what it should."""

    def __init__(self, now_ms: int, build: bytes, root: str = "/") -> None:
        """`now_ms`: the board's clock; `build`: what runs."""
        self._path = root + STATE
        self._state = read(self._path)
        self._build = build
        self._commanded = self._sampled = False
        if "until_ms" not in self._state:
            self._state["until_ms"] = now_ms + DEADLINE_MS
            write(self._path, self._state)

    def after(self, driver: "Driver", event: "tuple[Any, ...]", queue: "list[Any]") -> None:
        """See Driver.watchers: confirm the update when board and swarm work; restart when it had its time."""
        node = driver.node
        now = driver.port.now_ms()
        if self._state["state"] == CONFIRMED:
            driver.restart(_RESTART_MS)  # all is said
            return
        self._commanded = self._commanded or event[0] == COMMAND
        if event[0] == SAMPLE and [1 for v in event[2] if v is not None]:
            self._sampled = True
        works = self._commanded if node.sentinel else node.clock.stratum != UNSYNCED
        if works and (not node.senses or self._sampled):
            driver.port.stage(driver, b"")  # raises where it could not be updated again without a cable
            self._state["state"] = CONFIRMED
            write(self._path, self._state)
            if node.radio:
                queue.append((OTA, now, CONFIRMATION + self._build))
            else:
                driver.restart(_RESTART_MS)
        elif now > self._state["until_ms"]:
            self._state["boots"] = BOOTS
            write(self._path, self._state)
            driver.restart(0)


# Files


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _is_folder(path: str) -> bool:
    return os.stat(path)[0] & 0x4000 != 0


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it; no error when there is none."""
    if not exists(path):
        return
    if _is_folder(path):
        for name in os.listdir(path):
            remove(path + "/" + name)
        os.rmdir(path)
    else:
        os.remove(path)


def make_folders(path: str) -> None:
    """Make the folders above a file."""
    at = path.find("/", 1)
    while at > 0:
        if not exists(path[:at]):
            os.mkdir(path[:at])
        at = path.find("/", at + 1)


def copy(source: str, target: str) -> None:
    """Copy a file; under its name there is nothing, or all of it."""
    with open(source, "rb") as file, open(target + ".new", "wb") as out:
        while True:
            data = file.read(512)
            if not data:
                break
            out.write(data)
    os.rename(target + ".new", target)


def keep_only(folder: str, paths: "list[str]") -> None:
    """Remove what is in a folder (which ends in a slash) and not among these paths below it."""
    for name in os.listdir(folder[:-1]):
        inside = [path[len(name) + 1 :] for path in paths if path[: len(name) + 1] == name + "/"]
        if inside and _is_folder(folder + name):
            keep_only(folder + name + "/", inside)
        elif name not in paths:
            remove(folder + name)
