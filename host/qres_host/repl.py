"""A board's REPL through mpremote's transport: the one module that knows its API, which is not declared stable."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping
from types import TracebackType

import serial
from mpremote import transport_serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from qres_host import devices, upload
from qres_host.errors import FAILURE, NO_DEVICE, TIMEOUT, QresError

transport_serial.print = lambda *words: None  # it prints what it reads when a prompt does not come

CHUNK_BYTES = 1024
PATHS_AT_ONCE = 40  # a board compiles what it is told in what heap its application left
RETRY_S = 0.3
ENTER_S = 2.0  # for one attempt; a board that restarts loses what was typed
READ_S = 1.0  # a read that finds nothing ends, so that time-outs of the transport count
_HASHES = """
import hashlib
def _hash(path):
    try:
        with open(path, "rb") as file:
            found = hashlib.sha256()
            while True:
                data = file.read(512)
                if not data:
                    return found.digest()
                found.update(data)
    except OSError:
        return b""
for _path in {paths!r}:
    print(_path, _hash(_path).hex())
"""


class Repl:
    """The raw REPL of the board at a port, entered without a reset. Every failure is a QresError.

    A program that runs is interrupted. `wait_s`: how long a board may take to come to its prompt; one that says nothing
    at all for `silent_s` is given up at once.
    """

    def __init__(self, port: str, wait_s: float = 20.0, silent_s: float = 0.0) -> None:
        self.port = port
        self._transport = self._enter(time.monotonic() + wait_s, silent_s)

    def _enter(self, end_s: float, silent_s: float) -> SerialTransport:
        while True:
            transport = None
            try:
                transport = SerialTransport(self.port, wait=0, timeout=READ_S)
                if silent_s and not _answers(transport.serial, silent_s):
                    end_s = 0.0
                    raise TransportError("silent")
                transport.enter_raw_repl(soft_reset=False, timeout_overall=ENTER_S)
                return transport
            except (TransportError, serial.SerialException, OSError) as error:
                if transport is not None:
                    with contextlib.suppress(Exception):
                        transport.close()
                why = self._failure(error) if transport is not None else devices.refusal(self.port)
                if time.monotonic() > end_s or (why is not None and "busy" in why.message):
                    raise (why or self._failure(error)) from error
                time.sleep(RETRY_S)

    def _failure(self, error: Exception) -> QresError:
        if isinstance(error, TransportError) and not isinstance(error, TransportExecError):
            return QresError(f"no MicroPython answers at {self.port}", "flash it with `qres flash`", TIMEOUT)
        return QresError(f"the board at {self.port} has gone", "check the cable, run the command again", NO_DEVICE)

    def __enter__(self) -> Repl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the REPL as it is and free the port."""
        with contextlib.suppress(Exception):
            self._transport.close()

    def run(self, code: str) -> str:
        """Execute code and return what it printed. Raises QresError with the board's last line when it fails there."""
        try:
            return str(self._transport.exec(code).decode("utf-8", "replace"))
        except TransportExecError as error:
            raise self._refused(error) from error
        except (TransportError, serial.SerialException, OSError) as error:
            raise self._failure(error) from error

    def _refused(self, error: TransportExecError) -> QresError:
        said = str(error.error_output).strip().splitlines()
        last = said[-1] if said else "an error without a word"
        if "ENOSPC" in last or "Errno 28" in last:
            return _full()
        return QresError(f"the board refused: {last}", "run the command again", FAILURE)

    def digests(self, paths: list[str]) -> dict[str, bytes]:
        """Return the SHA-256 of files on the board; b"" for those that are not there."""
        found = {}
        for first in range(0, len(paths), PATHS_AT_ONCE):
            for line in self.run(_HASHES.format(paths=paths[first : first + PATHS_AT_ONCE])).splitlines():
                path, _, digest = line.strip().rpartition(" ")
                if path in paths and len(digest) == 64:
                    found[path] = bytes.fromhex(digest)
        return {path: found.get(path, b"") for path in paths}

    def put(self, files: Mapping[str, bytes], progress: upload.Progress = lambda done: None) -> int:
        """Bring files to the board, by path, as `upload` does; return how many differed from what was there."""
        return len(upload.bring(self, files, progress).missing)

    def write(self, path: str, data: bytes) -> None:
        """Write a file as it comes; a pulled cable leaves a part of it."""
        try:
            self._transport.fs_writefile(path, data, chunk_size=CHUNK_BYTES)
        except TransportExecError as error:
            raise self._refused(error) from error
        except (TransportError, serial.SerialException) as error:
            raise self._failure(error) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _full() from error
            raise self._failure(error) from error

    def reset(self) -> None:
        """Restart the board and free the port."""
        with contextlib.suppress(Exception):
            self._transport.exec_raw_no_follow("import machine; machine.reset()")
        self.close()


def _answers(port: serial.Serial, silent_s: float) -> bool:
    """Whether a program that is interrupted, or a prompt, says anything in that time."""
    port.write(b"\r\x03\r\x01")  # in raw mode Ctrl-C alone says nothing
    end_s = time.monotonic() + silent_s
    while not port.in_waiting:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


def _full() -> QresError:
    return QresError("the board's file system is full", "remove files from it, or flash it with --erase", FAILURE)
