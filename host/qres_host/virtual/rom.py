"""The boot loader in the chip's ROM, and esptool's stub, as far as the real `esptool --chip esp32c6` asks them.

A protocol core without I/O: `receive` takes bytes and returns what is answered, each with the time that the flash
takes before. SLIP frames and commands: Espressif, "Serial Protocol". The stub that esptool uploads is RISC-V code:
it is taken in and not run; from then on this class answers as it would (16 bytes of MD5, two of status, fast reads).
Any bytes are answered, ignored, or answered with an error.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from qres_host.flash.image import xor
from qres_host.virtual.flashchip import READ_BYTES_PER_S, SECTOR_BYTES, FlashChip

# What esptool sends first. A pty has no DTR and RTS: this stands for the reset into the loader.
SYNC_FRAME = b"\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20"
MAX_FRAME_BYTES = 1 << 17
MOST_AHEAD = 7  # blocks sent before the first is acknowledged: with their escapes they fit the line's buffer
FLASH_BEGIN, FLASH_DATA, FLASH_END, MEM_BEGIN, MEM_END, MEM_DATA, SYNC = range(0x02, 0x09)
WRITE_REG, READ_REG, SPI_SET_PARAMS, _UNUSED, SPI_ATTACH, READ_SLOW, CHANGE_BAUD = range(0x09, 0x10)
DEFL_BEGIN, DEFL_DATA, DEFL_END, MD5, SECURITY_INFO = range(0x10, 0x15)
ERASE_FLASH, ERASE_REGION, READ_FLASH, RUN_USER_CODE = range(0xD0, 0xD4)
# Reasons of an error.
BAD_MESSAGE, FAILED, BAD_CHECKSUM, WRITE_FAILED, BAD_DEFLATE = 0x05, 0x06, 0x07, 0x08, 0x0B
_SPI, _EFUSE = 0x60003000, 0x600B0800
_SPI_USR = 1 << 18
_READ_ID, _READ_STATUS, _READ_STATUS_2 = 0x9F, 0x05, 0x35
_FLASH_IDS = {1 << 21: 0x1540C8, 1 << 22: 0x1640C8, 1 << 23: 0x1740C8, 1 << 24: 0x1840C8}


class Answer(NamedTuple):
    """Bytes for the host, after the seconds that the flash is busy; `early`: before them, but after earlier work."""

    data: bytes
    busy_s: float
    early: bool = False


def slip(payload: bytes) -> bytes:
    """Return one SLIP frame."""
    return b"\xc0" + payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class Rom:
    """The loader of one chip with that MAC and flash. `restart` is set when it is told to boot; `stays` when the host
    wants it to stay although it goes; `written`: the ranges (offset, end) that were erased or written."""

    def __init__(self, mac: bytes, flash: FlashChip) -> None:
        self.flash = flash
        self.stub = self.restart = self.stays = False
        self.blocks_due = 0
        self.arrived_bytes = 0  # for the flash, since power-on
        self.written: list[tuple[int, int]] = []
        self._frame = bytearray()
        self._inflate = zlib.decompressobj()
        self._at = 0
        self._end = 0
        self._block_bytes = 0
        self._erase_s_per_byte = 0.0
        self._reading: tuple[int, int, int, int] | None = None  # offset, length, block, blocks ahead
        self._read_sent = 0
        self._registers = {
            _EFUSE + 0x44: struct.unpack(">I", mac[2:])[0],
            _EFUSE + 0x48: struct.unpack(">H", mac[:2])[0] | 0xFFFE << 16,
            _EFUSE + 0x50: 1 << 24 | 1 << 18,  # package QFN32, revision v0.1
            _EFUSE + 0x54: 1 if flash.size <= 1 << 22 else 2,  # flash in the package
            0x40001000: 0x2CE0806F,
        }

    def receive(self, data: bytes) -> list[Answer]:
        """Take bytes of the host; return the answers in order."""
        answers: list[Answer] = []
        *ended, rest = data.split(b"\xc0")
        for piece in ended:
            self._frame += piece
            frame = bytes(self._frame).replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
            self._frame.clear()
            if frame:
                answers += self._packet(frame)
        self._frame += rest[: MAX_FRAME_BYTES - len(self._frame)]
        return answers

    @property
    def between_frames(self) -> bool:
        """Whether no frame has begun."""
        return not self._frame

    def _packet(self, packet: bytes) -> list[Answer]:
        if self._reading is not None and len(packet) == 4:
            return self._acknowledged(struct.unpack("<I", packet)[0])
        if len(packet) < 8 or packet[0] != 0:
            return []
        op, length, check = struct.unpack_from("<xBHI", packet)
        body = packet[8:]
        if len(body) != length:
            return [self._reply(op, error=BAD_MESSAGE)]
        faults = self.flash.faults
        if op == SYNC and faults.deaf > 0:
            faults.deaf -= 1
            return []
        if 0 <= faults.mute_after <= self.arrived_bytes:
            return []
        handler = _HANDLERS.get(op)
        if handler is None or len(body) < handler[0] or (handler[1] and not self.stub):
            return [self._reply(op, error=BAD_MESSAGE)]
        answers: list[Answer] = handler[2](self, op, body, check)
        return answers

    def _reply(self, op: int, value: int = 0, data: bytes = b"", error: int = 0, busy_s: float = 0.0) -> Answer:
        status = bytes((1 if error else 0, error)) + (b"" if self.stub else b"\0\0")
        body = data + status
        return Answer(slip(struct.pack("<BBHI", 1, op, len(body), value) + body), busy_s)

    def _ok(self, op: int, body: bytes, check: int) -> list[Answer]:
        return [self._reply(op)]

    def _sync(self, op: int, body: bytes, check: int) -> list[Answer]:
        self.stub = self.stays = False
        self.blocks_due = 0
        self._reading = None
        return [self._reply(op, 0x20120707)] * 8

    def _read_register(self, op: int, body: bytes, check: int) -> list[Answer]:
        return [self._reply(op, self._registers.get(struct.unpack_from("<I", body)[0], 0))]

    def _write_register(self, op: int, body: bytes, check: int) -> list[Answer]:
        for at in range(0, len(body) - 15, 16):
            address, value, mask, _delay = struct.unpack_from("<IIII", body, at)
            self._registers[address] = (self._registers.get(address, 0) & ~mask) | (value & mask)
            if address == _SPI and value & _SPI_USR:
                self._spi()
        return [self._reply(op)]

    def _spi(self) -> None:
        """Execute what the SPI registers describe: only what identifies the flash."""
        command = self._registers.get(_SPI + 0x20, 0) & 0xFF
        answers = {_READ_ID: _FLASH_IDS.get(self.flash.size, 0), _READ_STATUS: 0, _READ_STATUS_2: 2}
        self._registers[_SPI + 0x58] = answers.get(command, 0)
        self._registers[_SPI] = 0

    def _security(self, op: int, body: bytes, check: int) -> list[Answer]:
        return [self._reply(op, data=struct.pack("<IB7xII", 0, 0, self.flash.faults.chip, 0))]

    # The stub

    def _memory_end(self, op: int, body: bytes, check: int) -> list[Answer]:
        answer = self._reply(op)
        if struct.unpack_from("<I", body, 4)[0] == 0:
            return [answer]
        self.stub = True
        return [answer, Answer(slip(b"OHAI"), 0.0)]

    def _memory_data(self, op: int, body: bytes, check: int) -> list[Answer]:
        return [self._reply(op, error=0 if xor(body[16:]) ^ 0xEF == check & 0xFF else BAD_CHECKSUM)]

    # Writing

    def _begin(self, op: int, body: bytes, check: int) -> list[Answer]:
        size, self.blocks_due, self._block_bytes, self._at = struct.unpack_from("<IIII", body)
        self._inflate = zlib.decompressobj()
        self._end = self._at + size
        if size and self._end > self.flash.size + SECTOR_BYTES:
            self.blocks_due = 0
            return [self._reply(op, error=FAILED)]
        busy_s = self.flash.erase(self._at, size)
        if size:
            self.written.append((self._at, self._end))
        # The stub erases as it writes, the ROM before.
        self._erase_s_per_byte = busy_s / size if size and self.stub else 0.0
        return [self._reply(op, busy_s=0.0 if self.stub else busy_s)]

    def _data(self, op: int, body: bytes, check: int) -> list[Answer]:
        count, sequence = struct.unpack_from("<II", body)
        data = body[16 : 16 + count]
        if xor(data) ^ 0xEF != check & 0xFF or len(data) != count:
            return [self._reply(op, error=BAD_CHECKSUM)]
        self.arrived_bytes += count
        at = self._at
        if op == DEFL_DATA:
            try:
                data = self._inflate.decompress(data, max(1, self._end - at))
            except zlib.error:
                return [self._reply(op, error=BAD_DEFLATE)]
            self._at += len(data)
        else:
            at += sequence * self._block_bytes
        data = data[: max(0, self._end - at)]
        busy_s = self.flash.program(at, data) if data else 0.0
        if busy_s is None:
            return [self._reply(op, error=WRITE_FAILED)]
        self.blocks_due = max(0, self.blocks_due - 1)
        # The stub acknowledges data, then writes them while the next are on their way (esptool, stub_flasher.c).
        return [self._reply(op, busy_s=busy_s + len(data) * self._erase_s_per_byte)._replace(early=self.stub)]

    def _end_of_write(self, op: int, body: bytes, check: int) -> list[Answer]:
        """0: restart. From the stub that leads to the loader in ROM, where the host wants to find it."""
        answer = self._reply(op)
        self.blocks_due = 0
        if struct.unpack_from("<I", body)[0] == 0:
            self.stays = self.stub
            self.restart = not self.stub
            self.stub = False
        return [answer]

    def _erase(self, op: int, body: bytes, check: int) -> list[Answer]:
        offset, size = struct.unpack_from("<II", body) if op == ERASE_REGION else (0, self.flash.size)
        if offset + size > self.flash.size:
            return [self._reply(op, error=FAILED)]
        self.written.append((offset, offset + size))
        return [self._reply(op, busy_s=self.flash.erase(offset, size))]

    # Reading

    def _md5(self, op: int, body: bytes, check: int) -> list[Answer]:
        offset, size = struct.unpack_from("<II", body)
        digest = self.flash.md5(offset, size)
        data = digest if self.stub else digest.hex().encode()
        return [self._reply(op, data=data, busy_s=min(size, self.flash.size) / READ_BYTES_PER_S)]

    def _read_slow(self, op: int, body: bytes, check: int) -> list[Answer]:
        offset, size = struct.unpack_from("<II", body)
        return [self._reply(op, data=self.flash.read(offset, min(size, 64)).ljust(64, b"\0"))]

    def _read_fast(self, op: int, body: bytes, check: int) -> list[Answer]:
        offset, size, block, ahead = struct.unpack_from("<IIII", body)
        if not 0 < block <= SECTOR_BYTES or ahead == 0 or offset + size > self.flash.size:
            return [self._reply(op, error=BAD_MESSAGE)]
        self._reading, self._read_sent = (offset, size, block, min(ahead, MOST_AHEAD)), 0
        return [self._reply(op), *self._next_blocks(0)]

    def _next_blocks(self, acknowledged: int) -> list[Answer]:
        """What may be sent before more is acknowledged."""
        assert self._reading is not None
        offset, size, block, ahead = self._reading
        answers = []
        while self._read_sent < min(size, acknowledged + ahead * block):
            data = self.flash.read(offset + self._read_sent, min(block, size - self._read_sent))
            self._read_sent += len(data)
            answers.append(Answer(slip(data), 0.0))
        return answers

    def _acknowledged(self, count: int) -> list[Answer]:
        assert self._reading is not None
        offset, size, _block, _ahead = self._reading
        if count < size:
            return self._next_blocks(count)
        self._reading = None
        return [Answer(slip(self.flash.md5(offset, size)), 0.0)]


# Of each command: the shortest body, whether only the stub knows it, and what answers.
_HANDLERS = {
    FLASH_BEGIN: (16, False, Rom._begin),
    FLASH_DATA: (16, False, Rom._data),
    FLASH_END: (4, False, Rom._end_of_write),
    MEM_BEGIN: (16, False, Rom._ok),
    MEM_END: (8, False, Rom._memory_end),
    MEM_DATA: (16, False, Rom._memory_data),
    SYNC: (36, False, Rom._sync),
    WRITE_REG: (16, False, Rom._write_register),
    READ_REG: (4, False, Rom._read_register),
    SPI_SET_PARAMS: (24, False, Rom._ok),
    SPI_ATTACH: (4, False, Rom._ok),
    READ_SLOW: (8, False, Rom._read_slow),
    CHANGE_BAUD: (8, False, Rom._ok),
    DEFL_BEGIN: (16, False, Rom._begin),
    DEFL_DATA: (16, False, Rom._data),
    DEFL_END: (4, False, Rom._end_of_write),
    MD5: (16, False, Rom._md5),
    SECURITY_INFO: (0, False, Rom._security),
    ERASE_FLASH: (0, True, Rom._erase),
    ERASE_REGION: (8, True, Rom._erase),
    READ_FLASH: (16, True, Rom._read_fast),
}
