"""The tags of radio frames under one key: what `qres.packet.verify` says, with the key's part of the work done once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from hmac import compare_digest

from qres.packet import TAG

_BLOCK = 64


class Tags:
    """Checks frames under a swarm key (HMAC-SHA256, RFC 2104)."""

    def __init__(self, key: bytes) -> None:
        """`key`: at most 64 bytes."""
        padded = key + bytes(_BLOCK - len(key))
        self._inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded)).copy
        self._outer = hashlib.sha256(bytes(b ^ 0x5C for b in padded)).copy

    def right(self, frames: Iterable[bytes]) -> list[bool]:
        """For each frame, whether its tag is right."""
        start_inner, start_outer, found = self._inner, self._outer, []
        for frame in frames:
            inner, outer = start_inner(), start_outer()
            inner.update(frame[:-TAG])
            outer.update(inner.digest())
            found.append(compare_digest(outer.digest()[:TAG], frame[-TAG:]))
        return found
