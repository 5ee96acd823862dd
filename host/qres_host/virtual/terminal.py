"""The terminal of a virtual board's machine: what stands between its REPL and the cable."""

from __future__ import annotations

import os
import pty
import termios


def program_mode(terminal: int) -> None:
    """Set a terminal as a program finds it: every byte passes but Ctrl-C, and none waits. The REPL changes it."""
    mode = termios.tcgetattr(terminal)
    mode[0] = mode[1] = 0
    mode[3] = termios.ISIG
    mode[6] = [b"\0"] * len(mode[6])  # 0 switches a character off
    mode[6][termios.VINTR] = b"\x03"
    mode[6][termios.VMIN], mode[6][termios.VTIME] = b"\1", b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
    termios.tcflush(terminal, termios.TCIFLUSH)


def inner_terminal() -> tuple[int, int]:
    """Return master and slave of the pty that a machine has as terminal: Ctrl-C is its only special character."""
    master, slave = pty.openpty()
    program_mode(slave)
    os.set_blocking(master, False)
    return master, slave
