"""A folder of logs: a file of lines for each board, and one of its trace, which `qres replay` reads.

Lines begin with the time of their arrival, ISO 8601 with milliseconds and the offset from UTC. Files are appended to,
so a board that comes back goes on where it was.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from qres_host.errors import QresError
from qres_host.records import Event, Found
from qres_host.words import Line

LINES, TRACE = ".log", ".trace"


class LogFolder:
    """Appends what boards say below `folder`. `name` gives a device's file, `unix_ms` the wall clock of an arrival.

    Raises QresError when the folder cannot be written; a disk that fills later is told by `error`.
    """

    def __init__(self, folder: Path, name: Callable[[str], str], unix_ms: Callable[[int], int]) -> None:
        self.folder = folder
        self.error = ""
        self._name, self._unix_ms = name, unix_ms
        self._files: dict[str, TextIO] = {}
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise QresError(f"cannot write logs to {folder}", f"{error.strerror}; choose another folder") from error

    def lines(self, lines: Sequence[Line]) -> None:
        """Append lines of boards."""
        for line in lines:
            at = datetime.fromtimestamp(self._unix_ms(line.arrival_ms) / 1000, UTC).astimezone()
            self._append(line.device, LINES, f"{at.isoformat(timespec='milliseconds')} {line.text}\n")
        self._flush()

    def records(self, records: Sequence[Found]) -> None:
        """Append the trace lines among decoded records."""
        traced = [r for r in records if isinstance(r, Event) and r.kind == "trace"]
        for record in traced:
            self._append(record.device, TRACE, record.text + "\n")
        if traced:
            self._flush()

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _append(self, device: str, kind: str, text: str) -> None:
        stem = re.sub(r"[^\w.-]+", "-", self._name(device)).strip("-.") or "board"
        with self._lock:
            try:
                file = self._files.get(stem + kind)
                if file is None:
                    file = self._files[stem + kind] = (self.folder / (stem + kind)).open("a", encoding="utf-8")
                file.write(text)
            except OSError as error:
                self.error = f"cannot write logs to {self.folder}: {error.strerror}"

    def _flush(self) -> None:
        with self._lock:
            try:
                for file in self._files.values():
                    file.flush()
            except OSError as error:
                self.error = f"cannot write logs to {self.folder}: {error.strerror}"
