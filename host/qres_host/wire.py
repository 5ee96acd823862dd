"""The serial wire, host side: bytes of a board in, checked frames and lines of text out.

A frame is `0x00 | COBS(type u8 | seq u16 LE | payload | crc16 BE) | 0x00` with CRC-16/GENIBUS over
type..payload. Between frames stands plain text without 0x00: the REPL, prints, tracebacks. The type
is a control character, so the second byte of a piece tells a frame from text as soon as it arrives,
and text is passed on line by line without waiting for the next frame.

Pure and bounded: no I/O, and never more than `MAX_ENCODED` bytes are held, whatever arrives.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from itertools import groupby, repeat
from typing import Any, NamedTuple

from cobs.cobs import DecodeError, decode, encode  # type: ignore[import-untyped]

RADIO, TRACE, REPLY, HELLO, PEERS, LOG, POINTS = 1, 2, 3, 4, 5, 6, 7
PAYLOAD_MAX = 2048

MAX_ENCODED = 4096  # twice the longest legal frame (2,048 bytes of payload): longer ones are garbage
_HEAD = struct.Struct("<BH")
HEAD_BYTES, CRC_BYTES = _HEAD.size, 2
_RESIDUE = 0x1D0F
_MIN_FRAME = HEAD_BYTES + CRC_BYTES
# Control characters that begin no frame type, because terminals and the raw REPL use them in text.
_TEXT_CONTROLS = frozenset(b"\b\t\n\r\x1b")
_CONTROLS = frozenset(range(1, 32)) - _TEXT_CONTROLS
_MARKS = frozenset(bytes([control]) for control in _CONTROLS)  # second bytes of frames
_NOT_TEXT = bytes(sorted(_CONTROLS | {0x7F}))
_UNKNOWN, _TEXT, _SKIP = 0, 1, 2  # what the piece still open is: not known yet, text, too long


class Frame(NamedTuple):
    """A frame whose checksum held: `type` (RADIO…POINTS), `seq` (0…65535), `payload`."""

    type: int
    seq: int
    payload: bytes


class Run(NamedTuple):
    """Frames of one `type` that came one after the other.

    `bodies` are whole: HEAD_BYTES of type and number, the payload, CRC_BYTES. Who takes many cuts only what he needs.
    """

    type: int
    bodies: list[bytes]

    @property
    def payloads(self) -> list[bytes]:
        """The payload of each."""
        return [body[HEAD_BYTES:-CRC_BYTES] for body in self.bodies]


class Text(NamedTuple):
    """One line of text between frames, without its line end."""

    line: str


def encode_frame(kind: int, seq: int, payload: bytes) -> bytes:
    """Return the bytes on the wire of one frame; for tests, tools and simulated boards."""
    body = _HEAD.pack(kind, seq & 0xFFFF) + payload
    crc = crc_hqx(body, 0xFFFF) ^ 0xFFFF
    return b"\0" + bytes(encode(body + crc.to_bytes(2, "big"))) + b"\0"


class Deframer:
    """Turns the bytes of one port into `Frame` and `Text` items, and counts what went wrong.

    Counters: `frames` accepted; `bad` pieces that were neither a valid frame nor text; `oversize`
    pieces beyond `MAX_ENCODED`; `gaps` frames missing by sequence number; `restarts` of the board.
    """

    def __init__(self) -> None:
        self.frames = self.bad = self.oversize = self.gaps = self.restarts = 0
        self._rest = b""
        self._mode = _UNKNOWN
        self._next_seq = -1

    @property
    def lost(self) -> int:
        """How much went wrong, in all."""
        return self.bad + self.oversize + self.gaps

    def feed(self, data: bytes) -> list[Frame | Text]:
        """Take the next bytes, cut anywhere; return the items that they complete, in order."""
        found: list[Frame | Text] = []
        for item in self.runs(data):
            if isinstance(item, Text):
                found.append(item)
            else:
                heads = map(_HEAD.unpack_from, item.bodies)
                found += [Frame(kind, seq, p) for (kind, seq), p in zip(heads, item.payloads, strict=True)]
        return found

    def runs(self, data: bytes) -> list[Run | Text]:
        """The same for who takes many frames at once: an item for all that follow each other and are of one type."""
        pieces = (self._rest + data).split(b"\0")
        rest = pieces.pop()
        items: list[Run | Text] = []
        if pieces and self._mode != _UNKNOWN:
            if self._mode == _TEXT:
                self._text(pieces[0] + b"\n", items)
            pieces[0] = b""
            self._mode = _UNKNOWN
        pieces = [piece for piece in pieces if piece]
        if not self._framed(pieces, items):  # as they nearly always are
            for marked, run in groupby(pieces, _may_be_frame):
                if marked:
                    self._frames(list(run), items)
                else:
                    self._text(b"\n".join(run) + b"\n", items)
        self._rest = self._open_piece(rest, items)
        return items

    def close(self) -> list[Text]:
        """The port has gone: return what is left as text, and start afresh with the next bytes."""
        items: list[Text] = []
        if self._mode == _TEXT or (self._rest and not _may_be_frame(self._rest)):
            self._text(self._rest + b"\n", items)
        elif self._rest:
            self.bad += 1
        self._rest, self._mode, self._next_seq = b"", _UNKNOWN, -1
        return items

    def _frames(self, run: list[bytes], items: list[Run | Text]) -> None:
        """Pass on the frames of consecutive pieces; where one is damaged, of halves of them."""
        if self._framed(run, items):
            return
        if len(run) > 1:
            self._frames(run[: len(run) // 2], items)
            self._frames(run[len(run) // 2 :], items)
        elif len(run[0]) > MAX_ENCODED:
            self.oversize += 1
        else:
            self.bad += 1

    def _framed(self, pieces: list[bytes], items: list[Run | Text]) -> bool:
        """Pass on the frames of consecutive pieces, each step for all of them; False when not all are sound frames."""
        if not pieces:
            return True
        bodies = _bodies(pieces)
        if bodies is None:
            return False
        kinds = [body[0] for body in bodies]
        if not _CONTROLS.issuperset(kinds):
            return False
        at = 0
        for kind, same in groupby(kinds):
            end = at + len(list(same))
            run = bodies[at:end]
            self._count([body[1] | body[2] << 8 for body in run])
            items.append(Run(kind, run))
            at = end
        return True

    def _count(self, seqs: list[int]) -> None:
        """Count frames, and what their sequence numbers say of others."""
        self.frames += len(seqs)
        next_seq = self._next_seq
        self._next_seq = seqs[-1] + 1 & 0xFFFF
        if seqs == list(range(next_seq, next_seq + len(seqs))):
            return
        for seq in seqs:
            if seq != next_seq:
                self._jump(seq, next_seq)
            next_seq = seq + 1 & 0xFFFF

    def _jump(self, seq: int, next_seq: int) -> None:
        """Account for a sequence number that is not the next one."""
        if next_seq < 0:
            return  # the first frame since the port opened: nothing is known to be missing
        missing = (seq - next_seq) & 0xFFFF
        if seq == 0 or missing >= 0x8000:  # numbers went back: the board counts anew since its boot
            self.restarts += 1
            missing = seq
        self.gaps += missing

    def _open_piece(self, rest: bytes, items: list[Any]) -> bytes:
        """Handle the piece that no 0x00 has closed yet; return the part of it to keep."""
        if self._mode == _SKIP:
            return b""
        if self._mode == _UNKNOWN and len(rest) >= 2 and not _may_be_frame(rest):
            self._mode = _TEXT
        if self._mode == _TEXT:
            end = rest.rfind(b"\n") + 1
            if end:
                self._text(rest[:end], items)
                rest = rest[end:]
            if len(rest) > MAX_ENCODED:
                self._text(rest + b"\n", items)
                rest = b""
        elif len(rest) > MAX_ENCODED:
            self.oversize += 1
            self._mode = _SKIP
            rest = b""
        return rest

    def _text(self, lines: bytes, items: list[Any]) -> None:
        """Pass on complete lines; a line with control bytes is a damaged frame and is counted."""
        for raw in lines.split(b"\n"):
            raw = raw.strip(b"\r")
            if not raw:
                continue
            if len(raw.translate(None, _NOT_TEXT)) != len(raw):
                self.bad += 1
                continue
            try:
                line = raw.decode()
            except UnicodeDecodeError:
                self.bad += 1
                continue
            # Lines of a terminal's width times fifty help nobody: long ones are cut into several.
            items.extend(Text(line[i : i + MAX_ENCODED]) for i in range(0, len(line), MAX_ENCODED))


def _may_be_frame(piece: bytes) -> bool:
    return piece[1:2] in _MARKS


def _bodies(pieces: list[bytes]) -> list[bytes] | None:
    """Return the decoded pieces when all of them are sound frames, else None."""
    if max(map(len, pieces)) > MAX_ENCODED:
        return None
    try:
        bodies = list(map(decode, pieces))
    except DecodeError:
        return None
    # An inverted CRC that follows its data leaves this remainder, so one pass checks both.
    sound = min(map(len, bodies)) >= _MIN_FRAME and {_RESIDUE}.issuperset(map(crc_hqx, bodies, repeat(0xFFFF)))
    return bodies if sound else None
