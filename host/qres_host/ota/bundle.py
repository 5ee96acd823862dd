"""What an update consists of: the manifest, signed, and every file, packed (qres.port.ota reads both)."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from qres.port import ota

from qres_host.errors import QresError

_HEAD = struct.Struct("<4sI4sH")
_SIZE = struct.Struct("<I")


class Bundle(NamedTuple):
    """An application that is ready to be sent. `parts`: the packed manifest, then the packed files in its order.

    `name`: the first four bytes of the SHA-256 of the signed manifest, by which frames name the update; `sequence`:
    unix seconds, later ones replace earlier ones; `build`: what boards will say they run.
    """

    name: bytes
    sequence: int
    build: bytes
    paths: tuple[str, ...]
    parts: tuple[bytes, ...]

    def chunks(self, index: int) -> int:
        """Return how many chunks a part is sent in."""
        return -(-len(self.parts[index]) // ota.CHUNK_BYTES)

    def chunk(self, index: int, number: int) -> bytes:
        """Return a chunk of a part."""
        return self.parts[index][number * ota.CHUNK_BYTES :][: ota.CHUNK_BYTES]

    def batches(self) -> list[tuple[int, int]]:
        """Return (first part, count) of what is sent together: the manifest, then files that fit a board's buffers."""
        found = [(0, 1)]
        size = ota.BATCH_BYTES  # the first file begins a batch
        for index in range(1, len(self.parts)):
            size += len(self.parts[index])
            if size > ota.BATCH_BYTES or found[-1][1] == 255:
                found.append((index, 0))
                size = len(self.parts[index])
            found[-1] = (found[-1][0], found[-1][1] + 1)
        return found


def public_key(private: bytes) -> bytes:
    """Return the public key of a private one, 32 bytes each."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def make(files: Mapping[str, bytes], build: bytes, private: bytes, sequence: int) -> Bundle:
    """Return the update to `files`, by path on the board, signed. Raises QresError when boards could not take it."""
    packed = {path: pack(data) for path, data in files.items()}
    manifest = bytearray(_HEAD.pack(ota.MAGIC, sequence, build, len(files)))
    for path, data in files.items():
        if len(data) >= ota.FILE_BYTES:
            raise QresError(f"{path} is too large for an update over the air", "use `qres deploy`")
        name = path.encode()
        manifest += bytes([len(name)]) + name + _SIZE.pack(len(data))[:3] + _SIZE.pack(len(packed[path]))[:3]
        manifest += hashlib.sha256(data).digest()[: ota.HASH_BYTES]
    if len(manifest) > ota.MANIFEST_BYTES - 64:
        raise QresError("too many files for an update over the air", "use `qres deploy`")
    key = Ed25519PrivateKey.from_private_bytes(private)
    signed = key.sign(ota.SIGNED + hashlib.sha256(manifest).digest()) + manifest
    name = hashlib.sha256(signed).digest()[:4]
    return Bundle(name, sequence, build, tuple(files), (pack(signed), *packed.values()))


def pack(data: bytes) -> bytes:
    """Return zlib bytes that a board can unpack."""
    packer = zlib.compressobj(9, wbits=ota.WINDOW_BITS)
    return packer.compress(data) + packer.flush()
