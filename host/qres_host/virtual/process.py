"""The process that a swarm of virtual boards runs in, beside the program that started it.

Started by `swarm.Swarm` with one end of a socket as descriptor; a request is (name, arguments), an answer
("ok", value) or ("error", (message, remedy, exit code)). When the socket closes, everything ends.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from qres_host.errors import QresError
from qres_host.virtual.board import Board
from qres_host.virtual.claims import Claim
from qres_host.virtual.hub import Hub
from qres_host.virtual.line import PACES
from qres_host.virtual.vm import VmBoard


class Service:
    """A hub that obeys requests."""

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        self._connection = connection
        self._folder = Path(settings.pop("folder"))
        self.hub = Hub(settings.pop("boards"), self._folder, **settings)
        self.hub.loop.watch(connection.fileno(), self._readable)

    def _readable(self, _fd: int) -> None:
        try:
            name, arguments = self._connection.recv()
        except (EOFError, OSError):
            self.hub.loop.forget(self._connection.fileno())
            self.hub.stop()
            return
        try:
            answer: tuple[str, Any] = ("ok", getattr(self, f"do_{name}")(*arguments))
        except QresError as error:
            answer = ("error", (error.message, error.remedy, error.exit_code))
        try:
            self._connection.send(answer)
        except OSError:
            self.hub.stop()

    def _board(self, name: str) -> Board:
        for board in self.hub.boards:
            if board.spec.name == name:
                return board
        raise QresError(f"no virtual board {name}", "choose one of " + ", ".join(b.spec.name for b in self.hub.boards))

    def do_status(self) -> dict[str, Any]:
        """Return hub.status()."""
        return self.hub.status()

    def do_stop(self) -> dict[str, Any]:
        """Stop the hub; returns the last status."""
        self.hub.stop()
        return self.hub.status()

    def do_kill(self, name: str) -> None:
        """Kill a board's machine."""
        self.hub.kill(self._board(name).index)

    def do_plug(self, name: str, plugged: bool) -> None:
        """Put a board's cable in or pull it out."""
        line = self._board(name).line
        if line is not None:
            line.plug() if plugged else line.unplug()

    def do_corrupt(self, name: str, probability: float) -> None:
        """Flip a bit in that share of the bytes that a board sends over its cable."""
        line = self._board(name).line
        if line is not None:
            line.corrupt = probability

    def do_pace(self, name: str, pace: str) -> None:
        """Make a board's cable and flash as slow as real ones, by the name of a pace; "" ends it."""
        line = self._board(name).line
        if line is not None:
            line.pace = PACES.get(pace)

    def do_fault(self, name: str, changes: dict[str, int]) -> None:
        """Change what goes wrong at a board's boot loader."""
        board = self._board(name)
        if isinstance(board, VmBoard):
            for key, value in changes.items():
                setattr(board.loader.faults, key, value)

    def do_loss(self, probability: float) -> None:
        """Set the probability that a radio frame is lost at a receiver."""
        self.hub.air.loss = probability

    def do_speed(self, speed: float) -> None:
        """Set virtual per real time; 0 is as fast as possible."""
        self.hub.pacer.set_speed(speed, self.hub.now_us)

    def do_press(self, name: str, pressed: bool) -> None:
        """Press or release a board's BOOT button; boards look at it when they boot."""
        self._board(name).pressed = pressed


def main() -> int:
    """Serve on the descriptor named on the command line until the hub stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the program that started us; it tells us
    connection = Connection(int(sys.argv[1]))
    try:
        settings = connection.recv()
    except (EOFError, OSError):  # who started us has gone already
        return 0
    folder = tempfile.mkdtemp(prefix="qres-virtual-")
    service, claim = None, None
    try:
        try:
            claim = Claim(settings["links"], [board.name for board in settings["boards"]], Path(folder))
            service = Service(connection, {**settings, "folder": folder})
        except QresError as error:
            with contextlib.suppress(OSError):
                connection.send(("error", (error.message, error.remedy, error.exit_code)))
            return 1
        signal.signal(signal.SIGTERM, lambda *_: service.hub.stop())
        with contextlib.suppress(OSError):  # the hub ends when it finds that nobody listens
            connection.send(("ok", [board.line.port if board.line else "" for board in service.hub.boards]))
        service.hub.run()
        return 0
    finally:
        if service is not None:
            service.hub.close()
        if claim is not None:
            claim.release()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
