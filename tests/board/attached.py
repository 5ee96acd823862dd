"""The board under test: what the environment says of it, how the battery talks to it, what it gets and gets back.

QRES_BOARD_PORT   port, device URI or MAC; nothing runs without it
QRES_BOARD_IMAGE  MicroPython to flash first; without it the application alone is copied
QRES_BOARD_KIND   a name of `qres boards list`; without it the generic board, or the virtual one if it is no ESP32
QRES_BOARD_AS_IS  1: nothing is put on the board but the battery's configuration
QRES_BOARD_BOOT_S, _TRACE_S, _SLEEP_MS, _HEAP_BYTES, _LIMIT_S, _TESTS   see Settings
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qres.snapshot import Slots
from qres_host import boardfiles, deploy, hardware, upload
from qres_host.collector import ANSWER_MS, Collector
from qres_host.devices import Device, Uri, parse_uri
from qres_host.errors import QresError
from qres_host.flash.backup import Backup
from qres_host.flash.cli import GENERIC
from qres_host.flash.files import SELFTEST
from qres_host.records import Event, Found, Packet
from qres_host.repl import Repl
from qres_host.talk import parse

PREFIX = "QRES_BOARD_"
CONFIG = "config.json"
OWN = (CONFIG, *Slots.NAMES)  # what the battery changes and puts back
WAKES = 2  # deep sleeps that must be seen
ATTEMPTS = 4  # to reach a board that is awake for moments
_READ = """
import binascii
for _path in {paths!r}:
    try:
        with open(_path, "rb") as _file:
            print(_path, binascii.hexlify(_file.read()).decode())
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Settings:
    """How long and how strictly.

    `boot_s`: from a reset to HELLO. `trace_s`: of the trace. `sleep_ms`: a deep sleep, 1,000 to 16,000.
    `heap_bytes`: must be free after boot. `limit_s`: for one module of tests. `tests`: which modules, empty for all
    that are not too long for a chip.
    """

    port: str
    image: str = ""
    kind: str = ""
    as_is: bool = False
    boot_s: float = 30.0
    trace_s: float = 60.0
    sleep_ms: int = 15_000
    heap_bytes: int = 24_000
    limit_s: float = 900.0
    tests: tuple[str, ...] = ()

    @classmethod
    def read(cls) -> Settings:
        """From the environment."""

        def said(name: str, default: object) -> str:
            return os.environ.get(PREFIX + name) or str(default)

        return cls(
            said("PORT", ""),
            said("IMAGE", ""),
            said("KIND", ""),
            said("AS_IS", "0") == "1",
            float(said("BOOT_S", cls.boot_s)),
            float(said("TRACE_S", cls.trace_s)),
            int(said("SLEEP_MS", cls.sleep_ms)),
            int(said("HEAP_BYTES", cls.heap_bytes)),
            float(said("LIMIT_S", cls.limit_s)),
            tuple(said("TESTS", "").split()),
        )


class Ear:
    """Listens to the board's port while it is open: `found` holds all that was said, in order."""

    def __init__(self, uri: Uri, key: bytes, capture: Path | None = None) -> None:
        self.found: list[Found] = []
        self.collector = Collector([uri], key, None, capture, listen=self.found.extend, acknowledge=False)

    def __enter__(self) -> Ear:
        self.collector.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.stop()

    @property
    def opens(self) -> int:
        """How often the port was opened."""
        return self.collector.devices[0].opens

    def events(self, kind: str) -> list[Event]:
        """What was said of one kind."""
        return [item for item in list(self.found) if isinstance(item, Event) and item.kind == kind]

    def ask(self, text: str) -> dict[str, Any]:
        """Send a command as people type it, until the board answers; AssertionError when it refuses or stays silent."""
        for _ in range(ATTEMPTS):
            self.collector.ask(self.collector.devices[0].name, parse(text))
            until(lambda: bool(self.collector.outcomes), ANSWER_MS / 1000 + 5)
            outcome = self.collector.outcomes.popleft()
            if outcome.answer is not None:
                assert outcome.ok, f"{text}: {outcome.answer}"
                return outcome.answer
        raise AssertionError(f"the board does not answer '{text}'")


@dataclass
class Attached:
    """The board at the port. `own`: its files from before; `flashed`: what `qres flash` said, {} if it did not run.

    `files`, `build`: the application that this kind of board gets, and the hash that it must say.
    """

    settings: Settings
    uri: Uri
    kind: hardware.Hardware
    backup: Backup | None
    own: dict[str, bytes]
    files: dict[str, bytes] = field(init=False)
    build: bytes = field(init=False)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    flashed: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.build, self.files = deploy.build_id(self.kind.arch), deploy.firmware_files(arch=self.kind.arch)

    @property
    def vanishes(self) -> bool:
        """Whether the port is the chip's own USB, which goes away while the chip sleeps."""
        return self.uri.scheme == "usb"

    def port(self) -> str:
        """Where the board is now. Raises QresError when it is away."""
        return Device(self.uri).path()

    def repl(self) -> Repl:
        """The board's REPL; a program that runs is interrupted."""
        wait_until(self.port, self.settings.boot_s)
        return Repl(self.port(), self.settings.boot_s)

    def listen(self, capture: Path | None = None) -> Ear:
        """Listen with the battery's key."""
        return Ear(self.uri, self.key, capture)

    def config(self, **changes: Any) -> dict[str, Any]:
        """The battery's configuration: chip's temperature and the voltage at an open pin, each second.

        Two packets go within half of the trace, so what they need is loaded then; no learning round falls into it.
        """
        window_ms = int(self.settings.trace_s * 250)
        return {
            **self.kind.settings(),
            "name": "board-test",
            "role": "sentinel",
            "swarm_key": self.key.hex(),
            "channels": [
                {"name": "chip", "unit": "degC", "scale": "1"},
                {"name": "pin", "unit": "mV", "scale": "1"},
            ],
            "sensors": [{"driver": "mcu"}, {"driver": "adc", "pin": 0, "den": 1000}],
            "period_ms": 1000,
            "epoch_ms": 86_400_000,
            "flush_ms": window_ms,
            "base_ms": [window_ms] * 3,
            **changes,
        }

    def sleeper(self) -> dict[str, Any]:
        """The configuration with which it sleeps deeply and is traced from its boot on.

        No sentinel has its key, so it asks for the time for two seconds, sleeps, and asks again: awake long enough for
        a port to come back and a command to arrive.
        """
        sleep_ms = self.settings.sleep_ms
        return self.config(role="scheduled", trace=True, light_ms=sleep_ms // 8, base_ms=[sleep_ms] * 3)

    def start(self, config: Mapping[str, Any]) -> int:
        """Give the board a configuration and no past, and reset it; return the session that it had."""
        with self.repl() as repl:
            upload.remove(repl, OWN)
            repl.put({CONFIG: json.dumps(config).encode()})
            session = number(repl, "__import__('esp32').NVS('qres').get_i32('session')")
            repl.reset()
        return session

    def put_back(self) -> None:
        """Give the board what it had, and restart it."""
        with self.repl() as repl:
            upload.remove(repl, [name for name in OWN if name not in self.own])
            repl.put(self.own)
            repl.reset()
        if self.backup is not None:
            self.backup.drop()

    def install(self, folder: Path) -> None:
        """Put MicroPython and the application on the board, or the application alone, or nothing."""
        if self.settings.as_is:
            return
        if not self.settings.image:
            with self.repl() as repl:
                repl.put(self.files)
            return
        (folder / CONFIG).write_text(json.dumps(self.config()))
        arguments = ["--port", self.port(), "--image", self.settings.image, "--board", self.kind.name]
        done = qres("flash", *arguments, "--config", str(folder / CONFIG), "--json")
        assert done.stdout, done.stderr
        self.flashed = json.loads(done.stdout)["boards"][0]


@dataclass
class Minute:
    """A board that was traced: its HELLO, what heap it had in the middle and at the end, its capture."""

    hello: Event | None
    said: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    counters: dict[str, int]
    capture: Path
    config: Path


@dataclass
class Night:
    """A board that slept: its trace, its telemetry when it was held awake again, what it says of its last reset."""

    trace: list[dict[str, Any]]
    telemetry: Packet | None
    sessions: tuple[int, int]  # before the first boot and at the end
    resumed: bool
    opens: int
    gaps: int
    capture: Path
    config: Path


def attach(settings: Settings) -> Attached:
    """Find the board, save what is its own on the host. Raises QresError when there is none."""
    uri = parse_uri(settings.port)
    mac = Device(uri).mac
    if mac:
        uri = Uri("usb", mac)  # its port may return under another name
    try:
        with Repl(Device(uri).path(), settings.boot_s) as repl:
            state = boardfiles.read_state(repl)
            chip = repl.run("import sys; print(sys.platform)").strip() == "esp32"
            kind = settings.kind or (GENERIC if chip else "virtual")
            backup = Backup(f"test-{state.mac}")
            own = backup.load() or read(repl, OWN)
    except QresError:
        if not settings.image:
            raise
        return Attached(settings, uri, hardware.load(settings.kind or GENERIC), None, {})  # blank: nothing to keep
    backup.save(own)
    return Attached(settings, uri, hardware.load(kind), backup, own)


def read(repl: Repl, paths: tuple[str, ...]) -> dict[str, bytes]:
    """Files of the board by path, those that are there."""
    rows = [line.split() for line in repl.run(_READ.format(paths=list(paths))).splitlines()]
    return {row[0]: bytes.fromhex(row[1]) if len(row) > 1 else b"" for row in rows if row}


def verdict(repl: Repl) -> bytes:
    """What the board's self-test of its kernels found; b"" when it made none."""
    return read(repl, (SELFTEST,)).get(SELFTEST, b"")


def forget_verdict(repl: Repl) -> None:
    """Make the next boot test the kernels again."""
    upload.remove(repl, [SELFTEST])


def number(repl: Repl, expression: str) -> int:
    """An expression's value on the board; 0 where it raises OSError."""
    return int(repl.run(f"try:\n    print(int({expression}))\nexcept OSError:\n    print(0)"))


def qres(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the host."""
    command = [sys.executable, "-m", "qres_host.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; whether it came."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True


def wait_until(call: Callable[[], object], seconds: float) -> None:
    """Wait until a call raises no QresError; the last one passes through."""
    end_s = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except QresError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
