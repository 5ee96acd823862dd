"""The secrets of this host: swarm keys by name, and what is known of the nodes' keys, in one file for its owner alone.

`$QRES_KEYS`, else `$XDG_CONFIG_HOME/qres/keys.json`, else `~/.config/qres/keys.json`; mode 0600, replaced whole. A
swarm has a key, perhaps the `next` one while it is being changed, and the last few before, for old captures. The
private key that signs updates over the air is this host's, the same for all its swarms.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from qres_host.errors import USAGE, QresError

KEY_BYTES = 32
DEFAULT = "default"
VARIABLE = "QRES_KEYS"
PREVIOUS_MAX = 8
_MARK = b"qres key\0"  # boards compute the same, see provision


def fingerprint(key: bytes) -> str:
    """Return 16 hex digits by which people tell keys apart; they do not tell the key."""
    return hashlib.sha256(_MARK + key).digest()[:8].hex()


def store_path() -> Path:
    """Return where the keys are kept."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "qres" / "keys.json"


class KeyStore:
    """The file, read once; each change is written at once. Raises QresError when it is unreadable or open to others."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or store_path()
        self._data: dict[str, Any] = {"version": 1, "swarms": {}, "nodes": {}, "update": ""}
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except OSError as error:
            raise QresError(f"cannot read {self.path}", f"{error.strerror}; it must be yours") from error
        if mode & 0o077:
            raise QresError(f"{self.path} is open to others", f"chmod 600 {self.path}")
        try:
            found = json.loads(text)
            for swarm in found["swarms"].values():
                for key in (swarm["key"], *swarm["previous"], *([swarm["next"]] if swarm["next"] else ())):
                    if len(bytes.fromhex(key)) != KEY_BYTES:
                        raise ValueError(key)
            found["nodes"].items()
            if len(bytes.fromhex(found.setdefault("update", ""))) not in (0, KEY_BYTES):
                raise ValueError("update")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise QresError(f"{self.path} is damaged", "restore it from a copy, or move it away") from error
        self._data = found

    def swarms(self) -> list[str]:
        """Return the names of the swarms, sorted."""
        return sorted(self._data["swarms"])

    def key(self, name: str = DEFAULT) -> bytes | None:
        """Return a swarm's present key, or None."""
        swarm = self._data["swarms"].get(name)
        return bytes.fromhex(swarm["key"]) if swarm else None

    def next(self, name: str) -> bytes | None:
        """Return the key that a swarm is being changed to, or None."""
        swarm = self._data["swarms"].get(name)
        return bytes.fromhex(swarm["next"]) if swarm and swarm["next"] else None

    def previous(self, name: str) -> list[bytes]:
        """Return the keys that a swarm had before, newest first."""
        return [bytes.fromhex(key) for key in self._data["swarms"][name]["previous"]]

    def made_s(self, name: str) -> int:
        """Return when a swarm's key was made or imported, unix seconds."""
        return int(self._data["swarms"][name]["made_s"])

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return what is known of the boards, by MAC: name, swarm, fingerprints; `key` only where this host made it."""
        return dict(self._data["nodes"])

    def add(self, name: str, key: bytes | None = None) -> bytes:
        """Keep a new swarm key, or the one given. Raises QresError (usage) when the name is taken or no name."""
        if not name or not all(c.isalnum() or c in "-_." for c in name):
            raise QresError(f"'{name}' is no name for a swarm", "use letters, digits, - _ and .", USAGE)
        if name in self._data["swarms"]:
            raise QresError(f"there is a key '{name}' already", "rotate or remove it, or take another name", USAGE)
        key = key or os.urandom(KEY_BYTES)
        self._data["swarms"][name] = {"key": key.hex(), "next": "", "previous": [], "made_s": int(time.time())}
        self._write()
        return key

    def update_key(self) -> bytes:
        """Return the private key (Ed25519, 32 bytes) that signs updates over the air, made now unless it was before."""
        if not self._data["update"]:
            self._data["update"] = os.urandom(KEY_BYTES).hex()
            self._write()
        return bytes.fromhex(self._data["update"])

    def fingerprints(self) -> frozenset[str]:
        """Return the fingerprints of all present keys."""
        return frozenset(fingerprint(bytes.fromhex(swarm["key"])) for swarm in self._data["swarms"].values())

    def signs_updates(self) -> bool:
        """Return whether there is a key that signs updates."""
        return bool(self._data["update"])

    def sign_updates_with(self, private: str, replace: bool = False) -> bool:
        """Take the private key of another host, in hexadecimal; "" changes nothing. Return whether it is used now: one
        that is here already stays, unless `replace`."""
        try:
            good = len(bytes.fromhex(private)) == KEY_BYTES
        except ValueError:
            good = False
        if good and (replace or not self._data["update"]):
            self._data["update"] = private
            self._write()
        return not good or bool(self._data["update"] == private)

    def begin_rotation(self, name: str) -> bytes:
        """Return the key that a swarm is to get, made now unless it was before. Raises QresError (usage)."""
        swarm = self._swarm(name)
        if not swarm["next"]:
            swarm["next"] = os.urandom(KEY_BYTES).hex()
            self._write()
        return bytes.fromhex(swarm["next"])

    def end_rotation(self, name: str) -> None:
        """The boards have the next key: it is the present one from now on."""
        swarm = self._swarm(name)
        if swarm["next"]:
            swarm["previous"] = [swarm["key"], *swarm["previous"]][:PREVIOUS_MAX]
            swarm["key"], swarm["next"], swarm["made_s"] = swarm["next"], "", int(time.time())
            self._write()

    def cancel_rotation(self, name: str) -> None:
        """Forget the next key: no board has it."""
        self._swarm(name)["next"] = ""
        self._write()

    def remove(self, name: str) -> None:
        """Forget a swarm and all its keys. Raises QresError (usage) when there is none."""
        self._swarm(name)
        del self._data["swarms"][name]
        self._write()

    def know(self, mac: str, **facts: str) -> None:
        """Remember facts of a board."""
        self._data["nodes"].setdefault(mac, {}).update(facts)
        self._write()

    def _swarm(self, name: str) -> dict[str, Any]:
        if name not in self._data["swarms"]:
            known = ", ".join(self.swarms()) or "none yet: `qres keys new`"
            raise QresError(f"no swarm '{name}' here", f"there is {known}", USAGE)
        swarm: dict[str, Any] = self._data["swarms"][name]
        return swarm

    def _write(self) -> None:
        part = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(self._data, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            raise QresError(f"cannot write {self.path}", f"{error.strerror}; nothing was changed") from error
