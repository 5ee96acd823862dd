"""Many boards at once: a thread and an esptool each, a line of progress each, one summary."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from qres_host.devices import Uri
from qres_host.errors import INTERRUPTED, OK, PARTIAL
from qres_host.flash.job import Outcome, Plan, flash_board
from qres_host.flash.loader import Runs

MOST_AT_ONCE = 32
POLL_S = 0.2


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

    def end(self, uri: Uri, outcome: Outcome) -> None:
        """Show how it ended with a board."""
        self.say(uri, outcome.error or f"{outcome.result} in {outcome.seconds:.1f} s", 0.0 if outcome.error else 1.0)

    def close(self) -> None:
        """Leave the terminal as it is."""
        if self._bars is not None:
            self._bars.stop()


def flash_all(jobs: Sequence[tuple[Uri, Plan]], *, quiet: bool = False) -> list[Outcome]:
    """Flash boards side by side; return how each went, in order. Ctrl-C ends all and is told by each outcome."""
    runs, display = Runs(), Display([uri for uri, _ in jobs], quiet)
    outcomes: dict[Uri, Outcome] = {}

    def one(uri: Uri, plan: Plan) -> None:
        outcomes[uri] = flash_board(uri, plan, runs, lambda what, done: display.say(uri, what, done))
        display.end(uri, outcomes[uri])

    try:
        with ThreadPoolExecutor(min(MOST_AT_ONCE, max(1, len(jobs)))) as pool:
            left = {pool.submit(one, uri, plan) for uri, plan in jobs}
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
    stopped = Outcome("", "", error="stopped before it began", exit_code=INTERRUPTED)
    return [outcomes.get(uri, stopped) for uri, _ in jobs]


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 0 when all went well, 4 when some failed; when all failed what they agree on, else 4."""
    codes = {outcome.exit_code for outcome in outcomes}
    if INTERRUPTED in codes:
        return INTERRUPTED
    if codes == {OK}:
        return OK
    return codes.pop() if len(codes) == 1 else PARTIAL
