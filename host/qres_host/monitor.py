"""`qres monitor`: the boards live in the terminal, their words below; or one JSON object per update.

What is typed, or given as --send, goes to the boards as commands (see `talk`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from qres_host import rawport
from qres_host.collector import ANSWER_MS, Collector
from qres_host.devices import Device, Uri, find, require
from qres_host.errors import FAILURE, OK, TIMEOUT, USAGE, QresError
from qres_host.keyboard import TypedLine, keys, pressed
from qres_host.keys import KEY_VARIABLE, key_for
from qres_host.logs import LogFolder
from qres_host.records import Found
from qres_host.screen import WIDE, fleet_table, headline, screen, show_line
from qres_host.talk import Outcome, choose, parse
from qres_host.view import View
from qres_host.words import Line

REFRESH_S = 0.25
ONCE_S = 30.0  # --once waits so long for a first word
SETTLE_S = 1.0  # and so much longer for the rest of it

EXAMPLE = """\b
Examples:
  qres monitor --key config.json        every board that is plugged in
  qres monitor a0:b1:c2:d3:e4:f5        one board, wherever it is plugged in, once it wakes
  qres monitor --log logs               lines and tracebacks of each board, with times
  qres monitor --send "awake 10"        keep a sleeping board awake for ten minutes
  qres monitor --raw /dev/ttyACM0       the port itself: REPL, prints; Ctrl-] leaves
  qres monitor --once --json | jq .     what there is now

\b
Commands, typed or by --send; @NAME or @all before one chooses among several boards:
  status, get KEY, set KEY VALUE, awake MINUTES, profile [on|off], snapshot, trace on|off, restart
"""


@click.command(epilog=EXAMPLE)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per update, or per answer with --send.")
@click.option("--once", is_flag=True, help="Show the first complete picture and end.")
@click.option("--raw", is_flag=True, help="One port byte for byte, as a terminal shows it.")
@click.option("--send", "sent", multiple=True, metavar="COMMAND", help="Send it, end when it is answered.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds, then end.")
@click.option("--capture", type=click.Path(path_type=Path), help="Append the raw bytes to this folder.")
@click.option("--log", "log_path", type=click.Path(path_type=Path), help="Append lines and traces to this folder.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
def monitor(
    devices: tuple[str, ...],
    as_json: bool,
    once: bool,
    raw: bool,
    sent: tuple[str, ...],
    duration: float | None,
    capture: Path | None,
    log_path: Path | None,
    key: str,
) -> int:
    """Watch boards live and talk to them. DEVICEs are ports, URIs or MACs; without any, all boards that are present.

    Opening a port never resets a board, and a port that vanishes is opened again when the board returns, whatever its
    name is then.
    """
    commands = [parse(text) for text in sent]
    uris = require(devices)
    if raw:
        if len(uris) != 1 or uris[0].scheme == "replay":
            raise QresError("--raw shows one port", "name it", USAGE)
        return rawport.run(Device(uris[0]), duration, capture)
    with ExitStack() as stack:
        watch = _Watch(uris, not devices, key_for(key, uris), capture, log_path)
        stack.callback(watch.close)
        collector = stack.enter_context(watch.collector)
        if commands:
            return watch.send(sent, as_json, duration)
        watch.run(duration, once, as_json)
        if once and not collector.view.fleet()["boards"]:
            raise QresError("no board spoke", "is the gateway running, and is this its swarm's key?", TIMEOUT)
    return OK


class _Watch:
    """One run of the command."""

    def __init__(self, uris: list[Uri], discover: bool, key: bytes, capture: Path | None, log: Path | None) -> None:
        # Deep sleepers are away most of the time: one that was named by its MAC need not be there yet.
        must_open = not discover and all(uri.scheme != "usb" for uri in uris)
        found = find if discover else None
        self.collector = Collector(
            uris, key, View(), capture, None, must_open, listen=self._listen, discover=found, tell=self._tell
        )
        self.log = LogFolder(log, self._log_name, self.collector.unix_ms) if log is not None else None
        self._typed = TypedLine()

    def close(self) -> None:
        """Close the logs, once the collector has ended."""
        if self.log is not None:
            self.log.close()

    def run(self, duration: float | None, once: bool, as_json: bool) -> None:
        """Show the boards until the time is over or Ctrl-C."""
        if as_json:
            self._print_json(self._ticks(duration, once), once)
        elif once or not sys.stdout.isatty():
            self._print_plain(self._ticks(duration, once), once)
        else:
            self._show_live(duration)

    def send(self, commands: Sequence[str], as_json: bool, duration: float | None) -> int:
        """Send commands, print what became of each, return the exit code."""
        for text in commands:
            self._ask(text)
        shown: list[Outcome] = []
        for _ in self._ticks(duration if duration is not None else ANSWER_MS / 1000 + SETTLE_S, False):
            while self.collector.outcomes:
                shown.append(self.collector.outcomes.popleft())
                _print_outcome(self.collector, shown[-1], as_json)
            if not self.collector.asking and not self.collector.outcomes:
                break
        if self.collector.asking or any(outcome.answer is None for outcome in shown):
            remedy = "a board that sleeps hears commands only while it is awake: try again, or press its button"
            raise QresError("no answer", remedy, TIMEOUT)
        return OK if all(outcome.ok for outcome in shown) else FAILURE

    def _ask(self, text: str) -> None:
        command = parse(text)
        devices = list(self.collector.devices)
        for name in choose(command, [(device.name, self.collector.label(device.name)) for device in devices]):
            self.collector.ask(name, command)

    def _listen(self, found: Sequence[Found]) -> None:
        if self.log is not None:
            self.log.records(found)

    def _tell(self, lines: Sequence[Line]) -> None:
        if self.log is not None:
            self.log.lines(lines)

    def _log_name(self, device: str) -> str:
        mac = next((each.mac for each in self.collector.devices if each.name == device and each.mac), "")
        return mac.replace(":", "") or device.rpartition("/")[2]

    def _ticks(
        self, duration: float | None, once: bool, pause: Callable[[float], object] = time.sleep
    ) -> Iterator[None]:
        """Yield a few times a second until the time is over, Ctrl-C, or an error of the collector."""
        collector = self.collector
        started_s, first_s = time.monotonic(), 0.0
        limit_s = duration if duration is not None else ONCE_S if once else float("inf")
        try:
            while True:
                yield
                now_s = time.monotonic()
                if not first_s and collector.view.fleet()["boards"]:
                    first_s = now_s
                if now_s - started_s >= limit_s or (once and first_s and now_s - first_s >= SETTLE_S):
                    return
                if collector.error is not None:
                    raise collector.error
                if self.log is not None and self.log.error:
                    raise QresError(self.log.error, "free space or choose another folder")
                pause(min(REFRESH_S, max(limit_s - (now_s - started_s), 0.01)))
        except KeyboardInterrupt:
            return

    def _print_json(self, ticks: Iterator[None], once: bool) -> None:
        shown = -1
        for _ in ticks:
            fleet = self.collector.view.fleet()
            if not once and fleet["version"] != shown:
                shown = fleet["version"]
                print(json.dumps(fleet, separators=(",", ":")), flush=True)
        if once:
            print(json.dumps(self.collector.view.fleet(), separators=(",", ":")), flush=True)

    def _print_plain(self, ticks: Iterator[None], once: bool) -> None:
        """Without a terminal: the boards' lines as they come, the table at the end."""
        printed = 0
        for _ in ticks:
            lines = self.collector.decoder.words.since(printed)
            printed += len(lines)
            for line in lines if not once else ():
                print(show_line(self.collector, line), flush=True)
        self._print_table(Console(width=None if sys.stdout.isatty() else 120), True)

    def _show_live(self, duration: float | None) -> None:
        console = Console()
        typing = sys.stdin.isatty()
        with ExitStack() as stack:
            fd = stack.enter_context(keys()) if typing else -1
            live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
            pause = partial(self._press, fd) if typing else time.sleep
            for _ in self._ticks(duration, False, pause):
                typed = self._typed.text if typing else None
                live.update(screen(self.collector, console.width, console.height, typed), refresh=True)
        self._print_table(console, console.width >= WIDE)

    def _press(self, fd: int, wait_s: float) -> None:
        """Take keys, waiting at most so long for them; a line that cannot be carried out says so among the words."""
        for text in self._typed.press(pressed(fd, wait_s)):
            try:
                self._ask(text)
            except QresError as error:
                self.collector.decoder.words.note(self.collector.now_ms(), error.line())

    def _print_table(self, console: Console, wide: bool) -> None:
        fleet = self.collector.view.fleet()
        console.print(headline(fleet))
        console.print(fleet_table(fleet, len(fleet["boards"]), wide))


def _print_outcome(collector: Collector, outcome: Outcome, as_json: bool) -> None:
    board = collector.label(outcome.device)
    if as_json:
        row = {"board": board, "device": outcome.device, "command": outcome.command.name, "answer": outcome.answer}
        print(json.dumps(row, separators=(",", ":")), flush=True)
    else:
        print(f"{board} {outcome.line()}", flush=True)
