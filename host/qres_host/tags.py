"""The tags of radio frames under one key: what `qres.packet.verify` says, with the key's part of the work done once."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from numpy.typing import NDArray
from qres.packet import TAG


class Tags:
    """Checks frames under a swarm key (HMAC-SHA256, RFC 2104)."""

    def __init__(self, key: bytes) -> None:
        """`key`: at most 64 bytes."""
        self._begin = HMAC(key, SHA256()).copy

    def right(self, frames: Sequence[bytes], before: int = 0, behind: int = 0) -> NDArray[np.bool_]:
        """For each frame, whether its tag is right. Of each, so many bytes before and behind do not belong to it."""
        begin, digests = self._begin, []
        end, tag_end = -TAG - behind, -behind or None
        for frame in frames:
            tag = begin()
            tag.update(frame[before:end])
            digests.append(tag.finalize())
        wanted = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, SHA256.digest_size)[:, :TAG].tobytes()
        found = [frame[end:tag_end] for frame in frames]
        if compare_digest(wanted, b"".join(found)):  # as nearly always
            return np.ones(len(frames), bool)
        return np.array([compare_digest(wanted[i * TAG : (i + 1) * TAG], tag) for i, tag in enumerate(found)], bool)
