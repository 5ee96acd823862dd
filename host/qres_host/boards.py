"""Who a board is: its MAC, name, role and channels, from what it says in HELLO."""

from __future__ import annotations

from typing import Any, NamedTuple

from qres.packet import node_id

from qres_host.records import Event
from qres_host.streams import BUILD_BYTES

CHANNELS_MAX = 64  # in a HELLO; a swarm has at most 15


class Board(NamedTuple):
    """A board's own words, cleaned. `channels`: dicts of name, unit and scale (a decimal string).

    `period_ms`, `epoch_ms`: between samples and between learning rounds, 0 when it did not say. `build`: what it runs,
    the five bytes of qres.port.contract, or none.
    """

    node: int
    mac: str
    name: str
    role: str
    channels: list[dict[str, str]]
    period_ms: int
    epoch_ms: int
    build: bytes


def parse_mac(text: str) -> bytes:
    """Return the 6 bytes of a MAC in any common spelling. Raises ValueError for other text."""
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError("a MAC has six bytes")
    return raw


def board_of_hello(event: Event) -> Board | None:
    """Return the board that said hello in `event`; None for other events and for nonsense."""
    said = event.value
    if event.kind != "hello" or said is None:
        return None
    try:
        mac = parse_mac(str(said.get("mac", "")))
    except ValueError:
        return None
    return Board(
        node_id(mac),
        mac.hex(":"),
        str(said.get("name", "")),
        str(said.get("role", "")),
        channels_of(said.get("channels")),
        _positive(said.get("period_ms")),
        _positive(said.get("epoch_ms")),
        _build(said.get("build"), said.get("kernels")),
    )


def _build(said: Any, kernels: Any) -> bytes:
    try:
        build = bytes.fromhex(said) + bytes([kernels])
    except (TypeError, ValueError):
        return b""
    return build if len(build) == BUILD_BYTES else b""


def _positive(said: Any) -> int:
    return said if isinstance(said, int) and 0 < said < 1 << 47 else 0


def channels_of(said: Any) -> list[dict[str, str]]:
    """Return a list of channels with text for name, unit and scale, whatever was said."""
    found = []
    for channel in said[:CHANNELS_MAX] if isinstance(said, list) else []:
        if isinstance(channel, dict):
            name, unit, scale = (str(channel.get(key, "")) for key in ("name", "unit", "scale"))
            found.append({"name": name, "unit": "" if unit == "-" else unit, "scale": scale or "1"})
    return found
