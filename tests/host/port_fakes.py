"""A chip for CPython: fakes of the modules that qres.port.esp32 calls, around one clock."""

from __future__ import annotations

import importlib
import io
import sys
import traceback
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

START_MS = 1_764_000_000_000
EPOCH_2000_MS = 946_684_800_000
MAC = bytes.fromhex("a0b1c2d3e4f5")
PORT_MODULES = ("esp32", "sensors", "adc", "mcu", "ds18b20", "dht", "sht4x", "bme280")


class DeepSleep(BaseException):
    """The chip went to deep sleep for args[0] ms."""


class Reset(BaseException):
    """The chip was reset."""


class Board:
    """What a test sets up and looks at."""

    def __init__(self, platform: str = "esp32", epoch: int = 2000) -> None:
        self.platform, self.epoch = platform, epoch
        self.now_ms = START_MS
        self.calls: list[tuple[Any, ...]] = []  # (name, arguments...) of everything that matters
        self.out = bytearray()
        self.typed: list[tuple[int, bytes]] = []  # (at_ms, bytes) that arrive on the serial line
        self.air: list[tuple[int, bytes, bytes, int]] = []  # (at_ms, mac, frame, rssi)
        self.uv: dict[int, int] = {}
        self.rtc = b""
        self.nvs: dict[str, int] = {}
        self.cause = 1
        self.pressed = False
        self.refuse_send = False
        self.i2c: dict[int, Any] = {}
        self.files: Path | None = None
        self.wlan_active = False
        self.interrupt_at_ms: int | None = None

    def advance(self, ms: int) -> None:
        """Let time pass; Ctrl-C where the test put it."""
        if self.interrupt_at_ms is not None and self.now_ms + ms >= self.interrupt_at_ms:
            self.now_ms, self.interrupt_at_ms = self.interrupt_at_ms, None
            raise KeyboardInterrupt
        self.now_ms += ms

    def next_input_ms(self) -> int:
        """When the serial line has something to read."""
        return self.typed[0][0] if self.typed else 1 << 60

    def names(self) -> list[str]:
        """The calls made, without arguments."""
        return [call[0] for call in self.calls]


def _machine(board: Board) -> SimpleNamespace:
    class Pin:
        IN, OUT, OPEN_DRAIN, PULL_UP = 1, 3, 7, 2

        def __init__(self, number: int, mode: int = -1, pull: int = -1) -> None:
            self.number = number

        def value(self) -> int:
            return 0 if board.pressed else 1

    class ADC:
        ATTN_11DB = 3

        def __init__(self, pin: Pin, *, atten: int) -> None:
            self.pin = pin

        def read_uv(self) -> int:
            if self.pin.number not in board.uv:
                raise OSError(19)
            return board.uv[self.pin.number]

    class RTC:
        def memory(self, blob: bytes | None = None) -> bytes | None:
            if blob is None:
                return board.rtc
            board.rtc = bytes(blob)
            return None

    class WDT:
        def __init__(self, *, timeout: int) -> None:
            board.calls.append(("wdt", timeout))

        def feed(self) -> None:
            board.calls.append(("feed", board.now_ms))

    class Timer:
        PERIODIC = 1

        def __init__(self, number: int) -> None:
            pass

        def init(self, **settings: Any) -> None:
            board.calls.append(("timer", settings))

        def deinit(self) -> None:
            board.calls.append(("timer off",))

    class I2C:
        def __init__(self, number: int, *, scl: Pin, sda: Pin, freq: int) -> None:
            board.calls.append(("i2c", scl.number, sda.number, freq))

        def _chip(self, address: int) -> Any:
            if address not in board.i2c:
                raise OSError(19)
            return board.i2c[address]

        def writeto(self, address: int, data: bytes) -> int:
            self._chip(address).write(data)
            return len(data)

        def readfrom(self, address: int, count: int) -> bytes:
            return self._chip(address).read(count)

        def readfrom_mem(self, address: int, register: int, count: int) -> bytes:
            return self._chip(address).registers[register][:count]

        def writeto_mem(self, address: int, register: int, data: bytes) -> None:
            self._chip(address).registers[register] = data

    def deepsleep(ms: int) -> None:
        board.calls.append(("deepsleep", ms, board.wlan_active))
        raise DeepSleep(ms)

    def lightsleep(ms: int) -> None:
        board.calls.append(("lightsleep", ms, board.wlan_active))
        board.advance(ms)

    def reset() -> None:
        board.calls.append(("reset",))
        raise Reset

    def dht_readinto(pin: Pin, buf: bytearray) -> None:
        answer = board.i2c.get("dht")
        if answer is None:
            raise OSError(110)
        buf[:] = answer

    return SimpleNamespace(
        Pin=Pin, ADC=ADC, RTC=RTC, WDT=WDT, Timer=Timer, I2C=I2C, deepsleep=deepsleep, lightsleep=lightsleep,
        reset=reset, reset_cause=lambda: board.cause, unique_id=lambda: MAC, dht_readinto=dht_readinto,
        PWRON_RESET=1, HARD_RESET=2, WDT_RESET=3, DEEPSLEEP_RESET=4, SOFT_RESET=5,
    )  # fmt: skip


def _radio(board: Board) -> tuple[SimpleNamespace, SimpleNamespace]:
    class WLAN:
        IF_STA, PM_NONE = 0, 0

        def __init__(self, interface: int) -> None:
            assert interface == self.IF_STA

        def active(self, on: bool) -> None:
            board.wlan_active = bool(on)
            board.calls.append(("wlan", bool(on)))

        def config(self, *, channel: int, pm: int) -> None:
            assert board.wlan_active
            board.calls.append(("channel", channel))

    class ESPNow:
        def __init__(self) -> None:
            self.peers_table: dict[bytes, list[int]] = {}
            self.peers: list[bytes] = []

        def config(self, *, rxbuf: int) -> None:
            board.calls.append(("rxbuf", rxbuf))

        def active(self, on: bool) -> None:
            board.calls.append(("espnow", bool(on)))

        def add_peer(self, mac: bytes) -> None:
            self.peers.append(mac)

        def send(self, mac: bytes, frame: bytes, sync: bool) -> bool:
            assert mac in self.peers and len(frame) <= 250 and sync and board.wlan_active
            if board.refuse_send:
                raise OSError(-12391, "ESP_ERR_ESPNOW_NO_MEM")
            board.calls.append(("send", frame))
            return True

        def recv(self, timeout_ms: int) -> tuple[bytes | None, bytes | None]:
            board.calls.append(("recv", timeout_ms))
            until = board.now_ms + timeout_ms
            if board.platform != "esp32":
                until = min(until, max(board.next_input_ms(), board.now_ms))
            if board.air and board.air[0][0] <= until:
                at, mac, frame, rssi = board.air.pop(0)
                board.advance(max(at - board.now_ms, 0))
                self.peers_table[mac] = [rssi, board.now_ms & 0x3FFFFFFF]
                return mac, frame
            board.advance(until - board.now_ms)
            return None, None

    return SimpleNamespace(WLAN=WLAN), SimpleNamespace(ESPNow=ESPNow)


def _time(board: Board) -> SimpleNamespace:
    def sleep_ms(ms: int) -> None:
        board.calls.append(("sleep_ms", ms))
        if board.platform != "esp32":
            ms = min(ms, max(board.next_input_ms() - board.now_ms, 0))
        board.advance(ms)

    offset_ms = EPOCH_2000_MS if board.epoch == 2000 else 0
    return SimpleNamespace(
        sleep_ms=sleep_ms,
        time_ns=lambda: (board.now_ms - offset_ms) * 1_000_000,
        gmtime=lambda seconds: (board.epoch, 1, 1, 0, 0, 0, 0, 1),
    )


def _serial(board: Board) -> tuple[SimpleNamespace, SimpleNamespace]:
    def read(count: int) -> bytes:
        at, data = board.typed[0]
        assert count == 1 and at <= board.now_ms
        board.typed[0] = (at, data[1:])
        if not data[1:]:
            board.typed.pop(0)
        return data[:1]

    stdin = SimpleNamespace(buffer=SimpleNamespace(read=read))
    stdout = SimpleNamespace(buffer=SimpleNamespace(write=board.out.extend))

    def print_exception(error: BaseException, file: io.StringIO) -> None:
        file.write("".join(traceback.format_exception(error)))

    class Poll:
        def register(self, stream: Any, events: int) -> None:
            assert stream is stdin and events == 1

        def poll(self, timeout: int) -> list[Any]:
            assert timeout == 0
            return [(stdin, 1)] if board.next_input_ms() <= board.now_ms else []

    fake_sys = SimpleNamespace(stdin=stdin, stdout=stdout, platform=board.platform, print_exception=print_exception)
    fake_sys.path = ["", "/lib"]
    return fake_sys, SimpleNamespace(poll=Poll, POLLIN=1)


def _nvs(board: Board) -> SimpleNamespace:
    class NVS:
        def __init__(self, namespace: str) -> None:
            assert namespace == "qres"
            self.pending: dict[str, int] = {}

        def get_i32(self, key: str) -> int:
            if key not in board.nvs:
                raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
            return board.nvs[key]

        def set_i32(self, key: str, value: int) -> None:
            self.pending[key] = value

        def commit(self) -> None:
            board.nvs.update(self.pending)

    return SimpleNamespace(NVS=NVS, mcu_temperature=lambda: 31)


def _onewire(board: Board) -> tuple[SimpleNamespace, SimpleNamespace]:
    class OneWireError(Exception):
        pass

    class OneWire:
        def __init__(self, pin: Any) -> None:
            self.rom = b""

        def reset(self, required: bool = False) -> bool:
            if required and not board.i2c.get("onewire"):
                raise OneWireError
            return True

        def select_rom(self, rom: bytes) -> None:
            self.rom = bytes(rom)

        def writebyte(self, value: int) -> None:
            assert value == 0xBE

        def readinto(self, buf: bytearray) -> None:
            buf[:] = board.i2c["onewire"][self.rom]

        def crc8(self, data: bytes) -> int:
            return 0 if data[8] == sum(data[:8]) & 255 else 1

    class DS18X20:
        def __init__(self, wire: OneWire) -> None:
            self.wire = wire

        def scan(self) -> list[bytearray]:
            return [bytearray(rom) for rom in board.i2c.get("onewire", ())]

        def convert_temp(self) -> None:
            self.wire.reset(True)

    return SimpleNamespace(OneWire=OneWire, OneWireError=OneWireError), SimpleNamespace(DS18X20=DS18X20)


def load(board: Board, monkeypatch: Any) -> ModuleType:
    """Import qres.port.esp32 anew on this chip; its drivers will be imported there too."""
    for name in PORT_MODULES:
        monkeypatch.delitem(sys.modules, f"qres.port.{name}", raising=False)
    network, espnow = _radio(board)
    onewire, ds18x20 = _onewire(board)
    fakes = {
        "machine": _machine(board), "network": network, "espnow": espnow, "esp32": _nvs(board),
        "onewire": onewire, "ds18x20": ds18x20,
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    clock = _time(board)
    modules = {}
    with monkeypatch.context() as during:
        during.setitem(sys.modules, "time", clock)
        for name in PORT_MODULES:
            modules[name] = importlib.import_module(f"qres.port.{name}")
    esp32 = modules["esp32"]
    esp32.sys, esp32.select = _serial(board)
    esp32.print = lambda line: board.out.extend(line.encode() + b"\n")
    if board.files is not None:
        _redirect_files(esp32, board.files)
    return esp32


def _redirect_files(esp32: Any, root: Path) -> None:
    """Let the module's "/" be the folder `root`."""

    def inside(path: str) -> str:
        assert path.startswith("/")
        return str(root / path[1:])

    real_os = esp32.os
    esp32.open = lambda path, mode: open(inside(path), mode)  # noqa: SIM115
    esp32.os = SimpleNamespace(
        rename=lambda old, new: real_os.replace(inside(old), inside(new)), urandom=real_os.urandom
    )
