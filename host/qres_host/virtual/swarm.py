"""A swarm of virtual boards for a program: start it, watch it, harm it, stop it.

The boards run in a process of their own, so that they and the program do not wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from qres_host.devices import runtime_dir
from qres_host.errors import FAILURE, TIMEOUT, QresError
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.playback import Playback

START_S = 60.0
ANSWER_S = 30.0


class Swarm:
    """Virtual boards. All methods may be called from any thread; each raises QresError when the boards are gone.

    `speed` is virtual per real time (21600: a day in four seconds; 0: as fast as possible). `seed` decides all
    chance: the same seed, boards and data give the same digest. `links`: the folder that gets a link per board's
    pty, by default the one where `qres` looks for virtual boards. `acknowledge`: the swarm's key, when no host at
    the ports will acknowledge what the sentinel hears; it is done in virtual time then, the same in each run.
    """

    def __init__(
        self,
        boards: Sequence[BoardSpec],
        *,
        seed: int = 1,
        speed: float = 1.0,
        loss: float = 0.0,
        range_m: float = 150.0,
        start_ms: int | None = None,
        links: Path | None = None,
        acknowledge: bytes | None = None,
    ) -> None:
        names = [board.name for board in boards]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise QresError(f"two virtual boards are named {twice[0]}", "give each board (or column) its own name")
        self.boards = list(boards)
        self.links = links or runtime_dir()
        self.ports: dict[str, str] = {}
        starts = [board.playback.t0_ms for board in boards if board.playback is not None]
        self.start_ms = start_ms if start_ms is not None else min(starts, default=1_357_020_000_000)
        self._settings: dict[str, Any] = {
            "boards": self.boards,
            "seed": seed,
            "speed": speed,
            "loss": loss,
            "range_m": range_m,
            "start_us": self.start_ms * 1000,
            "links": self.links,
            "acknowledge": acknowledge,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Swarm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all boards; returns when each has its pty (`ports`, by name). Raises QresError."""
        ours, theirs = socket.socketpair()
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
        self._connection = Connection(ours.detach())
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "qres_host.virtual.process", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C in the terminal is for us alone; we tell it
                )
            with self._lock:
                self._connection.send(self._settings)
                ports = self._answer(START_S)
        except BaseException:  # also Ctrl-C: whoever could not enter us does not leave us either
            self._end()
            raise
        self.ports = dict(zip((board.name for board in self.boards), ports, strict=True))

    def stop(self) -> dict[str, Any]:
        """End all boards and remove their ptys; returns the last status, {} when they did not run."""
        status: dict[str, Any] = {}
        if self._connection is not None:
            with contextlib.suppress(QresError):
                status = self._ask("stop")
        self._end()
        return status

    def _end(self) -> None:
        """Hang up, which ends the boards' process wherever it is, and see it gone."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._connection = self._process = None

    def running(self) -> bool:
        """Return whether the boards' process lives."""
        return self._process is not None and self._process.poll() is None

    def status(self) -> dict[str, Any]:
        """Return virtual time (`now_ms`, unix), the achieved `speed`, the `digest`, `radio` counters and `boards`: per
        board its state, boots, kills, crashes, times asleep/light/awake/radio/sending in ms, battery, port."""
        answer: dict[str, Any] = self._ask("status")
        return answer

    def kill(self, name: str) -> None:
        """Kill a board's machine; it boots again as after a watchdog's bite."""
        self._ask("kill", name)

    def unplug(self, name: str) -> None:
        """Pull a board's cable: its pty vanishes."""
        self._ask("plug", name, False)

    def plug(self, name: str) -> None:
        """Put the cable back: a new pty under the same link."""
        self._ask("plug", name, True)

    def corrupt(self, name: str, probability: float) -> None:
        """Flip a bit in that share of the bytes on a board's serial line; 0 ends it."""
        self._ask("corrupt", name, probability)

    def set_pace(self, name: str, pace: str) -> None:
        """Make a board's cable and flash take the time of real ones: "usb", "uart" (460,800 baud), or "" for none."""
        self._ask("pace", name, pace)

    def fault(self, name: str, **changes: int) -> None:
        """Break a board's boot loader or flash: fields of flashchip.Faults."""
        self._ask("fault", name, changes)

    def set_loss(self, probability: float) -> None:
        """Set the probability that a radio frame is lost at a receiver."""
        self._ask("loss", probability)

    def set_speed(self, speed: float) -> None:
        """Set virtual per real time; 0 is as fast as possible."""
        self._ask("speed", speed)

    def press(self, name: str, pressed: bool = True) -> None:
        """Hold (or release) the BOOT button: the next boot stays at the REPL."""
        self._ask("press", name, pressed)

    def truth(self, name: str) -> Playback:
        """Return the recording that a board senses. Raises QresError when it senses nothing."""
        for board in self.boards:
            if board.name == name and board.playback is not None:
                return board.playback
        raise QresError(f"{name} senses nothing", "name a board with a recording")

    def truth_rows(self, name: str, first: int, count: int) -> Iterator[tuple[int | None, ...]]:
        """Yield `count` rows of the recording from grid index `first` (unix ms // period)."""
        playback = self.truth(name)
        return (playback.row(index) for index in range(first, first + count))

    def _ask(self, name: str, *arguments: Any) -> Any:
        with self._lock:
            if self._connection is None:
                raise QresError("the virtual boards do not run", "start them")
            try:
                self._connection.send((name, arguments))
            except OSError as error:
                raise QresError("the virtual boards have ended", "start them again") from error
            return self._answer(ANSWER_S)

    def _answer(self, timeout_s: float) -> Any:
        assert self._connection is not None
        try:
            if not self._connection.poll(timeout_s):
                raise QresError("the virtual boards do not answer", "start them again", TIMEOUT)
            kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise QresError("the virtual boards have ended", "start them again", FAILURE) from error
        if kind == "error":
            raise QresError(*value)
        return value
