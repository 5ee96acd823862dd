"""Takes an update of the application over the air: what the gateway offers is checked, staged beside the application in
place, and tried at the next boot (qres.port.trial).

Frames of kind OTA (docs/wire.md) carry it.  The manifest comes first, signed (Ed25519) by whoever the configuration
names in `update_key`; then the files that this board lacks, each verified by its hash in the manifest before it counts.
What is staged stays, so a lost frame, a sleep or a power cut costs only what was under way: the chunks of the files
that the host asked about last, at most BATCH_BYTES (or one larger file), which lie in RAM.
"""

import gc
import hashlib
import io
import os
import sys
from array import array

import qres
from qres.compat import const
from qres.events import IDLE, OTA
from qres.port import trial

if False:
    from typing import Any

    from qres.run import Driver

# The first byte of a payload.
OFFER = const(0)
CHUNK = const(1)
POLL = const(2)
STATUS = const(3)
INSTALL = const(4)
# What a STATUS tells.
READY = const(0)
CURRENT = const(1)
REFUSED = const(2)
STAGED = const(3)
CONFIRMED = const(4)
INCOMPLETE = const(5)
CHUNK_BYTES = const(216)
BATCH_BYTES = const(6144)
FILE_BYTES = const(1 << 15)  # no file of the application is near this
MANIFEST_BYTES = const(1 << 14)
MAGIC = b"QRU1"
SIGNED = b"qres update 1\0"  # before the hash of the manifest, in what is signed
BUSY = "another update is being tried"
HASH_BYTES = const(16)
WINDOW_BITS = const(10)  # of zlib: a kilobyte to unpack
_OFFER_BYTES = const(10)
_HEAD_BYTES = const(14)  # of a manifest: magic, sequence, build, count
_SIGNATURE_BYTES = const(64)
_SLOTS = const(16)  # in which the answers to an offer come ...
_SLOT_MS = const(16)  # ... and the length of one
_RESTART_MS = const(500)
_ENERGY_PERMILLE = const(150)  # below it a board does not begin
# What is known of a file.
_NEEDED = const(0)
_STAGED = const(1)
_SAME = const(2)
_MANIFEST = "manifest"  # in the folder of what is staged
_PART = "part"


class UpdateError(ValueError):
    """Bytes that are no manifest."""


class Manifest:
    """The files of an application: `sequence` (unix seconds of its making), `build`, `count` files, an entry of each.

    The entries stay bytes, because as objects they take three times the heap.
    """

    def __init__(self, data: bytes) -> None:
        """Read a manifest without its signature.  UpdateError for anything that is none."""
        if data[:4] != MAGIC or len(data) < _HEAD_BYTES:
            raise UpdateError("no manifest")
        self.sequence = int.from_bytes(data[4:8], "little")
        self.build = data[8:12]
        self.count = int.from_bytes(data[12:14], "little")
        self._data = data
        self._starts = array("H")
        at = _HEAD_BYTES
        for _ in range(self.count):
            size = data[at] if at < len(data) else 0
            end = at + 1 + size + 6 + HASH_BYTES
            if not size or end > len(data):
                raise UpdateError("a torn manifest")
            self._starts.append(at)
            path, size, packed, _ = self.file(len(self._starts) - 1)
            if not _sane(path, max(size, packed)):
                raise UpdateError("not files of an application")
            at = end
        if at != len(data):
            raise UpdateError("not files of an application")

    def file(self, index: int) -> "tuple[str, int, int, bytes]":
        """Path, bytes, bytes as packed, and hash of a file, 0 to count - 1."""
        at = self._starts[index]
        end = at + 1 + self._data[at]
        tail = self._data[end : end + 6 + HASH_BYTES]
        return str(self._data[at + 1 : end], "utf-8"), _u24(tail), _u24(tail[3:]), tail[6:]


def _u24(data: bytes) -> int:
    return int.from_bytes(data[:3], "little")


def _sane(path: str, size: int) -> bool:
    """Whether an update may bring this file: the two of the root, or one of the package."""
    parts = path.split("/")
    inside = parts[0] == "qres" and len(parts) > 1 and not [1 for p in parts if p in ("", ".", "..")]
    return (inside or path in trial.ROOT_FILES) and size < FILE_BYTES


class Updater:
    """One board's part: `hear` each OTA frame, send what it returns.  Files lie below `root`, which ends in a slash."""

    def __init__(self, key: bytes, node: int, root: str = "/") -> None:
        """`key`: the public key that signs updates, 32 bytes; none: every offer is refused.  `node`: own number."""
        self.key = key
        self.node = node
        self.root = root
        self.next = root + trial.NEXT + "/"
        self.name = b""  # of the update that is being taken: first bytes of the hash of its signed manifest
        self.why = ""  # why it is not taken after all
        self.manifest_bytes = 0  # packed
        self.manifest: "Manifest | None" = None
        self.states = bytearray()  # of each file
        self.buffers: "dict[int, list[bytes]]" = {}  # file -> its chunks, b"" for those that are missing
        self.answer: "tuple[int, bytes] | None" = None  # (own clock, payload) that waits for its slot

    def after(self, driver: "Driver", event: "tuple[Any, ...]", queue: "list[Any]") -> None:
        """See Driver.watchers: send the answer when its time has come; restart when all is staged and said."""
        if event[0] == OTA and event[2][5] == STAGED and event[2][0] == STATUS:
            driver.restart(_RESTART_MS)
        if self.answer is None:
            return
        due, payload = self.answer
        now = driver.port.now_ms()
        if now >= due:
            self.answer = None
            queue.append((OTA, now, payload))
        else:
            driver.until_ms = min(driver.until_ms, due)
            driver.kind = IDLE

    def hear(self, payload: bytes, energy_permille: int) -> "tuple[int, bytes] | None":
        """(delay in ms, payload of the answer) or None.  Any bytes do no harm.

        `energy_permille`: what the battery has.
        """
        if not payload:
            return None
        op, name, body = payload[0], payload[1:5], payload[5:]
        try:
            if op == OFFER and len(body) >= _OFFER_BYTES and _meant(body[_OFFER_BYTES:], self.node):
                return self.node % _SLOTS * _SLOT_MS, self._offer(name, body, energy_permille)
            if not name or name != self.name:
                return None
            if op == CHUNK and len(body) > 4:
                self._chunk(int.from_bytes(body[:2], "little"), int.from_bytes(body[2:4], "little"), body[4:])
            elif op == POLL and len(body) == 4:
                return self.node % max(body[3], 1) * _SLOT_MS, self._poll(int.from_bytes(body[:2], "little"), body[2])
            elif op == INSTALL and _meant(body, self.node):
                return 0, self._install()
        except (OSError, MemoryError) as error:
            self.buffers = {}
            gc.collect()
            if isinstance(error, MemoryError):  # the next window finds the heap in better order
                return 0, self._say(INCOMPLETE, b"")
            self.why = "flash: " + str(error)
            return 0, self._say(REFUSED, self.why.encode())
        return None

    def _say(self, word: int, rest: bytes) -> bytes:
        return bytes([STATUS]) + self.name + bytes([word]) + rest

    def _offer(self, name: bytes, body: bytes, energy_permille: int) -> bytes:
        size = int.from_bytes(body[8:10], "little")
        fresh = name != self.name or (self.manifest is None and size != self.manifest_bytes)
        self.name = name
        if body[4:8] == qres.BUILD:
            return self._say(CURRENT, bytes([trial.exists(self.root + trial.STATE)]))
        why = "" if fresh else self.why
        if energy_permille < _ENERGY_PERMILLE:
            why = "battery low"
        if size > MANIFEST_BYTES:
            why = "no manifest is so large"
        why = why or self._objection(int.from_bytes(body[:4], "little"), body[4:8])
        if why:
            said = self._say(REFUSED, why.encode())
            self.name = b""
            return said
        if fresh:
            self.why = ""
            self.manifest_bytes = size
            self.manifest = None
            self.states = bytearray()
            self.buffers = {}
            data = _read(self.next + _MANIFEST)
            if data and hashlib.sha256(data).digest()[:4] == self.name:  # go on with what is staged
                self._take_manifest(data)
        return self._say(READY, b"")

    def _objection(self, sequence: int, build: bytes) -> str:
        """Why this board does not take such an update; "" when it does."""
        done = trial.read(self.root + trial.DONE)
        if not self.key:
            return "no update_key"
        if trial.exists(self.root + trial.STATE):
            return BUSY
        if done.get("failed") == _hex(build):
            return "it failed here before"
        return "older than what it has had" if sequence <= done.get("sequence", 0) else ""

    def _take_manifest(self, data: bytes) -> None:
        """Believe a signed manifest, if its signature is right, and look which of its files are here."""
        from qres.ed25519 import verify

        plain = data[_SIGNATURE_BYTES:]
        right = verify(self.key, SIGNED + hashlib.sha256(plain).digest(), data[:_SIGNATURE_BYTES])
        for used in ("ed25519", "sha512"):  # heap that nobody needs any more
            sys.modules.pop("qres." + used, None)
            if hasattr(qres, used):
                delattr(qres, used)
        if not right:
            self.why = "not signed by the update_key"
            return
        try:
            found = Manifest(plain)
        except ValueError as error:
            self.why = str(error)
            return
        self.why = self._objection(found.sequence, found.build)  # an offer is not signed
        if self.why:
            return
        self.states = bytearray(found.count)
        for i in range(found.count):
            path, size, _, digest = found.file(i)
            for folder, state in ((self.next, _STAGED), (self.root, _SAME)):
                if _matches(folder + path, size, digest):
                    self.states[i] = state
                    break
        self.manifest = found
        gc.collect()

    def _entry(self, index: int) -> "tuple[str, int, int, bytes]":
        """The file of a number: 0 is the manifest itself, of which only the packed size is known."""
        if index == 0:
            return _MANIFEST, MANIFEST_BYTES, self.manifest_bytes, b""
        if self.manifest is None or index > self.manifest.count:
            return "", 0, 0, b""
        return self.manifest.file(index - 1)

    def _needs(self, index: int) -> bool:
        if index == 0:
            return self.manifest is None
        return index <= len(self.states) and self.states[index - 1] == _NEEDED

    def _poll(self, first: int, count: int) -> bytes:
        """Which chunks of these files are missing, a bit each in their order.

        There are buffers for these files from now on, and for no others.
        """
        if self.why:
            return self._say(REFUSED, self.why.encode())
        wanted = {}
        bits = bytearray()
        at = total = 0
        for index in range(first, first + count):
            packed = self._entry(index)[2]
            chunks = (packed + CHUNK_BYTES - 1) // CHUNK_BYTES
            total += packed
            if self._needs(index) and total <= max(BATCH_BYTES, packed):
                wanted[index] = self.buffers.get(index) or [b""] * chunks
                for chunk in range(chunks):
                    k = at + chunk
                    while len(bits) <= k >> 3:
                        bits.append(0)
                    if not wanted[index][chunk]:
                        bits[k >> 3] |= 1 << (k & 7)
            at += chunks
        self.buffers = wanted
        return self._say(READY, first.to_bytes(2, "little") + bytes(bits))

    def _chunk(self, index: int, chunk: int, data: bytes) -> None:
        chunks = self.buffers.get(index, [])
        if chunk >= len(chunks) or len(data) != min(CHUNK_BYTES, self._entry(index)[2] - chunk * CHUNK_BYTES):
            return
        chunks[chunk] = data
        if b"" not in chunks:
            del self.buffers[index]
            packed = b"".join(chunks)
            del chunks
            self._finish(index, packed)
            del packed
            gc.collect()

    def _finish(self, index: int, packed: bytes) -> None:
        """Unpack a file that is complete; it counts when its hash is right, else it is asked for again."""
        path, size, _, digest = self._entry(index)
        trial.make_folders(self.next + path)
        part = self.next + _PART
        found, got = _unpack(packed, part, size)
        if index == 0:
            if found[:4] == self.name:
                os.rename(part, self.next + path)
                self._take_manifest(_read(self.next + path))
        elif got == size and found[:HASH_BYTES] == digest:
            os.rename(part, self.next + path)
            self.states[index - 1] = _STAGED

    def _install(self) -> bytes:
        """Complete what is staged with the files that stay the same; the next boot tries it."""
        if self.manifest is None or not self.states or min(self.states) == _NEEDED:
            return self._say(INCOMPLETE, b"")
        trial.keep_only(self.next, [_MANIFEST] + [self.manifest.file(i)[0] for i in range(self.manifest.count)])
        for i in range(len(self.states)):
            path, size, _, digest = self.manifest.file(i)
            if self.states[i] == _SAME:
                trial.make_folders(self.next + path)
                trial.copy(self.root + path, self.next + path)
            if not _matches(self.next + path, size, digest):
                self.states[i] = _NEEDED
                return self._say(INCOMPLETE, b"")
        state = {"state": trial.TRYING, "build": _hex(self.manifest.build), "sequence": self.manifest.sequence}
        trial.write(self.root + trial.STATE, dict(state, boots=0))
        return self._say(STAGED, b"")


def stage(driver: "Driver", payload: bytes) -> None:
    """Let the board's updater hear a frame; the first one makes it."""
    node = driver.node
    found = [watcher for watcher in driver.watchers if isinstance(watcher, Updater)]
    if not found:
        found.append(Updater(node.cfg["update_key"] or b"", node.link.me))
        driver.watchers.append(found[0])
    said = found[0].hear(payload, node.pool.permille())
    if said:
        found[0].answer = (driver.port.now_ms() + said[0], said[1])


def _hex(data: bytes) -> str:
    return "".join(["%02x" % b for b in data])


def _meant(nodes: bytes, node: int) -> bool:
    """Whether a list of numbers, four bytes each, has this board's; an empty one means all."""
    return not nodes or node.to_bytes(4, "little") in [nodes[i : i + 4] for i in range(0, len(nodes), 4)]


def _read(path: str) -> bytes:
    """A manifest; b"" when there is none."""
    try:
        if os.stat(path)[6] > MANIFEST_BYTES:
            return b""
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _matches(path: str, size: int, digest: bytes) -> bool:
    """Whether a file has this size and SHA-256."""
    try:
        if os.stat(path)[6] != size:
            return False
        found = hashlib.sha256()
        with open(path, "rb") as file:
            while True:
                data = file.read(512)
                if not data:
                    break
                found.update(data)
    except OSError:
        return False
    return found.digest()[:HASH_BYTES] == digest


def _unpack(packed: bytes, path: str, limit: int) -> "tuple[bytes, int]":
    """Write what zlib bytes hold, hardly more than `limit`; (SHA-256, bytes) of what could be read."""
    from deflate import ZLIB, DeflateIO

    found = hashlib.sha256()
    size = 0
    stream = DeflateIO(io.BytesIO(packed), ZLIB, WINDOW_BITS)
    with open(path, "wb") as file:
        while size <= limit:
            try:
                data = stream.read(512)
            except (OSError, EOFError, ValueError):  # no zlib bytes
                data = b""
            if not data:
                break
            file.write(data)
            found.update(data)
            size += len(data)
    return found.digest(), size
