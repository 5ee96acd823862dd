"""An update that waits or is on its way, as files: whoever holds the gateway's port carries it out, and any program
sees how far it is. One at a time for each user: a newer job takes the place of an older one."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qres_host.errors import QresError
from qres_host.flash.backup import state_dir
from qres_host.ota.bundle import Bundle


@dataclass
class Job:
    """An update to boards: their numbers in frames, or all that the gateway knows when `nodes` is None.

    `swarm`: fingerprint of the swarm's key.
    """

    bundle: Bundle
    nodes: list[int] | None
    swarm: str
    made_s: int = field(default_factory=lambda: int(time.time()))


@dataclass
class Progress:
    """How far a job is. `boards`: a row each with node, stage, why, done (0 to 1) and heard_s (unix, 0: never)."""

    name: str
    build: str
    boards: list[dict[str, Any]] = field(default_factory=list)
    gateway: str = ""
    frames: int = 0
    frame_bytes: int = 0
    over: bool = False
    error: str = ""


def folder() -> Path:
    """Return where jobs are kept (it may not exist)."""
    return state_dir().with_name("ota")


def save(job: Job) -> None:
    """Make this the job. Raises QresError when it cannot be written."""
    bundle = job.bundle
    said = {
        "name": bundle.name.hex(),
        "sequence": bundle.sequence,
        "build": bundle.build.hex(),
        "paths": list(bundle.paths),
        "parts": [base64.b64encode(part).decode() for part in bundle.parts],
        "nodes": job.nodes,
        "swarm": job.swarm,
        "made_s": job.made_s,
    }
    _replace(folder() / "job.json", said)
    (folder() / "progress.json").unlink(missing_ok=True)


def load() -> Job | None:
    """Return the job; None when there is none that can be read."""
    found = _read(folder() / "job.json")
    try:
        parts = tuple(base64.b64decode(part, validate=True) for part in found["parts"])
        name, build = bytes.fromhex(found["name"]), bytes.fromhex(found["build"])
        bundle = Bundle(name, int(found["sequence"]), build, tuple(found["paths"]), parts)
        nodes = None if found["nodes"] is None else [int(node) for node in found["nodes"]]
        return Job(bundle, nodes, str(found["swarm"]), int(found["made_s"]))
    except (ValueError, KeyError, TypeError):
        return None


def drop() -> bool:
    """Forget the job; return whether there was one. What boards have staged stays on them and does nothing."""
    there = (folder() / "job.json").exists()
    for name in ("job.json", "progress.json"):
        (folder() / name).unlink(missing_ok=True)
    return there


def save_progress(progress: Progress) -> None:
    """Tell how far the job is. A full disk costs the telling, not the update."""
    with contextlib.suppress(QresError):
        _replace(folder() / "progress.json", asdict(progress))


def load_progress() -> Progress | None:
    """Return how far the job is; None when nobody has begun with it."""
    try:
        return Progress(**_read(folder() / "progress.json"))
    except TypeError:
        return None


@contextlib.contextmanager
def held() -> Iterator[bool]:
    """Whether this process is the one to carry out the job: while the block runs, no other one is."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder() / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = True
    except OSError:
        mine = False
    try:
        yield mine
    finally:
        os.close(fd)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise QresError(f"cannot write {path}", error.strerror or str(error)) from error
