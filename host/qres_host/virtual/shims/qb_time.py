"""The chip's `time`: a clock that the hub moves, epoch 2000-01-01."""

import time as _native

import qb_link as _link

_UNIX_2000_S = 946684800
_TICKS_MASK = 0x3FFFFFFF
_SLICE_US = 20000
_boot_us = 0


def _start(boot_us):
    global _boot_us
    _boot_us = boot_us


def ticks_us():
    """Microseconds since boot; wraps."""
    return (_link.local_us() - _boot_us) & _TICKS_MASK


def ticks_ms():
    """Milliseconds since boot; wraps."""
    return (_link.local_us() - _boot_us) // 1000 & _TICKS_MASK


ticks_cpu = ticks_us


def ticks_diff(end, start):
    """Signed difference of two ticks, -2**29 to 2**29 - 1."""
    return ((end - start + 0x20000000) & _TICKS_MASK) - 0x20000000


def ticks_add(ticks, delta):
    """The ticks `delta` later."""
    return (ticks + delta) & _TICKS_MASK


def time_ns():
    """Nanoseconds since 2000-01-01 by the board's clock."""
    return (_link.local_us() + rtc_offset_us - _UNIX_2000_S * 1000000) * 1000


def time():
    """Seconds since 2000-01-01 by the board's clock."""
    return time_ns() // 1000000000


rtc_offset_us = 0  # what RTC().datetime(...) has moved the clock by


def gmtime(seconds=None):
    """(year, month, day, hour, minute, second, weekday, yearday) of seconds since 2000."""
    fields = _native.gmtime((time() if seconds is None else seconds) + _UNIX_2000_S)
    return tuple(fields[:8])


localtime = gmtime


def mktime(fields):
    """Seconds since 2000 of a time tuple in UTC."""
    return _days(fields[0], fields[1], fields[2]) * 86400 + fields[3] * 3600 + fields[4] * 60 + fields[5]


def _days(year, month, day):
    """Days since 2000-01-01 of a date of the Gregorian calendar."""
    year -= month < 3
    month = (month + 9) % 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 730425


def sleep_us(us):
    """Let time pass with the CPU on."""
    if _link.repl:
        end_us = _link.local_us() + us
        while us > 0:  # in slices, for a Ctrl-C just before the call would wait for its end
            _native.sleep_us(min(us, _SLICE_US))
            us = end_us - _link.local_us()
    elif us > 0:
        _link.wait(_link.local_us() + us, _link.WAKE_STDIN)


def sleep_ms(ms):
    """Let time pass with the CPU on."""
    sleep_us(ms * 1000)


def sleep(seconds):
    """Let time pass with the CPU on."""
    sleep_us(int(seconds * 1000000))
