"""The swarm key: where a command finds the 32 bytes that tell the swarm's frames from others'."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from qres_host.devices import Uri
from qres_host.errors import USAGE, QresError

KEY_VARIABLE = "QRES_SWARM_KEY"


def parse_key(text: str) -> bytes:
    """Return the swarm key, 32 bytes: 64 hex digits, or a board's config.json that holds it.

    Raises QresError (usage) for anything else.
    """
    if text.endswith(".json") or "/" in text:
        try:
            text = str(json.loads(Path(text).read_text()).get("swarm_key", ""))
        except (OSError, ValueError, AttributeError) as error:
            raise QresError(f"no swarm key in {text}", "name the config.json of a board", USAGE) from error
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        remedy = f"give 64 hex digits or a board's config.json as --key, or in {KEY_VARIABLE}"
        raise QresError("a swarm key is missing or malformed", remedy, USAGE)
    return key


def find_key(given: str, near: Path) -> bytes:
    """Return the key that was given, else the one beside a capture (its `config.json`)."""
    beside = (near if near.is_dir() else near.parent) / "config.json"
    if not given and beside.is_file():
        return parse_key(str(beside))
    return parse_key(given)


def key_for(given: str, devices: Iterable[Uri]) -> bytes:
    """Return the key that was given, else the public one of virtual boards when there are no others."""
    if not given and all(uri.scheme == "virtual" for uri in devices):
        from qres_host.virtual.specs import DEMO_KEY

        return parse_key(DEMO_KEY)
    return parse_key(given)
