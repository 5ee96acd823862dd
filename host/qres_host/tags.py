"""The tags of radio frames under one key: what `qres.packet.verify` says, with the key's part of the work done once."""

from __future__ import annotations

import hashlib
from hmac import compare_digest

from qres.packet import TAG

_BLOCK = 64


class Tags:
    """Checks frames under a swarm key (HMAC-SHA256, RFC 2104)."""

    def __init__(self, key: bytes) -> None:
        """`key`: at most 64 bytes."""
        padded = key + bytes(_BLOCK - len(key))
        self._inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded))
        self._outer = hashlib.sha256(bytes(b ^ 0x5C for b in padded))

    def right(self, frame: bytes) -> bool:
        """Whether the tag of a frame is right."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(frame[:-TAG])
        outer.update(inner.digest())
        return compare_digest(outer.digest()[:TAG], frame[-TAG:])
