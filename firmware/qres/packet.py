"""Radio frames: header, payload, authentication tag; at most 250 bytes, the limit of ESP-NOW.

kind u8 (version << 4 | kind) | node u32 | session u16 | counter u24 | payload | tag 8; all little endian.
Session and counter never repeat under one key, so a receiver can refuse what it has accepted before.
"""

from qres.compat import const, hmac_sha256
from qres.model import CHANNELS_MAX, size_bytes

VERSION = const(1)
FRAME_MAX = const(250)
HEAD = const(10)
TAG = const(8)
PAYLOAD_MAX = const(232)

DATA = const(1)
UPDATE = const(2)
MODEL = const(3)
TELEMETRY = const(4)
ALERT = const(5)
PULL = const(6)
OTA = const(7)
KIND_NAMES = ("", "DATA", "UPDATE", "MODEL", "TELEMETRY", "ALERT", "PULL", "OTA")

NAMES_MAX = const(36)  # of checkpoints that an announcement tells of; beside the largest model 52 bytes are left
COUNTER_MAX = const(0xFFFFFF)


class PacketError(ValueError):
    """Bytes that are no frame or no payload of their kind."""


def node_id(mac: bytes) -> int:
    """The node's number in frames: the low 30 bits of its MAC address (6 bytes)."""
    return int.from_bytes(mac[2:6], "big") & 0x3FFFFFFF


def seal(key: bytes, kind: int, node: int, session: int, counter: int, payload: bytes) -> bytes:
    """A frame under `key`; PacketError when it would exceed 250 bytes."""
    if len(payload) > PAYLOAD_MAX:
        raise PacketError("payload too large")
    head = bytes([VERSION << 4 | kind]) + node.to_bytes(4, "little") + session.to_bytes(2, "little")
    body = head + counter.to_bytes(3, "little") + payload
    return body + hmac_sha256(key, body)[:TAG]


def parse(frame: bytes) -> "tuple[int, int, int, int, bytes]":
    """(kind, node, session, counter, payload) of a frame, not yet authenticated; PacketError for other bytes."""
    if not HEAD + TAG <= len(frame) <= FRAME_MAX:
        raise PacketError("wrong length")
    kind = frame[0] & 15
    if frame[0] >> 4 != VERSION or not DATA <= kind <= OTA:
        raise PacketError("unknown version or kind")
    node = int.from_bytes(frame[1:5], "little")
    if node > 0x3FFFFFFF:
        raise PacketError("bad node")
    counter = int.from_bytes(frame[7:10], "little")
    return kind, node, int.from_bytes(frame[5:7], "little"), counter, frame[HEAD:-TAG]


def verify(key: bytes, frame: bytes) -> bool:
    """Whether the tag is right; compares all of it in any case."""
    tag = hmac_sha256(key, frame[:-TAG])
    differ = 0
    for i in range(TAG):
        differ |= tag[i] ^ frame[len(frame) - TAG + i]
    return differ == 0


class Update:
    """A GhostUpdate: what a node learned in an epoch, as a change of the model that it started from."""

    def __init__(self, epoch: int, base: bytes, residual: int, accuracy: int, commitment: bytes, delta: bytes) -> None:
        """`base` 4-byte model hash; residual error and accuracy gain Q16.16 (0 to 1); `commitment` 8 bytes of the hash
        over the epoch's samples; packed `delta`."""
        self.epoch = epoch
        self.base = base
        self.residual = residual
        self.accuracy = accuracy
        self.commitment = commitment
        self.delta = delta

    def pack(self, model_key: int) -> bytes:
        """The payload; `model_key` u16 names the layout of channels."""
        head = self.epoch.to_bytes(4, "little") + model_key.to_bytes(2, "little") + self.base
        gains = min(self.residual, 65535).to_bytes(2, "little") + min(self.accuracy, 65535).to_bytes(2, "little")
        return head + gains + self.commitment + self.delta


def unpack_update(payload: bytes, model_key: int) -> Update:
    """The payload of an UPDATE frame; PacketError when it is none or of another layout of channels."""
    if len(payload) < 25 or int.from_bytes(payload[4:6], "little") != model_key:
        raise PacketError("not an update of this swarm")
    word = int.from_bytes(payload[10:14], "little")
    return Update(
        int.from_bytes(payload[:4], "little"),
        payload[6:10],
        word & 0xFFFF,
        word >> 16,
        payload[14:22],
        payload[22:],
    )


class Announcement:
    """A model that a node holds, with its clock: the swarm's beacon and the newcomer's first lesson.

    A beacon names the model only: no channels, no order, and four bytes of hash in place of the packed form.
    """

    def __init__(
        self, time_ms: int, stratum: int, epoch: int, inputs: int, channels: int, order: int, packed: bytes
    ) -> None:
        """Swarm time when sent; the clock's stratum, 0 to 15; updates in the model, 0 to 255; its packed form.

        `held` and `missed` are names of checkpoints, four bytes each, that the host holds and that it misses.
        """
        self.held = b""
        self.missed = b""
        self.time_ms = time_ms
        self.stratum = stratum
        self.epoch = epoch
        self.inputs = inputs
        self.channels = channels
        self.order = order
        self.packed = packed

    def pack(self, model_key: int) -> bytes:
        """The payload; `model_key` u16 names the layout of channels."""
        head = self.time_ms.to_bytes(6, "little") + self.epoch.to_bytes(4, "little") + model_key.to_bytes(2, "little")
        head += bytes([self.stratum, min(self.inputs, 255), self.channels, self.order]) + self.packed
        if self.held or self.missed:
            head += bytes([len(self.held) >> 2]) + self.held + self.missed
        return head


def unpack_model(payload: bytes) -> Announcement:
    """The payload of a MODEL frame; PacketError when it is none.  The model key is `payload[10:12]`."""
    if len(payload) < 16:
        raise PacketError("truncated announcement")
    channels, order = payload[14], payload[15]
    size = size_bytes(channels, order) if channels else 4
    if payload[12] > 15 or channels > CHANNELS_MAX or (order and not channels) or len(payload) < 16 + size:
        raise PacketError("not an announcement")
    time_ms = int.from_bytes(payload[:6], "little")
    if time_ms >= 1 << 47:
        raise PacketError("absurd time")
    epoch = int.from_bytes(payload[6:10], "little")
    said = Announcement(time_ms, payload[12], epoch, payload[13], channels, order, payload[16 : 16 + size])
    names = payload[17 + size :]
    if len(payload) > 16 + size:
        if not names or len(names) % 4 or payload[16 + size] > len(names) >> 2:
            raise PacketError("not an announcement")
        said.held = names[: 4 * payload[16 + size]]
        said.missed = names[len(said.held) :]
    return said


def model_key(payload: bytes) -> int:
    """The layout of channels that a MODEL payload is for."""
    return int.from_bytes(payload[10:12], "little")


def pack_alert(regime: int, entropy: int, epoch: int) -> bytes:
    """The payload of an ALERT: regime, entropy Q16.16 (0 to 1) and epoch."""
    return bytes([regime]) + min(entropy, 65535).to_bytes(2, "little") + epoch.to_bytes(4, "little")


def unpack_alert(payload: bytes) -> "tuple[int, int, int]":
    """(regime, entropy, epoch) of an ALERT; PacketError when it is none."""
    if len(payload) != 7 or payload[0] > 2:
        raise PacketError("not an alert")
    return payload[0], int.from_bytes(payload[1:3], "little"), int.from_bytes(payload[3:7], "little")


def names_of(text: object) -> bytes:
    """The names of checkpoints, four bytes each, of up to NAMES_MAX in hexadecimal; none when it is no such text."""
    if not isinstance(text, str) or len(text) > 8 * NAMES_MAX or len(text) % 8:
        return b""
    if [c for c in text if c not in "0123456789abcdef"]:
        return b""
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])
