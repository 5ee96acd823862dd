"""The virtual board's side of the hub protocol (its other side: vm.py). Runs in the MicroPython machine.

A message to the hub is <op u8, tag u8, length u16, payload>; the answer to one that waits is
<length u16, tag u8, flags u8, local clock us i64, count u8, count x row i32, frames>, a frame being
<length u8, rssi i8, mac 6, data>. Computing takes no virtual time: the clock moves only with an answer.
"""

import select
import struct
import sys
import time as _native

import micropython

SEND, WAIT, DEEP, RESET, RADIO, NVS, REPL, CLOCK, POLL, RESYNC, RXBUF, UP, SENSED = range(1, 14)
WAKE_PACKET, WAKE_STDIN, LIGHT = 1, 2, 4  # flags of WAIT
STDIN, CAUSE_SHIFT = 1, 4  # flags of an answer
HARD, SOFT, WATCHDOG = 0, 1, 2  # kinds of RESET
MARKER = b"\x7fqres-resync\x7f"
MISSING = -0x80000000

_file = open(3, "r+b")
now_us = 0  # the board's local clock, us of unix time as the board would count it
row = ()  # sensor readings of this instant
frames = []  # received, not yet read: (mac, frame, rssi)
repl = False  # at the REPL real time passes, and the hub does not wait for this board
_base_us = 0  # native clock at the moment the REPL began
_tag = 0
_dirty = False  # an answer was interrupted: the byte stream must be aligned again
_up_s = -1.0  # CPU time of this process when boot.py began; -1.0 once the board has sensed
wdt_us = 0  # local instant at which the watchdog bites; 0 = not armed


def local_us():
    """Local clock in microseconds of unix time."""
    if repl:
        return now_us + _native.ticks_us() - _base_us
    return now_us


def tell(op, payload=b""):
    """Send a message that nothing answers."""
    _file.write(struct.pack("<BBH", op, _tag, len(payload)) + payload)


def up():
    """The scripts begin: from here on the hub lets Ctrl-C through."""
    global _up_s
    _up_s = _native.clock()
    tell(UP)


def sensed():
    """Tell, once a boot, how much CPU time it took from boot.py to the first sample."""
    global _up_s
    if _up_s >= 0:
        tell(SENSED, struct.pack("<I", int((_native.clock() - _up_s) * 1000000)))
        _up_s = -1.0


def ask(op, payload=b""):
    """Send a message and wait for its answer; returns the answer's flags."""
    global _tag, _dirty
    if _dirty:
        resync()
    _tag = (_tag + 1) & 0xFF
    try:
        _file.write(struct.pack("<BBH", op, _tag, len(payload)) + payload)
        while True:
            flags = _answer()
            if flags >= 0:
                return flags
    except KeyboardInterrupt:
        _dirty = True
        raise


def _read(n):
    data = _file.read(n)
    if len(data) != n:
        _gone()
    return data


def _gone():
    """The hub has closed this machine's socket: its server will kill it. If that is gone too, end by itself."""
    try:
        _native.sleep(5)
    except KeyboardInterrupt:
        pass
    raise SystemExit


def _answer():
    global now_us, row
    (length,) = struct.unpack("<H", _read(2))
    data = _read(length)
    tag, flags, clock_us, count = struct.unpack_from("<BBqB", data)
    if tag != _tag:
        return -1
    if not repl:
        now_us = clock_us
    row = struct.unpack_from("<%di" % count, data, 11)
    at = 11 + 4 * count
    while at < length:
        size, rssi = struct.unpack_from("<Bb", data, at)
        frames.append((data[at + 2 : at + 8], data[at + 8 : at + 8 + size], rssi))
        at += 8 + size
    return flags


def resync():
    """Drop what the hub had sent until its marker, after an interrupt tore an answer apart."""
    global _dirty, _tag
    while True:
        try:
            _tag = (_tag + 1) & 0xFF  # an answer to an earlier request, torn apart in its turn, does not count
            tell(RESYNC)
            wanted = MARKER + bytes((_tag,))
            tail = b""
            while tail != wanted:
                tail = (tail + _read(1))[-len(wanted) :]
            _dirty = False
            return
        except KeyboardInterrupt:
            pass


def wait(until_us, flags):
    """Let virtual time pass until local `until_us` or what `flags` name; returns the answer's flags."""
    if repl:
        return _wait_really(until_us, flags)
    bites = wdt_us and until_us > wdt_us
    answer = ask(WAIT, struct.pack("<qB", wdt_us if bites else until_us, flags))
    if bites and now_us >= wdt_us:
        end(RESET, bytes((WATCHDOG,)))
    if answer & STDIN:
        _poll_stdin(200)
    return answer


def _wait_really(until_us, flags):
    while True:
        answer = ask(POLL)
        left = until_us - local_us()
        if left <= 0 or (flags & WAKE_PACKET and frames) or (flags & WAKE_STDIN and _poll_stdin(0)):
            return answer
        _native.sleep_us(min(left, 10000))


def _poll_stdin(timeout_ms):
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    return poller.poll(timeout_ms)


def end(op, payload):
    """Tell the hub that the board sleeps or resets; the hub ends this process. Nothing interrupts that."""
    told = False
    while True:
        try:
            if not told:
                tell(op, payload)
                told = True
            if not _file.read(1):
                _gone()
        except KeyboardInterrupt:
            pass


def enter_repl():
    """Leave virtual time: the board belongs to a person until it is reset."""
    global repl, _base_us, wdt_us
    tell(REPL)
    resync()
    _base_us = _native.ticks_us()
    wdt_us = 0
    repl = True


def start():
    """Wait for the hub to switch the board on; returns (run main.py, rest of the message as a dict)."""
    global row, now_us
    (length,) = struct.unpack("<H", _read(2))
    data = _read(length)
    clock_us, cause, flags, mac, seed, battery_mv, count = struct.unpack_from("<qBB6s16sHB", data)
    now_us = clock_us
    row = struct.unpack_from("<%di" % count, data, 35)
    at = 35 + 4 * count
    (size,) = struct.unpack_from("<H", data, at)
    rtc = data[at + 2 : at + 2 + size]
    return {
        "boot_us": clock_us,
        "cause": cause,
        "main": flags & 1,
        "pressed": flags & 2,
        "slow": flags & 4,
        "mac": mac,
        "seed": seed,
        "battery_mv": battery_mv,
        "rtc": rtc,
        "nvs": data[at + 2 + size :],
    }


def interrupt_char(char):
    """micropython.kbd_intr for a board whose line is a pty: -1 lets Ctrl-C through as a byte."""
    import termios

    mode = termios.tcgetattr(0)
    mode[3] = 0 if char < 0 else 1  # ISIG
    termios.tcsetattr(0, termios.TCSANOW, mode)
    micropython.kbd_intr(char)
