"""Devices are URIs: `serial:///dev/ttyACM0`, `usb://MAC`, `virtual://name`, `tcp://host:port`, `replay://capture`.

A bare path means `serial://`, a bare MAC `usb://`. Opening a port sends nothing and moves no control line, so it never
resets a board; the port is locked, so two programs never share its bytes. A port that vanishes (deep sleep of
a USB chip, an unplugged cable, a restarted virtual board) is opened again by itself, under whatever name it returns.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from serial.tools import list_ports

from qres_host.errors import NO_DEVICE, USAGE, QresError

READ_BYTES = 16384
FIRST_RETRY_S = 0.1  # also between looks at a port that is not there: a board may be awake for half a second
LAST_RETRY_S = 3.0
CONNECT_S = 3.0
POST_BYTES = 8192  # written, not yet taken by a board: more means that it does not listen
_SCAN_S = 0.2  # how long a list of the USB ports holds
# USB-Serial-JTAG of Espressif's chips. C3, C6 and S3 share it; other vendors' ports are never opened.
ESPRESSIF_JTAG = (0x303A, 0x1001)
_BAUD = termios.B115200  # means something on a UART bridge only; USB and ptys ignore it
_SCHEMES = ("serial", "usb", "virtual", "tcp", "replay")
_MAC = re.compile(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class Uri(NamedTuple):
    """A device address: `scheme` (serial, usb, virtual, tcp, replay) and `target` (path, MAC, name, host:port)."""

    scheme: str
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}"


def parse_uri(text: str) -> Uri:
    """Read a device URI or a bare path. Raises QresError (usage) when it is neither."""
    if "://" not in text:
        if not text:
            raise QresError("an empty device name", "name a port such as /dev/ttyACM0", USAGE)
        return Uri("usb", text.lower()) if _MAC.fullmatch(text) else Uri("serial", text)
    parts = urlsplit(text)
    target = unquote(parts.netloc + parts.path)
    if parts.scheme not in _SCHEMES or not target:
        raise QresError(f"no such kind of device: {text}", "use serial, usb, virtual, tcp or replay ://", USAGE)
    if parts.scheme == "tcp":
        _host_port(target)
    if parts.scheme == "usb":
        if not _MAC.fullmatch(target):
            raise QresError(f"not a board's address: {text}", "write usb://a0:b1:c2:d3:e4:f5", USAGE)
        target = target.lower()
    return Uri(parts.scheme, target)


def runtime_dir() -> Path:
    """Return the folder where running virtual boards leave a link per board (it may not exist)."""
    named = os.environ.get("QRES_RUNTIME_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "qres" if base else Path(tempfile.gettempdir()) / f"qres-{os.getuid()}"


def find() -> list[Uri]:
    """Return the boards that are present: plugged in by USB, and virtual ones that run."""
    found = [Uri("serial", port.device) for port in list_ports.comports() if (port.vid, port.pid) == ESPRESSIF_JTAG]
    folder = runtime_dir()
    if folder.is_dir():
        found += [Uri("virtual", link.name) for link in folder.iterdir() if link.is_symlink() and link.exists()]
    return sorted(found)


def require(names: tuple[str, ...] | list[str]) -> list[Uri]:
    """Return the named devices, or all that are present. Raises QresError (no device) when one is not there.

    A board that is named by its MAC may be away: it may sleep.
    """
    uris = [parse_uri(name) for name in names] if names else find()
    if not uris:
        raise QresError(
            "no board found",
            "plug one in, name its port, or start virtual boards with `qres demo`",
            NO_DEVICE,
        )
    for path in (port_path(uri) for uri in uris if uri.scheme in ("serial", "virtual")):
        if not os.path.exists(path):
            raise _open_error(path, FileNotFoundError(errno.ENOENT, "no such port"))
    return uris


def port_path(uri: Uri) -> str:
    """Return the path of a serial or virtual device."""
    return str(runtime_dir() / uri.target) if uri.scheme == "virtual" else uri.target


class Device:
    """One port that is kept open: `poll_open` opens and reopens it, `read` never blocks.

    `fd` is -1 while the port is away. `opens` counts how often it was opened, `reason` says in one line
    why it is away. `mac` is the address of a board whose USB tells it, else "".
    """

    def __init__(self, uri: Uri) -> None:
        self.uri = uri
        self.name = str(uri)
        self.fd = -1
        self.opens = 0
        self.reason = ""
        self.mac = uri.target if uri.scheme == "usb" else _mac_of(uri)
        self._out = bytearray()
        self._out_lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._retry_s = FIRST_RETRY_S
        self._retry_at = 0.0

    def open(self) -> None:
        """Open the port now. Raises QresError (no device) with the remedy when that fails."""
        if self.uri.scheme == "tcp":
            self._socket = _connect(self.uri.target)
            self.fd = self._socket.fileno()
        else:
            self.fd = _open_port(self.path())
        self.opens += 1
        self.reason = ""
        self._retry_s = FIRST_RETRY_S

    def poll_open(self) -> bool:
        """Open the port if it is away and its next attempt is due; return whether it was opened."""
        if self.fd >= 0 or time.monotonic() < self._retry_at:
            return False
        try:
            self.open()
        except QresError as error:
            self.reason = error.line()
            self._back_off(isinstance(error.__cause__, FileNotFoundError))
            return False
        return True

    def read(self) -> bytes | None:
        """Return the bytes that are there, b"" for none yet, None when the port has gone (now closed)."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self._gone(error.strerror or "read failed")
            return None
        if not data:
            self._gone("the port was closed at the other end")
            return None
        return data

    def post(self, data: bytes) -> bool:
        """Send `data` without ever waiting; what a port does not take yet goes with `drain`. False when it is away or
        takes nothing for long. Any thread may call it."""
        with self._out_lock:
            if self.fd < 0 or len(self._out) + len(data) > POST_BYTES:
                return False
            self._out += data
        self.drain()
        return True

    def drain(self) -> None:
        """Write what `post` left, as far as the port takes it."""
        with self._out_lock:
            if self._out and self.fd >= 0:
                # A port that went away is for `read` to find, in its own thread.
                with contextlib.suppress(OSError):
                    del self._out[: os.write(self.fd, self._out)]

    def write(self, data: bytes) -> bool:
        """Send all of `data` or nothing that matters: False when the port is away or does not drain."""
        give_up = time.monotonic() + CONNECT_S
        while data:
            if self.fd < 0 or time.monotonic() > give_up:
                return False
            try:
                data = data[os.write(self.fd, data) :]
            except (BlockingIOError, InterruptedError):
                time.sleep(0.005)
            except OSError as error:
                self._gone(error.strerror or "write failed")
        return True

    def close(self) -> None:
        """Close the port. Closing twice is harmless."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        elif self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
        self.fd = -1
        with self._out_lock:
            self._out.clear()

    def _gone(self, reason: str) -> None:
        self.close()
        self.reason = reason
        self._back_off(False)

    def _back_off(self, absent: bool) -> None:
        """Look for a port that is not there often, for it costs nothing; knock at one that refuses ever more rarely."""
        self._retry_at = time.monotonic() + (FIRST_RETRY_S if absent else self._retry_s)
        self._retry_s = FIRST_RETRY_S if absent else min(self._retry_s * 2, LAST_RETRY_S)

    def path(self) -> str:
        """Return where the port is now: a chip that woke from deep sleep may come back under another name."""
        if self.mac:
            for port in usb_ports():
                if str(port.serial_number).lower() == self.mac:
                    return str(port.device)
            raise _open_error(self.mac, FileNotFoundError(errno.ENOENT, "no such board")) from FileNotFoundError()
        return port_path(self.uri)


_scanned: tuple[float, list[Any]] = (-1.0, [])


def usb_ports() -> list[Any]:
    """Return the serial ports that the system knows, as pyserial lists them; a fifth of a second old at most."""
    global _scanned
    if not 0 <= time.monotonic() - _scanned[0] < _SCAN_S:
        found = list(list_ports.comports())  # a failure leaves the old list
        _scanned = (time.monotonic(), found)
    return _scanned[1]


def _mac_of(uri: Uri) -> str:
    if uri.scheme == "serial" and uri.target.startswith("/dev/tty"):
        for port in usb_ports():
            if port.device == uri.target and _MAC.fullmatch(str(port.serial_number)):
                return str(port.serial_number).lower()
    return ""


def _open_port(path: str) -> int:
    """Open a terminal raw, locked and non-blocking; no ioctl here touches DTR or RTS."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _open_error(path, error) from error
    try:
        if not stat.S_ISCHR(os.fstat(fd).st_mode):
            raise QresError(f"{path} is not a serial port", "use replay:// for a capture", NO_DEVICE)
        # The same lock that pyserial's exclusive mode takes, so mpremote and esptool respect it.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _make_raw(fd)
    except (OSError, termios.error) as error:
        os.close(fd)
        raise _open_error(path, error) from error
    except QresError:
        os.close(fd)
        raise
    return fd


def is_bridge(path: str) -> bool:
    """Whether a port is a UART, whose speed counts: neither the chip's own USB nor a virtual board's pty."""
    real = os.path.realpath(path)
    usb = any(port.device == real and (port.vid, port.pid) == ESPRESSIF_JTAG for port in usb_ports())
    return not usb and not real.startswith("/dev/pts/")


def refusal(path: str) -> QresError | None:
    """Return why a port cannot be opened now, None when it can."""
    try:
        os.close(_open_port(path))
    except QresError as error:
        return error
    return None


def _make_raw(fd: int) -> None:
    mode = termios.tcgetattr(fd)
    control_characters = mode[6]
    control_characters[termios.VMIN] = 1
    control_characters[termios.VTIME] = 0
    # Without HUPCL: closing would drop DTR, and that resets boards with a UART bridge.
    cflag = (mode[2] | termios.CS8 | termios.CREAD | termios.CLOCAL) & ~(
        termios.HUPCL | termios.PARENB | termios.CSTOPB | termios.CRTSCTS
    )
    termios.tcsetattr(fd, termios.TCSANOW, [0, 0, cflag, 0, _BAUD, _BAUD, control_characters])


def _open_error(path: str, error: Exception) -> QresError:
    code = error.args[0] if error.args else 0
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        holder = _holder(path) or "the program that holds it (qres, mpremote, tio)"
        return QresError(f"{path} is busy", f"close {holder}", NO_DEVICE)
    if code in (errno.EACCES, errno.EPERM):
        return QresError(
            f"no permission to open {path}",
            "join its group (sudo usermod -aG dialout $USER, log in again) or install boards/99-qres.rules",
            NO_DEVICE,
        )
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO):
        return QresError(f"no board at {path}", "plug it in, or run `qres monitor` without a name", NO_DEVICE)
    if code == errno.ENOTTY:
        return QresError(f"{path} is not a serial port", "name a port such as /dev/ttyACM0", NO_DEVICE)
    return QresError(f"cannot open {path}", str(error), NO_DEVICE)


def _holder(path: str) -> str:
    """Return which other program of this user has a port open, such as "mpremote (process 123)"; "" when unknown."""
    wanted, own = os.path.realpath(path), str(os.getpid())
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != own:
            with contextlib.suppress(OSError):
                if any(os.path.realpath(fd) == wanted for fd in (process / "fd").iterdir()):
                    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    return f"{_program(words)} (process {process.name})"
    return ""


def _program(words: list[str]) -> str:
    """Return the name of a program by its command line; of a Python one that of its script or module."""
    name = Path(words[0]).name
    if name.startswith("python"):
        rest = [word for word in words[1:] if word and not word.startswith("-")]
        name = Path(rest[0]).name if rest else name
    return name.partition(" ")[0]


def _host_port(target: str) -> tuple[str, int]:
    host, _, port = target.strip("/").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise QresError(f"not an address: tcp://{target}", "write tcp://host:port", USAGE)
    return host.strip("[]"), int(port)


def _connect(target: str) -> socket.socket:
    try:
        connection = socket.create_connection(_host_port(target), timeout=CONNECT_S)
    except OSError as error:
        remedy = "start the program that serves the board there, or correct the address"
        raise QresError(f"nothing answers at tcp://{target}", remedy, NO_DEVICE) from error
    connection.setblocking(False)
    return connection
