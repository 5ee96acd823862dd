"""What a virtual board does between power and boot.py: flash as root, the chip's modules, the board's paths."""

import gc
import hashlib
import os
import random
import struct
import sys

import micropython
import qb_esp
import qb_esp32
import qb_link
import qb_machine
import qb_radio
import qb_time
import vfs

BLOCK_BYTES = 4096
TABLE_OFFSET, TABLE_ENTRIES = 0x8000, 95
PAGE_BYTES, PAGE_US, ERASE_US = 256, 400, 45000  # as flashchip.py has them
# The chip uses 32. A read is a call of Python here, so larger ones boot four times as fast; the format is the same.
READ_BYTES = 256
FORCED_EXIT = 2


class Flash:
    """The file system's partition of the flash chip, which is the file behind descriptor 4."""

    def __init__(self):
        self._file = open(4, "r+b")
        self.slow = False  # at the REPL, where real time passes, an operation takes the time of a real flash
        self._start, self._blocks = self._partition()

    def _partition(self):
        """Offset and blocks of `vfs`, else of all behind the last partition."""
        end = 0
        for index in range(TABLE_ENTRIES):
            self._file.seek(TABLE_OFFSET + 32 * index)
            magic, _, _, offset, size, label = struct.unpack("<HBBII16s", self._file.read(28))
            if magic != 0x50AA:
                break
            if label[:4] == b"vfs\0":
                return offset, size // BLOCK_BYTES
            end = max(end, offset + size)
        return end, (self._file.seek(0, 2) - end) // BLOCK_BYTES

    def _takes(self, time_us):
        if self.slow and qb_link.repl:
            qb_link._native.sleep_us(time_us)

    def readblocks(self, block, buf, offset=0):
        """Fill `buf`."""
        self._file.seek(self._start + block * BLOCK_BYTES + offset)
        self._file.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        """Write `buf`."""
        self._takes((len(buf) + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_US)
        self._file.seek(self._start + block * BLOCK_BYTES + offset)
        self._file.write(buf)

    def ioctl(self, op, argument):
        """The block device protocol of MicroPython."""
        if op == 6:
            self._takes(ERASE_US)
        if op == 4:
            return self._blocks
        if op == 5:
            return BLOCK_BYTES
        return 0


class _Copy:
    """A module of this machine with some names replaced."""

    def __init__(self, module, **changes):
        for name in dir(module):
            if not name.startswith("__"):
                setattr(self, name, getattr(module, name))
        for name, value in changes.items():
            setattr(self, name, value)


class _Entropy:
    """os.urandom that a run can repeat: SHA-256 of the hub's seed and a counter."""

    def __init__(self, seed):
        self._seed = seed
        self._count = 0

    def take(self, n):
        """`n` bytes."""
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self._seed + self._count.to_bytes(4, "little")).digest()
            self._count += 1
        return out[:n]


def _mount():
    flash = Flash()
    vfs.umount("/")
    try:
        system = vfs.VfsLfs2(flash, readsize=READ_BYTES)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        system = vfs.VfsLfs2(flash, readsize=READ_BYTES)
    vfs.mount(system, "/")
    os.chdir("/")
    return flash


def _install(board):
    entropy = _Entropy(board["seed"])
    random.seed(int.from_bytes(entropy.take(4), "little"))
    names = sys.modules
    names["time"] = qb_time
    names["machine"] = qb_machine
    names["network"] = qb_radio.Network
    names["espnow"] = qb_radio.Espnow
    names["esp"] = qb_esp
    names["esp32"] = qb_esp32
    names["os"] = _Copy(os, urandom=entropy.take, dupterm=lambda stream, index=0: None)
    names["micropython"] = _Copy(micropython, kbd_intr=qb_link.interrupt_char)
    for name in list(names):
        if name.startswith("qb_"):
            del names[name]


def _run(name, scope):
    """Run a script, if it is there; FORCED_EXIT, or whether it came to its end."""
    try:
        with open(name) as file:
            source = file.read()
    except OSError:
        return True
    try:
        exec(compile(source, name, "exec"), scope)
    except SystemExit:
        return FORCED_EXIT
    except BaseException as error:
        sys.print_exception(error)
        return False
    return True


def _scripts(main, scope):
    """boot.py and main.py as the chip's MicroPython runs them: main.py only when boot.py came to its end."""
    ended = _run("boot.py", scope)
    if ended is True and main:
        ended = _run("main.py", scope)
    return ended


def run(scope):
    """Boot; returns when the board has reached its REPL. `scope` is the namespace of __main__."""
    flash = _mount()
    board = qb_link.start()
    flash.slow = qb_esp.slow = board["slow"]
    qb_time._start(board["boot_us"])
    qb_machine._start(board)
    qb_esp32._start(board["nvs"])
    _install(board)
    sys.path[:] = ["", "/lib", ".frozen"]
    gc.collect()
    ended = None
    while True:
        try:
            if ended is None:
                qb_link.up()
                ended = _scripts(board["main"], scope)
            if ended == FORCED_EXIT:  # SystemExit resets the interpreter
                qb_machine.soft_reset()
            qb_link.enter_repl()
            return
        except KeyboardInterrupt:  # between two scripts
            ended = False
