"""What a board's own files were, on the host, from before its flash is written until the new one is complete."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from qres_host.errors import QresError


def state_dir() -> Path:
    """Return the folder where the host keeps what must survive a command that was cut off (it may not exist)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "qres" / "flash"


class Backup:
    """The configuration, identity and users' files of the board with that MAC. Holds keys: its user's alone."""

    def __init__(self, mac: str) -> None:
        self.path = state_dir() / f"{mac.replace(':', '')}.zip"

    def load(self) -> dict[str, bytes]:
        """Return what an interrupted command has left here, {} when none was."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        except (OSError, zipfile.BadZipFile):
            return {}

    def save(self, files: Mapping[str, bytes]) -> None:
        """Keep files. Raises QresError when that fails: then nothing may be erased."""
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(fd, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, data in files.items():
                        archive.writestr(name, data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except OSError as error:
            remedy = f"make room in {self.path.parent}, or say --erase"
            raise QresError("cannot save the board's own files", remedy) from error

    def drop(self) -> None:
        """Forget them: the board has them again."""
        self.path.unlink(missing_ok=True)
