"""The hub: virtual time, the air, the boards. A conservative discrete-event simulation in one thread.

Computing takes no virtual time. At an instant the hub wakes every board that is due, lets all of them run (the
machines in parallel) until each waits, sleeps or resets, and only then applies what they did, in the order of the
boards. Everything has effects at later instants only, so a run depends on the seed and the inputs alone.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qres_host.virtual import protocol
from qres_host.virtual.battery import AWAKE, DEEP, LIGHT, RADIO
from qres_host.virtual.board import ASLEEP, BOOTING, DEAD, LOADER, REPL, RUNNING, WAITING, Board, BoardSpec
from qres_host.virtual.clock import Pacer
from qres_host.virtual.gateway import VirtualHost
from qres_host.virtual.line import Loop, SerialLine
from qres_host.virtual.make import make_board
from qres_host.virtual.radio import Air
from qres_host.virtual.status import swarm_status
from qres_host.virtual.vm import Nursery, VmBoard

BOOT_US = 418_000
CRASH_DELAY_US = 1_000_000
CRASHES_IN_ROW = 5
SILENT_S = 20.0  # a machine that computes for longer than this real time hangs
SPINS = 20_000  # waits without any virtual time passing
TURN_S = 0.5
TICK_S = 0.2


class Hub:
    """A swarm in virtual time. Build it, then call `run` until `stop`, or `run_until` an instant."""

    def __init__(
        self,
        specs: Sequence[BoardSpec],
        folder: Path,
        *,
        seed: int = 1,
        speed: float = 0.0,
        start_us: int = 0,
        loss: float = 0.0,
        range_m: float = 150.0,
        delay_us: int = 1000,
        boot_us: int = BOOT_US,
        links: Path | None = None,
        acknowledge: bytes | None = None,
    ) -> None:
        """`folder` holds what the run needs on disk. `links`: where each board's pty gets a link; None: no ptys.

        `acknowledge`: the swarm's key, for a host in virtual time that acknowledges what the sentinel hears.
        `speed` is virtual per real time, 0 as fast as possible; `boot_us` passes from power to boot.py.
        """
        self.loop = Loop()
        self.now_us = start_us
        self.start_us = start_us
        self.pacer = Pacer(speed)
        self.boot_us = boot_us
        self.steps = 0
        self.log: Callable[[int, int, str, bytes], None] | None = None  # sees all that enters the digest
        self._digest = hashlib.blake2b(digest_size=16)
        self._events: list[tuple[int, int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._running: set[Board] = set()
        self._settled: list[Board] = []
        self._stopping, self._tick_s = False, 0.0
        self._host = VirtualHost(acknowledge)
        self.started_s = time.monotonic()
        self.air = Air(
            [spec.position for spec in specs],
            seed,
            self.at,
            self._deliver,
            loss=loss,
            range_m=range_m,
            delay_us=delay_us,
        )
        self._nursery = Nursery(self.loop, folder) if any(spec.kind == "vm" for spec in specs) else None
        self.boards = [
            make_board(i, spec, self, self.loop, self._nursery, folder, seed) for i, spec in enumerate(specs)
        ]
        self.air.on_air = lambda station, frame, airtime_us: self.boards[station].battery.sent(airtime_us)
        for each in self.boards:
            if links is not None:
                each.line = SerialLine(self.loop, links / each.spec.name, each.typed, f"line {seed} {each.index}")
        for each in self.boards:
            self._boot(each, protocol.PWRON_RESET)

    # Running

    def stop(self) -> None:
        """Make run() return soon."""
        self._stopping = True

    def run(self) -> None:
        """Run at the given speed until stop()."""
        while not self._stopping:
            self._turn()

    def run_until(self, end_us: int) -> None:
        """Run until virtual `end_us`, which is then the present, or until stop()."""
        while not self._stopping and self._events and self._events[0][0] <= end_us:
            self._turn()
        self.now_us = max(self.now_us, end_us)

    def _turn(self) -> None:
        if time.monotonic() > self._tick_s:
            self._tick_s = time.monotonic() + TICK_S
            for each in self.boards:
                each.tick()
        if not self._events:
            self.pacer.pause()
            self.loop.turn(TURN_S)
            self._apply_settled()
            return
        due_us = self._events[0][0]
        wait_s = self.pacer.wait_s(due_us, self.now_us)
        self.loop.turn(min(wait_s, TURN_S))
        if wait_s > 0:
            self.now_us = max(self.now_us, min(due_us, self.pacer.virtual_us(due_us)))
        self._apply_settled()
        if wait_s <= TURN_S and self._events and self.pacer.wait_s(self._events[0][0], self.now_us) <= 0:
            self._instant()

    def _instant(self) -> None:
        """Process everything that happens at the next instant."""
        now = self.now_us = max(self.now_us, self._events[0][0])
        self.steps += 1
        while True:
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[3]()
            while self._running:
                self.loop.turn(TURN_S)
                self._end_silent()
            self._apply_settled()
            if not self._running and (not self._events or self._events[0][0] > now):
                return

    def _end_silent(self) -> None:
        limit = time.monotonic() - SILENT_S
        for each in list(self._running):
            if isinstance(each, VmBoard) and each.running_since_s < limit:
                self.kill(each.index)

    def at(self, instant_us: int, station: int, call: Callable[[], None]) -> None:
        """Call back at an instant; calls of one instant come in the order of stations, then of requests."""
        heapq.heappush(self._events, (instant_us, station, next(self._order), call))

    # What boards tell (board.Host)

    def settled(self, board: Board) -> None:
        """A board waits, sleeps, resets or has died; applied together with all others of this instant."""
        self._running.discard(board)
        if board not in self._settled:
            self._settled.append(board)

    def immediate(self, board: Board, message: protocol.Message) -> None:
        """A board at its REPL did something."""
        self._effect(board, message)

    def typed(self, board: Board) -> None:
        """End a wait that input ends."""
        board.stdin_fresh = True
        if board.state == WAITING and board.wait_flags & protocol.WAKE_STDIN:
            self._wake_at(board, self.now_us)

    def wake_into_repl(self, board: Board) -> None:
        """As holding BOOT and pressing RESET: the REPL without main.py. Real time only; the swarm does not wait."""
        self._switch(board, False)
        self._start_repl(board, protocol.HARD_RESET)

    def into_loader(self, board: Board) -> None:
        """As holding BOOT through a reset. Real time only; the swarm does not wait."""
        self._forget(board)
        board.tainted = True
        self._off(board, LOADER, AWAKE)

    def out_of_loader(self, board: Board) -> None:
        """A reset: the board boots what its flash holds."""
        self._boot(board, protocol.PWRON_RESET)

    # Effects

    def _apply_settled(self) -> None:
        while self._settled:
            batch = sorted(self._settled, key=lambda each: each.index)
            self._settled = []
            for each in batch:
                outcome, each.outcome = each.outcome, None
                said = each.take_output()
                if said and not each.tainted:
                    self._record(each.index, "said", said)
                    self._host.heard(self, each, said)
                effects, each.effects = each.effects, []
                for message in effects:
                    self._effect(each, message)
                if outcome is not None:
                    self._apply(each, outcome)

    def _effect(self, board: Board, message: protocol.Message) -> None:
        payload = message.payload
        if message.op == protocol.SEND:
            if self.air.send(board.index, payload[6:], self.now_us):
                board.counts["sent"] += 1
                self._record(board.index, "send", payload[6:])
        elif message.op == protocol.RADIO:
            self._switch(board, bool(payload[0]))
        elif message.op == protocol.NVS:
            board.nvs = payload
        elif message.op == protocol.CLOCK:
            (board.clock.offset_us,) = struct.unpack("<q", payload)
        elif message.op == protocol.RXBUF:
            (board.rxbuf,) = struct.unpack("<H", payload)
        elif message.op == protocol.SENSED:
            board.sensed(*struct.unpack("<I", payload))

    def _switch(self, board: Board, on: bool) -> None:
        board.radio_on = on
        self.air.switch(board.index, on, self.now_us)
        if not on:
            board.frames.clear()

    def _apply(self, board: Board, outcome: protocol.Message) -> None:
        payload = outcome.payload
        if outcome.op == protocol.WAIT:
            self._wait(board, *struct.unpack("<qB", payload))
        elif outcome.op == protocol.DEEP:
            (until_us,) = struct.unpack_from("<q", payload)
            board.rtc = payload[8:]
            self._record(board.index, "deep", payload)
            self._off(board, ASLEEP, DEEP)
            board.prepare()
            self._at_token(
                max(self.now_us + 1, board.clock.true_us(until_us)),
                board,
                lambda: self._boot(board, protocol.DEEPSLEEP_RESET),
            )
        elif outcome.op == protocol.RESET:
            board.rtc = payload[1:] if payload[0] == protocol.SOFT else b""
            self._off(board, BOOTING, AWAKE)
            self._boot(board, protocol.RESET_CAUSES[payload[0]])
        elif outcome.op == protocol.REPL:
            board.tainted = True
            board.state = REPL
            board.token += 1
            board.battery.enter(AWAKE, self.now_us)
        elif outcome.op == protocol.CRASH:
            self._crashed(board)

    def _wait(self, board: Board, until_us: int, flags: int) -> None:
        board.state, board.wait_flags = WAITING, flags
        board.token += 1
        board.battery.enter(LIGHT if flags & protocol.LIGHT else RADIO if board.radio_on else AWAKE, self.now_us)
        if self.now_us > board.rested_at_us:
            board.rested_at_us, board.counts["spins"], board.crashes_in_row = self.now_us, 0, 0
        board.counts["spins"] += 1
        if board.counts["spins"] > SPINS:
            self.kill(board.index)
        elif (flags & protocol.WAKE_PACKET and board.frames) or (flags & protocol.WAKE_STDIN and board.stdin_fresh):
            self._wake_at(board, self.now_us)
        else:
            self._wake_at(board, max(self.now_us, board.clock.true_us(until_us)))

    def _wake_at(self, board: Board, instant_us: int) -> None:
        self._at_token(instant_us, board, lambda: self._wake(board))

    def _at_token(self, instant_us: int, board: Board, call: Callable[[], None]) -> None:
        """Call back at an instant unless the board has gone on by then."""
        token = board.token
        self.at(instant_us, board.index, lambda: call() if board.token == token else None)

    def _wake(self, board: Board) -> None:
        board.token += 1
        board.state = RUNNING
        flags = protocol.STDIN if board.stdin_fresh and board.wait_flags & protocol.WAKE_STDIN else 0
        if flags:
            board.stdin_fresh = False
        self._running.add(board)
        board.resume(flags)

    def _off(self, board: Board, state: int, power: int) -> None:
        board.end()
        board.token += 1
        board.state = state
        board.stdin_fresh = False
        self._switch(board, False)
        board.battery.enter(power, self.now_us)

    def _boot(self, board: Board, cause: int) -> None:
        if not board.boots():
            self._off(board, LOADER, AWAKE)
            return
        board.token += 1
        board.state = BOOTING
        board.battery.enter(AWAKE, self.now_us)
        self._count_boot(board, cause)
        start_us = self.now_us + self.boot_us
        # Until it first waits, a program that boots hears nothing of the others: it may run ahead of its time.
        board.run_ahead(start_us, cause)
        self._at_token(start_us, board, lambda: self._power_on(board, cause))

    def _count_boot(self, board: Board, cause: int) -> None:
        board.battery.booted()
        board.boot_mv = board.battery.millivolts()
        board.counts["boots"] += 1
        if cause not in (protocol.DEEPSLEEP_RESET, protocol.SOFT_RESET):
            board.rtc = b""

    def _power_on(self, board: Board, cause: int) -> None:
        board.token += 1
        board.state = RUNNING
        self._running.add(board)
        board.power_on(cause)

    def _start_repl(self, board: Board, cause: int) -> None:
        """Switch a board on in real time, without main.py."""
        board.end()
        board.token += 1
        self._count_boot(board, cause)
        board.state = REPL
        board.tainted = True
        board.start_repl(cause)

    def _crashed(self, board: Board) -> None:
        if board.state == REPL and isinstance(board, VmBoard):
            main = board.reboot_text()
            self._off(board, BOOTING, AWAKE)
            if main:
                self._boot(board, protocol.SOFT_RESET)
            else:
                self._start_repl(board, protocol.SOFT_RESET)
            return
        board.counts["crashes"] += 1
        board.crashes_in_row += 1
        self._off(board, BOOTING, AWAKE)
        if board.crashes_in_row > CRASHES_IN_ROW:
            board.state = DEAD
            return
        self._at_token(self.now_us + CRASH_DELAY_US, board, lambda: self._boot(board, protocol.WDT_RESET))

    def kill(self, index: int) -> None:
        """Kill a board's machine, as a hang that the watchdog ends: it boots again, its RTC memory is lost."""
        board = self.boards[index]
        board.counts["kills"] += 1
        self._forget(board)
        self._off(board, BOOTING, AWAKE)
        self._boot(board, protocol.WDT_RESET)

    def _forget(self, board: Board) -> None:
        """Drop what a board has begun, and its RTC memory."""
        self._running.discard(board)
        if board in self._settled:
            self._settled.remove(board)
        board.effects.clear()
        board.rtc = b""

    # The air

    def _deliver(self, receiver: int, sender: int, frame: bytes, rssi: int) -> None:
        board = self.boards[receiver]
        if not board.radio_on or board.state not in (WAITING, RUNNING, REPL):
            return
        if sum(len(waiting[1]) for waiting in board.frames) + len(frame) > board.rxbuf:
            board.counts["overruns"] += 1
            return
        board.counts["received"] += 1
        board.frames.append((self.boards[sender].spec.mac, frame, rssi))
        if board.state == WAITING and board.wait_flags & protocol.WAKE_PACKET:
            self._wake_at(board, self.now_us)

    # What it all comes to

    def _record(self, index: int, what: str, data: bytes) -> None:
        self._digest.update(struct.pack("<qH", self.now_us, index) + what.encode() + data)
        if self.log is not None:
            self.log(self.now_us, index, what, data)

    def digest(self) -> str:
        """Return a hash of all frames sent, deep sleeps and serial output with their instants so far."""
        return self._digest.hexdigest()

    def status(self) -> dict[str, Any]:
        """Return the present state as plain data: see status.swarm_status."""
        return swarm_status(self)

    def close(self) -> None:
        """End all machines and remove the ptys."""
        for each in self.boards:
            each.close()
        if self._nursery is not None:
            self._nursery.close()
        self.loop.close()
