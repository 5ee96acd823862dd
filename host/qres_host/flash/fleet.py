"""Many boards at once: a thread and an esptool each, a line of progress each, one summary."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from qres_host.devices import Uri
from qres_host.errors import INTERRUPTED, OK, PARTIAL
from qres_host.flash.job import Outcome, Plan, Say, flash_board
from qres_host.flash.loader import Runs

MOST_AT_ONCE = 32
POLL_S = 0.2


class Ends(Protocol):
    """How it went with one board: `result` in a word, or `error` in one line with its exit code."""

    result: str
    seconds: float
    error: str
    exit_code: int


Ended = TypeVar("Ended", bound=Ends)


class Display:
    """What is happening, board by board: bars on a terminal, a line a step elsewhere, nothing when `quiet`."""

    def __init__(self, uris: Sequence[Uri], quiet: bool) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[Uri, TaskID] = {}
        self._last: dict[Uri, str] = {}
        self._quiet = quiet
        self._lock = threading.Lock()
        if not quiet and sys.stderr.isatty():
            columns = (TextColumn("{task.fields[name]}"), BarColumn(24), TextColumn("{task.description}"))
            self._bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
            self._bars.start()
            self._tasks = {uri: self._bars.add_task("waiting", total=1.0, name=uri.target) for uri in uris}

    def say(self, uri: Uri, what: str, done: float) -> None:
        """Show a step of a board."""
        if self._bars is not None:
            self._bars.update(self._tasks[uri], description=what, completed=done)
            return
        with self._lock:
            if not self._quiet and self._last.get(uri) != what:
                self._last[uri] = what
                print(f"{uri.target}: {what}", file=sys.stderr, flush=True)

    def end(self, uri: Uri, outcome: Ends) -> None:
        """Show how it ended with a board."""
        self.say(uri, outcome.error or f"{outcome.result} in {outcome.seconds:.1f} s", 0.0 if outcome.error else 1.0)

    def close(self) -> None:
        """Leave the terminal as it is."""
        if self._bars is not None:
            self._bars.stop()


def flash_all(jobs: Sequence[tuple[Uri, Plan]], *, quiet: bool = False) -> list[Outcome]:
    """Flash boards side by side; return how each went, in order. Ctrl-C ends all and is told by each outcome."""
    plans = dict(jobs)
    stopped = Outcome("", "", error="stopped before it began", exit_code=INTERRUPTED)
    return side_by_side(list(plans), lambda uri, runs, say: flash_board(uri, plans[uri], runs, say), stopped, quiet)


def side_by_side(
    uris: Sequence[Uri], work: Callable[[Uri, Runs, Say], Ended], stopped: Ended, quiet: bool
) -> list[Ended]:
    """Do `work` on each board in a thread of its own; return what each gave, in order, `stopped` for one never begun.

    `quiet`: no progress is shown. On Ctrl-C esptool processes are ended, and the next word of a board's progress raises
    QresError in its thread.
    """
    runs, display = Runs(), Display(uris, quiet)
    outcomes: dict[Uri, Ended] = {}

    def one(uri: Uri) -> None:
        def say(what: str, done: float) -> None:
            runs.check()
            display.say(uri, what, done)

        outcomes[uri] = work(uri, runs, say)
        display.end(uri, outcomes[uri])

    try:
        with ThreadPoolExecutor(min(MOST_AT_ONCE, max(1, len(uris)))) as pool:
            left = {pool.submit(one, uri) for uri in uris}
            try:
                while left:
                    done, left = wait(left, POLL_S, FIRST_COMPLETED)
                    for each in done:
                        each.result()
            except BaseException:
                runs.stop()
                raise
    except KeyboardInterrupt:
        pass
    finally:
        display.close()
    return [outcomes.get(uri, stopped) for uri in uris]


def exit_code(outcomes: Sequence[Ends]) -> int:
    """Return 0 when all went well, 4 when some failed; when all failed what they agree on, else 4."""
    codes = {outcome.exit_code for outcome in outcomes}
    if INTERRUPTED in codes:
        return INTERRUPTED
    if codes == {OK}:
        return OK
    return codes.pop() if len(codes) == 1 else PARTIAL
