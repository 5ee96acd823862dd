"""The chip's `machine`, as far as a virtual board has it: sleep, resets, clock, pins, converter, watchdog."""

import struct

import qb_link as _link
import qb_time as _time

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
PIN_WAKE, TIMER_WAKE, SLEEP, DEEPSLEEP = 2, 4, 2, 4
BATTERY_PIN = 30
_MISSING = -0x80000000
_FOREVER_MS = 1 << 50
_board = {}
_rtc = b""


def _start(board):
    global _board, _rtc
    _board = board
    _rtc = board["rtc"]


def _with_rtc(head):
    return head + _rtc


def unique_id():
    """The six bytes of the board's address."""
    return _board["mac"]


def freq(hz=None):
    """The CPU's clock in Hz."""
    return 160000000


def idle():
    """Wait for an interrupt: nothing to do here."""


def disable_irq():
    """Returns a state for enable_irq."""
    return 0


def enable_irq(state):
    """Counterpart of disable_irq."""


def reset_cause():
    """Why the board booted: one of the *_RESET constants."""
    return _board["cause"]


def wake_reason():
    """TIMER_WAKE after deep sleep, else 0."""
    return TIMER_WAKE if _board["cause"] == DEEPSLEEP_RESET else 0


def reset():
    """Start again as after pressing RESET."""
    _link.end(_link.RESET, _with_rtc(bytes((_link.HARD,))))


def soft_reset():
    """Start the interpreter again."""
    _link.end(_link.RESET, _with_rtc(bytes((_link.SOFT,))))


def deepsleep(time_ms=0):
    """Switch off all but the clock and RTC memory; boot after `time_ms` (0: never by itself)."""
    until_us = _link.local_us() + (time_ms or _FOREVER_MS) * 1000
    _link.end(_link.DEEP, _with_rtc(struct.pack("<q", until_us)))


def lightsleep(time_ms=_FOREVER_MS):
    """Stop the CPU for `time_ms` with RAM kept and the radio off."""
    if time_ms > 0:
        _link.wait(_link.local_us() + time_ms * 1000, _link.LIGHT)


class RTC:
    """Memory that deep sleep keeps, and the calendar clock."""

    def __init__(self, id=0):
        pass

    def memory(self, data=None):
        """Read, or write at most 2,048 bytes (ValueError)."""
        global _rtc
        if data is None:
            return _rtc
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _rtc = bytes(data)

    def datetime(self, fields=None):
        """Read or set (year, month, day, weekday, hour, minute, second, microsecond)."""
        if fields is None:
            t = _time.gmtime()
            return t[0], t[1], t[2], t[6], t[3], t[4], t[5], _time.time_ns() // 1000 % 1000000
        y, mo, d, _, h, mi, s, us = fields
        new_us = (_time.mktime((y, mo, d, h, mi, s)) + 946684800) * 1000000 + us
        _time.rtc_offset_us = new_us - _link.local_us()
        _link.tell(_link.CLOCK, struct.pack("<q", _time.rtc_offset_us))


class Pin:
    """A pin; number 9 is the BOOT button (0 while pressed)."""

    IN, OUT, OPEN_DRAIN, PULL_DOWN, PULL_UP = 1, 3, 7, 1, 2
    IRQ_RISING, IRQ_FALLING, WAKE_LOW, WAKE_HIGH = 1, 2, 4, 5
    DRIVE_0, DRIVE_1, DRIVE_2, DRIVE_3 = 0, 1, 2, 3

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=0, hold=None):
        self.number = int(id)
        self._value = 1 if value is None and pull == self.PULL_UP else value or 0

    def init(self, mode=-1, pull=-1, *, value=None, drive=0, hold=None):
        """Set up again."""
        if value is not None:
            self._value = value

    def value(self, x=None):
        """Read, or write `x`."""
        if x is not None:
            self._value = int(bool(x))
        elif self.number == 9:
            return 0 if _board["pressed"] else 1
        else:
            return self._value

    __call__ = value

    def on(self):
        """High."""
        self._value = 1

    def off(self):
        """Low."""
        self._value = 0

    def toggle(self):
        """The other level."""
        self._value ^= 1

    def irq(self, handler=None, trigger=3, *, wake=None, hard=False):
        """Accepted; a virtual pin never changes by itself."""

    def __repr__(self):
        return "Pin(%d)" % self.number


class ADC:
    """Pin k reads channel k of the board's recording, whatever its unit; pin 30 the battery in microvolts."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB, WIDTH_12BIT = 0, 1, 2, 3, 12

    def __init__(self, id, *, sample_ns=0, atten=0):
        self._number = id.number if isinstance(id, Pin) else int(id)

    def init(self, *, sample_ns=0, atten=0):
        """Accepted."""

    def atten(self, atten):
        """Accepted."""

    def width(self, bits):
        """Accepted."""

    def deinit(self):
        """Accepted."""

    def read_uv(self):
        """Raises OSError where the recording has a gap or no such channel."""
        if self._number == BATTERY_PIN:
            return _board["battery_mv"] * 1000
        _link.sensed()
        if _link.repl:
            _link.ask(_link.POLL)
        row = _link.row
        if self._number >= len(row) or row[self._number] == _MISSING:
            raise OSError(19)
        return row[self._number]

    def read_u16(self):
        """The low 16 bits of what read_uv gives."""
        return self.read_uv() & 0xFFFF

    def read(self):
        """The low 12 bits of what read_uv gives."""
        return self.read_uv() & 0xFFF


class WDT:
    """Resets the board when it is not fed for `timeout` ms of virtual time."""

    def __init__(self, *, id=0, timeout=5000):
        self._timeout_us = timeout * 1000
        self.feed()

    def feed(self):
        """Start the time again."""
        _link.wdt_us = 0 if _link.repl else _link.local_us() + self._timeout_us


class Timer:
    """Accepted and never due: on a virtual board only the REPL's watchdog uses one, and there it is off."""

    ONE_SHOT, PERIODIC = 0, 1

    def __init__(self, id, **settings):
        pass

    def init(self, **settings):
        """Accepted."""

    def deinit(self):
        """Accepted."""


class I2C:
    """A bus with nothing on it."""

    def __init__(self, id=-1, **settings):
        pass

    def scan(self):
        """No address answers."""
        return []

    def _nobody(self, *arguments, **settings):
        raise OSError(19)

    readfrom = readfrom_into = readfrom_mem = readfrom_mem_into = _nobody
    writeto = writeto_mem = writevto = _nobody


SoftI2C = I2C
