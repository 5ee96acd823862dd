"""The tags of radio frames under one key: what `qres.packet.verify` says, with the key's part of the work done once."""

from __future__ import annotations

from collections.abc import Iterable
from hmac import compare_digest

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from qres.packet import TAG


class Tags:
    """Checks frames under a swarm key (HMAC-SHA256, RFC 2104)."""

    def __init__(self, key: bytes) -> None:
        """`key`: at most 64 bytes."""
        self._begin = HMAC(key, SHA256()).copy

    def right(self, payloads: Iterable[bytes], at: int = 0) -> list[bool]:
        """For each payload, whether the tag of the frame that begins at `at` in it is right."""
        begin, found = self._begin, []
        for payload in payloads:
            tag = begin()
            tag.update(payload[at:-TAG])
            found.append(compare_digest(tag.finalize()[:TAG], payload[-TAG:]))
        return found
