"""Keys of a terminal while something else is drawn on it: a line that is typed, or every byte as it comes."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

ENTER, ERASE, CANCEL, ESCAPE = "\r\n", "\x7f\b", "\x15\x0b", "\x1b"
HISTORY = 50
_UP, _DOWN = "\x1b[A", "\x1b[B"


@contextlib.contextmanager
def keys(raw: bool = False) -> Iterator[int]:
    """Yield the descriptor of the terminal with keys coming one by one, unechoed; unless `raw` Ctrl-C interrupts."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        (tty.setraw if raw else tty.setcbreak)(fd)
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def pressed(fd: int, timeout_s: float) -> str:
    """Return the keys that were pressed, waiting at most so long for the first."""
    ready, _, _ = select.select([fd], [], [], timeout_s)
    return os.read(fd, 4096).decode(errors="replace") if ready else ""


class TypedLine:
    """A line under way, with the lines before it on the arrow keys."""

    def __init__(self) -> None:
        self.text = ""
        self._before: list[str] = []
        self._at = 0

    def press(self, keys: str) -> list[str]:
        """Take keys; return the lines that they complete."""
        done = []
        if keys in (_UP, _DOWN):
            self._at = min(max(self._at + (-1 if keys == _UP else 1), 0), len(self._before))
            self.text = self._before[self._at] if self._at < len(self._before) else ""
            return []
        if keys.startswith(ESCAPE):
            return []
        for key in keys:
            if key in ENTER:
                if self.text.strip():
                    done.append(self.text.strip())
                    self._before = (self._before + done[-1:])[-HISTORY:]
                self.text, self._at = "", len(self._before)
            elif key in ERASE:
                self.text = self.text[:-1]
            elif key in CANCEL:
                self.text = ""
            elif key.isprintable():
                self.text += key
        return done
