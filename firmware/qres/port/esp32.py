"""The ESP32-C6: ESP-NOW, deep sleep, RTC memory, NVS, LittleFS, sensors, USB serial line.

Implements qres.port.contract.Port.  Keys of the configuration that it reads, all optional but `channels`:
`sensors`, `radio_channel` (1 to 13), `battery_adc` (pin), `battery_divider_permille` (the pin's share of the
battery's voltage) and `board`, an object with `i2c` {scl, sda, freq}, `watchdog_ms` (0: none), `empty_mv`
and `full_mv`.
"""

import io
import os
import select
import sys
import time

import machine

import qres
from qres.events import COMMAND, DEEP, DEEP_SLEEP, LIGHT, PACKET, POWER_ON, SOFT, TIMER, WATCHDOG, WIRE_REPLY
from qres.port import framing

if False:
    from typing import Any

    import espnow
    import network

WATCHDOG_MS = 120000
BROADCAST = b"\xff\xff\xff\xff\xff\xff"
_RXBUF_BYTES = 2048  # seven frames of 250 bytes wait while the node computes
_PEERS = 64  # strangers on the channel must not fill the heap
_WAIT_MAX_MS = 1 << 29  # the timers of the chip take small integers
_STDIN_MS = 250  # the chip's recv() and sleep_ms() do not end on input; on a virtual board they do
_DRAIN_MS = 10  # USB loses what it has not sent when the chip goes to sleep
_UNIX_2000_MS = 946684800000


def arm_watchdog(timeout_ms: int) -> "machine.WDT":
    """Start the watchdog, fed by a timer: for the REPL, where nobody else feeds it and nothing stops it."""
    dog = machine.WDT(timeout=timeout_ms)
    machine.Timer(0).init(mode=machine.Timer.PERIODIC, period=1000, callback=lambda _: dog.feed())
    return dog


def board_of(config: "dict[str, Any]") -> "dict[str, Any]":
    """What the configuration says about the board itself; {} when it only names it."""
    board = config.get("board")
    return board if isinstance(board, dict) else {}


class Port:
    """The board this runs on."""

    def __init__(self, config: "dict[str, Any]") -> None:
        """Start the watchdog; touches neither radio nor sensors yet."""
        self._config = config
        self._epoch_ms = _UNIX_2000_MS if time.gmtime(0)[0] == 2000 else 0
        self._slice_ms = _STDIN_MS if sys.platform == "esp32" else _WAIT_MAX_MS
        self._seq = 0
        self._line = bytearray()
        self._sensors: "Any" = None
        self._espnow: "espnow.ESPNow | None" = None
        self._wlan: "network.WLAN | None" = None
        self._dog: "machine.WDT | None" = None
        self._board = board_of(config)
        self._dog_ms = self._board.get("watchdog_ms", WATCHDOG_MS)
        if sys.path[0] == "/next":  # main.py has armed it already
            self._dog_ms = self._dog_ms or WATCHDOG_MS
        if self._dog_ms:
            machine.Timer(0).deinit()  # what arm_watchdog() left running
            self._dog = machine.WDT(timeout=self._dog_ms)
            self._slice_ms = min(self._slice_ms, self._dog_ms // 2)
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)

    # Time and sleep

    def now_ms(self) -> int:
        """The RTC in ms of Unix time."""
        return time.time_ns() // 1000000 + self._epoch_ms

    def wait(self, until_ms: int, kind: int) -> "tuple[Any, ...]":
        """See the contract; light sleep hears neither radio nor cable, before deep sleep a command still counts."""
        if kind == LIGHT:
            self.radio(0)
        while True:
            if self._dog:
                self._dog.feed()
            command = self._read_command()
            if command:
                return command
            if kind == DEEP:
                self._deepsleep(until_ms)
            left = until_ms - self.now_ms()
            if left <= 0:
                return TIMER, self.now_ms()
            left = min(left, self._slice_ms)
            if kind == LIGHT:
                machine.lightsleep(left)
            elif self._espnow is None:
                time.sleep_ms(left)
            else:
                mac, frame = self._espnow.recv(left)
                if frame:
                    return PACKET, self.now_ms(), frame, self._rssi(mac)

    def _deepsleep(self, until_ms: int) -> None:
        """Sleep with only RTC memory kept; zero ms would mean for ever."""
        self.radio(0)
        if self._seq and sys.platform == "esp32":
            time.sleep_ms(_DRAIN_MS)
        machine.deepsleep(max(1, min(until_ms - self.now_ms(), _WAIT_MAX_MS)))

    # Radio

    def radio(self, on: int) -> None:
        """ESP-NOW up or down; the WLAN goes down with it, because an active one spoils the sleep current."""
        if on and self._espnow is None:
            import espnow
            import network

            self._wlan = network.WLAN(network.WLAN.IF_STA)
            self._wlan.active(True)
            self._wlan.config(channel=self._config.get("radio_channel", 1), pm=network.WLAN.PM_NONE)
            self._espnow = espnow.ESPNow()
            self._espnow.config(rxbuf=_RXBUF_BYTES)
            self._espnow.active(True)
            self._espnow.add_peer(BROADCAST)
        elif not on and self._espnow is not None and self._wlan is not None:
            self._espnow.active(False)
            self._wlan.active(False)
            self._espnow = self._wlan = None

    def send(self, frame: bytes) -> bool:
        """Broadcast; returns when the frame has left, so that sleep may follow at once."""
        if self._espnow is None:
            return False
        try:
            return bool(self._espnow.send(BROADCAST, frame, True))
        except OSError:
            return False

    def _rssi(self, mac: "Any") -> int:
        """Signal strength in dBm of the last frame from `mac`; 0 when unknown."""
        table = self._espnow.peers_table if self._espnow else {}
        rssi = table.get(mac, (0,))[0]
        if len(table) > _PEERS:
            table.clear()
        return rssi

    # Serial line

    def report(self, kind: int, payload: "bytes | bytearray") -> None:
        """One frame to standard output."""
        sys.stdout.buffer.write(framing.encode(kind, self._seq, payload))
        self._seq = (self._seq + 1) & 0xFFFF

    def text(self, line: str) -> None:
        """One line of text to standard output."""
        print(line)

    def _read_command(self) -> "tuple[Any, ...] | None":
        """The next COMMAND on standard input, or None; never waits.  Bad lines are answered with an error."""
        line = self._line
        while self._poll.poll(0):
            char = sys.stdin.buffer.read(1)
            if not char:
                break
            if char not in b"\r\n":
                if len(line) <= framing.LINE_BYTES:
                    line.append(char[0])
                continue
            text = bytes(line)
            self._line = line = bytearray()
            if text.strip():
                command = self._parse(text)
                if command:
                    return command
        return None

    def _parse(self, text: bytes) -> "tuple[Any, ...] | None":
        """COMMAND of one line, or None after an error REPLY."""
        found = framing.command(text)
        if isinstance(found, bytes):
            self.report(WIRE_REPLY, found)
            return None
        return COMMAND, self.now_ms(), found[0], found[1]

    # Sensors and battery

    def sense(self) -> "tuple[int | None, ...]":
        """Read all sensors; opens them on the first call."""
        if self._sensors is None:
            from qres.port.sensors import Sensors

            self._sensors = Sensors(self._config, self._board.get("i2c"))
        return self._sensors.read()

    def power(self) -> "tuple[int, int]":
        """The battery through its divider, or (-1, -1)."""
        pin = self._config.get("battery_adc")
        if pin is None:
            return -1, -1
        from qres.port.adc import read_uv

        try:
            mv = read_uv(pin) // self._config.get("battery_divider_permille", 1000)
        except OSError:
            return -1, -1
        empty = self._board.get("empty_mv", 3300)
        permille = (mv - empty) * 1000 // (self._board.get("full_mv", 4200) - empty)
        return max(0, min(1000, permille)), mv

    # Memory

    def stage(self, driver: "Any", payload: bytes) -> None:
        """The updater is loaded with the first offer."""
        from qres.port import ota

        ota.stage(driver, payload)

    def load_rtc(self) -> bytes:
        """RTC memory."""
        return machine.RTC().memory()

    def save_rtc(self, blob: bytes) -> None:
        """RTC memory."""
        machine.RTC().memory(blob)

    def read(self, name: str) -> "bytes | None":
        """A file of the root directory."""
        try:
            with open("/" + name, "rb") as file:
                return file.read()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write beside, then rename: LittleFS does the rename as a whole or not at all."""
        path = "/" + name
        with open(path + ".new", "wb") as file:
            file.write(data)
            file.flush()
        os.rename(path + ".new", path)

    # Identity and resets

    def reset_cause(self) -> int:
        """From the chip's register."""
        cause = machine.reset_cause()
        if cause == machine.DEEPSLEEP_RESET:
            return DEEP_SLEEP
        if cause == machine.WDT_RESET:
            return WATCHDOG
        return SOFT if cause == machine.SOFT_RESET else POWER_ON

    def seed(self) -> int:
        """From the hardware generator."""
        return int.from_bytes(os.urandom(4), "little") & 0x3FFFFFFF

    def mac(self) -> bytes:
        """The station's address."""
        return machine.unique_id()[:6]

    def build(self) -> bytes:
        """As the deploy wrote it into the package."""
        return qres.BUILD + bytes((qres.KERNELS,))

    def session(self, fresh: bool) -> int:
        """Counted in NVS, which survives an erased file system."""
        import esp32

        store = esp32.NVS("qres")
        try:
            session = store.get_i32("session")
        except OSError:
            session = 0
        if fresh:
            session = (session + 1) & 0xFFFF
            store.set_i32("session", session)
            store.commit()
        return session

    def traceback(self, error: BaseException) -> str:
        """As the REPL shows it."""
        out = io.StringIO()
        sys.print_exception(error, out)
        return out.getvalue()

    def release(self) -> None:
        """Radio off; the watchdog goes on, fed by a timer."""
        self.radio(0)
        if self._dog:
            arm_watchdog(self._dog_ms)

    def reset(self, after_ms: int) -> None:
        """Wait, then reset the chip."""
        if self._dog:
            self._dog.feed()
        time.sleep_ms(after_ms)
        machine.reset()
