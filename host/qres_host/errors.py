"""The one error that a user meets, and the exit codes of the `qres` command.

Everything that a user can cause (a busy port, a wrong file, no board) ends as a `QresError`:
one line that says what happened, one remedy, one exit code. A traceback is a defect of QRES.
"""

from __future__ import annotations

OK = 0
FAILURE = 1
USAGE = 2
NO_DEVICE = 3
PARTIAL = 4
TIMEOUT = 5
INTERRUPTED = 130  # as shells say of SIGINT


class QresError(Exception):
    """A failure told in one line: `message` (what), `remedy` (what to do), `exit_code` (0 to 5)."""

    def __init__(self, message: str, remedy: str = "", exit_code: int = FAILURE) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def line(self) -> str:
        """Return `message: remedy` on a single line, whatever the parts contain."""
        text = f"{self.message}: {self.remedy}" if self.remedy else self.message
        return " ".join(text.split())
