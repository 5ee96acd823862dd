"""Boards without a machine: a qres.node.Node in this process, on the same hub, with the same trace.

The port here does what qres.port.esp32 does on a virtual machine, to the microsecond: same waits, same entropy,
same boot counter. tests/host/test_hub_equal.py compares the two.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from qres.events import (
    COMMAND,
    DEEP,
    DEEP_SLEEP,
    LIGHT,
    PACKET,
    POWER_ON,
    SOFT,
    TIMER,
    WATCHDOG,
    WIRE_REPLY,
)
from qres.node import Node
from qres.port import framing
from qres.run import Driver

from qres_host import deploy
from qres_host.virtual import protocol
from qres_host.virtual.board import BATTERY_PIN, BOOTING, RUNNING, WAITING, Board, BoardSpec, Host
from qres_host.virtual.clock import BoardClock

WATCHDOG_MS = 120_000  # the firmware's default: it never waits longer than half of this without feeding
BOOT_WINDOW_MS = 2000
BOOT_STEP_MS = 50
WAIT_MAX_MS = 1 << 29
RXBUF_BYTES = 2048
CAUSES = {protocol.DEEPSLEEP_RESET: DEEP_SLEEP, protocol.WDT_RESET: WATCHDOG, protocol.SOFT_RESET: SOFT}


class InprocPort:
    """qres.port.contract.Port for a node in this process: what it does becomes messages to the hub."""

    def __init__(self, board: InprocBoard, cause: int) -> None:
        self._board = board
        self._cause = cause
        self._sequence = 0
        self._draws = 1  # the first goes to the machine's `random`
        self._boot_seed = board.boot_seed()
        self.radio_on = False

    def now_ms(self) -> int:
        """The board's clock."""
        return self._board.local_us() // 1000

    def wait(self, until_ms: int, kind: int) -> tuple[Any, ...]:
        """Not used: the hub waits."""
        raise NotImplementedError

    def radio(self, on: int) -> None:
        """On or off, from the next frame on."""
        if bool(on) != self.radio_on:
            self.radio_on = bool(on)
            if on:
                self._effect(protocol.RXBUF, struct.pack("<H", RXBUF_BYTES))
            else:
                self._board.frames.clear()
            self._effect(protocol.RADIO, bytes((self.radio_on,)))

    def send(self, frame: bytes) -> bool:
        """Broadcast."""
        if not self.radio_on or not 0 < len(frame) <= 250:
            return False
        self._effect(protocol.SEND, b"\xff" * 6 + bytes(frame))
        return True

    def _effect(self, op: int, payload: bytes) -> None:
        self._board.effects.append(protocol.Message(op, 0, payload))

    def sense(self) -> tuple[int | None, ...]:
        """The recording's row through the sensors that the configuration names."""
        config = self._board.config
        row = self._board.row(self._board.host.now_us)
        values: list[int | None] = []
        for spec in config.get("sensors", ()):
            value = row[spec["pin"]] if spec["driver"] == "adc" and spec["pin"] < len(row) else None
            values.append(None if value is None else value * spec.get("num", 1) // spec.get("den", 1))
        count = len(config["channels"])
        return tuple((values + [None] * count)[:count])

    def power(self) -> tuple[int, int]:
        """The gauge, as the firmware computes it from the voltage at the battery's pin."""
        config, table = self._board.config, self._board.table
        if config.get("battery_adc") != BATTERY_PIN:
            return -1, -1
        mv = self._board.boot_mv * 1000 // config.get("battery_divider_permille", 1000)
        empty = table.get("empty_mv", 3300)
        permille = (mv - empty) * 1000 // (table.get("full_mv", 4200) - empty)
        return max(0, min(1000, permille)), mv

    def report(self, kind: int, payload: bytes | bytearray) -> None:
        """A frame on the serial line."""
        self._board.said += framing.encode(kind, self._sequence, payload)
        self._sequence = (self._sequence + 1) & 0xFFFF

    def stage(self, driver: Any, payload: bytes) -> None:
        """Nothing to update: the node is this process's own."""

    def load_rtc(self) -> bytes:
        """RTC memory."""
        return self._board.rtc

    def save_rtc(self, blob: bytes) -> None:
        """RTC memory."""
        self._board.rtc = bytes(blob)

    def read(self, name: str) -> bytes | None:
        """A file of the board."""
        return self._board.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """A file of the board."""
        self._board.files[name] = bytes(data)

    def reset_cause(self) -> int:
        """Why the board booted."""
        return CAUSES.get(self._cause, POWER_ON)

    def seed(self) -> int:
        """The same draw as the shims' os.urandom(4)."""
        digest = hashlib.sha256(self._boot_seed + self._draws.to_bytes(4, "little")).digest()
        self._draws += 1
        return int.from_bytes(digest[:4], "little") & 0x3FFFFFFF

    def mac(self) -> bytes:
        """The board's address."""
        return self._board.spec.mac

    def build(self) -> bytes:
        """As a virtual machine with this application."""
        return deploy.build_id() + b"\0"

    def session(self, fresh: bool) -> int:
        """The boot counter."""
        stores = json.loads(self._board.nvs) if self._board.nvs else {}
        session = int(stores.get("qres", {}).get("session", 0))
        if fresh:
            session = (session + 1) & 0xFFFF
            self._board.nvs = json.dumps({"qres": {"session": session}}).encode()
        return session

    def traceback(self, error: BaseException) -> str:
        """One line is enough here."""
        return f"{type(error).__name__}: {error}\n"

    def text(self, line: str) -> None:
        """A line of text on the serial line."""
        self._board.said += line.encode() + b"\n"

    def release(self) -> None:
        """Radio off."""
        self.radio(0)

    def reset(self, after_ms: int) -> None:
        """Wait, then reset the board."""
        self._board.reset_after(after_ms)


class InprocBoard(Board):
    """A node that the hub drives directly. It has a serial line but no REPL: what is typed is commands."""

    def __init__(self, index: int, spec: BoardSpec, host: Host, clock: BoardClock, seed: int) -> None:
        super().__init__(index, spec, host, clock, seed)
        self.config: dict[str, Any] = dict(spec.config or {})
        table = self.config.get("board")
        self.table: dict[str, Any] = table if isinstance(table, dict) else {}
        self.files: dict[str, bytes] = {}
        self.said = bytearray()
        self._driver: Driver | None = None
        self._port: InprocPort | None = None
        self._window_ms = 0
        self._resetting = False
        self._receiving = False
        self._input = bytearray()
        self._line = bytearray()

    def local_us(self) -> int:
        """The board's clock, us."""
        return self.clock.local_us(self.host.now_us)

    def power_on(self, cause: int) -> None:
        self._port = InprocPort(self, cause)
        self._driver = None
        self._resetting = self._receiving = False
        self._line.clear()
        window_ms = self.table.get("boot_window_ms", BOOT_WINDOW_MS)
        self._window_ms = 0 if cause == protocol.DEEPSLEEP_RESET else window_ms
        self.resume(0)

    def reset_after(self, wait_ms: int) -> None:
        """Wait, then reset: what a failed program does."""
        self._resetting = True
        self._wait(self.local_us() + wait_ms * 1000, protocol.WAKE_STDIN)

    def resume(self, flags: int) -> None:
        port = self._port
        assert port is not None
        self.outcome = None
        if self._resetting:
            self.outcome = protocol.Message(protocol.RESET, 0, bytes((protocol.HARD,)))
        elif self._window_ms > 0:
            self._window_ms -= BOOT_STEP_MS
            self._wait(self.local_us() + BOOT_STEP_MS * 1000, protocol.WAKE_STDIN)
        else:
            self._run(port)
        self.host.settled(self)

    def _run(self, port: InprocPort) -> None:
        if self._driver is None:
            self._driver = Driver(Node(self.config), port, bool(self.config.get("trace")))
        try:
            if not self._driver.booted:
                self._driver.boot()
            while self.outcome is None:
                event = self._next_event(port, self._driver)
                if event is not None:
                    self._driver.handle(event)
        except Exception as error:  # what run.main does on a board
            self._driver.fail(error)

    def _next_event(self, port: InprocPort, driver: Driver) -> tuple[Any, ...] | None:
        """Return what the firmware's wait() would give now; None when it would block, with the outcome set."""
        until_ms, kind = driver.until_ms, driver.kind
        receiving, self._receiving = self._receiving, False
        if receiving and self.frames:  # the firmware's recv() ends with a frame, even when time is up as well
            return self._packet(port)
        if kind == DEEP:
            port.radio(0)
            ms = max(1, min(until_ms - port.now_ms(), WAIT_MAX_MS))
            self.outcome = protocol.Message(protocol.DEEP, 0, struct.pack("<q", self.local_us() + ms * 1000) + self.rtc)
            return None
        if kind == LIGHT:
            port.radio(0)
        command = self._read_command(port)
        if command is not None:
            return command
        left_ms = until_ms - port.now_ms()
        if left_ms <= 0:
            return TIMER, port.now_ms()
        if kind != LIGHT and port.radio_on and self.frames:
            return self._packet(port)
        watchdog_ms = self.table.get("watchdog_ms", WATCHDOG_MS)
        left_ms = min(left_ms, watchdog_ms // 2 if watchdog_ms else WAIT_MAX_MS)
        flags = protocol.LIGHT if kind == LIGHT else protocol.WAKE_STDIN
        if kind != LIGHT and port.radio_on:
            flags |= protocol.WAKE_PACKET
            self._receiving = True
        self._wait(self.local_us() + left_ms * 1000, flags)
        return None

    def _packet(self, port: InprocPort) -> tuple[Any, ...]:
        _mac, frame, rssi = self.frames.pop(0)
        return PACKET, port.now_ms(), frame, rssi

    def _wait(self, until_us: int, flags: int) -> None:
        self.outcome = protocol.Message(protocol.WAIT, 0, struct.pack("<qB", until_us, flags))

    def take_output(self) -> bytes:
        said = bytes(self.said)
        self.said.clear()
        if self.line is not None:
            self.line.write(said)
        return said

    def typed(self, data: bytes) -> None:
        if self.state in (RUNNING, WAITING, BOOTING):
            self._input += data
            self.host.typed(self)

    def _read_command(self, port: InprocPort) -> tuple[Any, ...] | None:
        while self._input:
            byte = self._input.pop(0)
            if byte not in b"\r\n":
                if len(self._line) <= framing.LINE_BYTES:
                    self._line.append(byte)
                continue
            text = bytes(self._line)
            self._line.clear()
            command = self._parse(text, port) if text.strip() else None
            if command is not None:
                return command
        return None

    @staticmethod
    def _parse(text: bytes, port: InprocPort) -> tuple[Any, ...] | None:
        found = framing.command(text)
        if isinstance(found, bytes):
            port.report(WIRE_REPLY, found)
            return None
        return COMMAND, port.now_ms(), *found

    def end(self) -> None:
        self._driver = None
        self._input.clear()
        self.effects.clear()
