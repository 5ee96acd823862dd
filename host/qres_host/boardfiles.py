"""What `qres provision` runs on a board: its state without secrets, a change staged, switched, undone.

The change lies beside the old configuration until the board itself has read and checked it; one rename puts it in
place, so a cable that is pulled leaves the old or the new one. Keys travel only to a board, and only when they are new.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from qres_host.errors import QresError
from qres_host.repl import Repl

CONFIG, PART, NEXT, OLD = "/config.json", "/config.part", "/config.next", "/config.old"
NODE_KEY = "/node.key"
_COMMON = """
import binascii, hashlib, json, os
def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)
def _json(path):
    try:
        return json.loads(_read(path) or b"null")
    except ValueError:
        return None
def _mark(key):
    return binascii.hexlify(hashlib.sha256(b"qres key\\0" + key).digest()[:8]).decode() if key else ""
def _swarm(config):
    try:
        return _mark(binascii.unhexlify((config or {}).get("swarm_key", "")))
    except ValueError:
        return ""
def _remove(*paths):
    for path in paths:
        try:
            os.remove(path)
        except OSError:
            pass
"""
_STATE = """
import machine
_found = _json("/config.json")
_public = dict(_found or {})
_public.pop("swarm_key", None)
_mac = binascii.hexlify(machine.unique_id()[:6]).decode()
print(json.dumps({"mac": _mac, "config": _public, "present": _found is not None, "key": _swarm(_found),
    "node_key": _mark(_read("/node.key"))}))
"""
_MAKE_NODE_KEY = """
_write("/node.new", os.urandom(32))
os.rename("/node.new", "/node.key")
print(_mark(_read("/node.key")))
"""
_STAGE = """
_remove("/config.old")
_found = _json("/config.json")
_fresh = _json("/config.part")
if _swarm(_found) != {expected!r}:
    raise ValueError("another swarm key is present")
if "swarm_key" not in _fresh:
    _fresh["swarm_key"] = _found["swarm_key"]
_write("/config.next", json.dumps(_fresh).encode())
_remove("/config.part")
if _json("/config.next") != _fresh:
    raise OSError("not written whole")
try:
    import qres.config
except ImportError:
    qres = None
if qres:
    qres.config.load(dict(_fresh))
print(_swarm(_fresh))
"""
_SWITCH = """
_before = _read("/config.json")
_after = _read("/config.next")
if _before is not None:
    _write("/config.old", _before)
os.rename("/config.next", "/config.json")
if _read("/config.json") != _after:
    raise OSError("not written whole")
print(_swarm(_json("/config.json")))
"""
_UNDO = """
_before = _read("/config.old")
if _json("/config.old") is not None:
    os.rename("/config.old", "/config.json")
elif {fresh!r}:
    _remove("/config.json")
_remove("/config.next", "/config.part", "/config.old")
print(_swarm(_json("/config.json")))
"""
_CLEAN = """
_remove("/config.next", "/config.part", "/config.old")
"""


class State(NamedTuple):
    """What is on a board: MAC, configuration without its key, whether there is one, fingerprints ("": no key)."""

    mac: str
    config: dict[str, Any]
    present: bool
    key: str
    node_key: str


def read_state(repl: Repl) -> State:
    """Return what is on the board. Raises QresError."""
    said = repl.run(_COMMON + _STATE).strip().splitlines()
    try:
        found = json.loads(said[-1])
        raw = bytes.fromhex(found.pop("mac"))
        config = found.pop("config")
        return State(raw.hex(":"), dict(config), **found)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise QresError("the board's answer makes no sense", "flash it with `qres flash`") from error


def make_node_key(repl: Repl) -> str:
    """Let the board make its own key, which never leaves it; return the fingerprint."""
    return repl.run(_COMMON + _MAKE_NODE_KEY).strip()


def stage(repl: Repl, config: dict[str, Any], expected: str) -> str:
    """Put the new configuration beside the old one, checked by the board; return the fingerprint of its key.

    `expected`: fingerprint that the board's present key must have. Without a key in `config` the present one stays.
    """
    repl.put({PART: json.dumps(config).encode()})
    return repl.run(_COMMON + _STAGE.format(expected=expected)).strip()


def switch(repl: Repl) -> str:
    """Put what was staged in place, keeping the old one; return the fingerprint of the key that counts now."""
    return repl.run(_COMMON + _SWITCH).strip()


def undo(repl: Repl, fresh: bool) -> str:
    """Put the old configuration back, or none where the board was `fresh`; return the fingerprint of its key."""
    return repl.run(_COMMON + _UNDO.format(fresh=fresh)).strip()


def clean(repl: Repl) -> None:
    """Remove what a change left, old secrets among it."""
    repl.run(_COMMON + _CLEAN)
