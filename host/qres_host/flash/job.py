"""Flash one board: look, keep what is its own, write MicroPython and the application, let it boot."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qres.port import trial

from qres_host import deploy, upload
from qres_host.devices import Uri, is_bridge, port_path
from qres_host.errors import NO_DEVICE, TIMEOUT, QresError
from qres_host.flash import files as file_systems
from qres_host.flash.backup import Backup
from qres_host.flash.image import Image
from qres_host.flash.loader import BAUD, CABLE, ROM_BAUD, Loader, Runs
from qres_host.flash.look import Seen, by_loader, by_micropython
from qres_host.hardware import Hardware
from qres_host.repl import Repl

UPLOADERS = ("image", "mpremote", "ampy")
BOOT_S = 30.0  # within which a board that was flashed must show its prompt
ASK_S = 2.0  # within which a MicroPython that runs comes to its prompt ...
SILENT_S = 0.4  # ... and says the first word

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Plan:
    """What is to be put on boards of one kind. `config`: their /config.json, None to leave each its own.

    `force`: write also what is there already; `erase`: everything first, the board's own files and sessions too.
    """

    hardware: Hardware
    image: Image
    files: Mapping[str, bytes]
    uploader: str = "image"
    config: Mapping[str, Any] | None = None
    force: bool = False
    erase: bool = False
    baud: str = BAUD


@dataclass
class Outcome:
    """How it went with one board: `result` is flashed, unchanged or failed; `kept` are its own files."""

    port: str
    kind: str
    mac: str = ""
    result: str = "failed"
    seconds: float = 0.0
    kept: list[str] = field(default_factory=list)
    configured: bool = False
    error: str = ""
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(vars(self))


def flash_board(uri: Uri, plan: Plan, runs: Runs, say: Say) -> Outcome:
    """Flash the board at a device, never raising QresError: failures are in the outcome, in one line."""
    outcome = Outcome(str(uri), plan.hardware.name)
    start_s = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="qres-flash-") as folder:
            job = _Job(uri, plan, runs, say, outcome, Path(folder))
            try:
                job.run()
            finally:
                job.end()
    except QresError as error:
        outcome.result, outcome.error, outcome.exit_code = "failed", error.line(), error.exit_code
    except OSError as error:
        outcome.error, outcome.exit_code = f"{error.strerror or error}: {CABLE}", NO_DEVICE
    outcome.seconds = round(time.monotonic() - start_s, 3)
    return outcome


class _Job:
    """The steps with one board."""

    def __init__(self, uri: Uri, plan: Plan, runs: Runs, say: Say, outcome: Outcome, folder: Path) -> None:
        self._plan, self._runs, self._say, self._outcome, self._folder = plan, runs, say, outcome, folder
        self._port = port_path(uri)
        self._repl: Repl | None = None
        self._fresh = plan.force  # nothing of what is to be written is there already
        self._loader = Loader(self._port, runs, say, baud=plan.baud if is_bridge(self._port) else ROM_BAUD)

    def run(self) -> None:
        """Do all of it. Raises QresError."""
        plan = self._plan
        seen = self._look()
        self._outcome.mac = seen.mac
        backup = Backup(seen.mac)
        regions = plan.image.regions()
        if plan.uploader == "image":
            regions += self._file_system(seen, backup)
        if not plan.force:
            regions = [(offset, data) for offset, data in regions if offset not in seen.same]
        changed = self._write(regions)
        if plan.uploader != "image":
            changed |= self._upload()
        elif self._repl is not None and not regions:
            self._repl.reset()
        backup.drop()
        self._outcome.result = "flashed" if changed else "unchanged"

    def _look(self) -> Seen:
        """Ask MicroPython, and keep its REPL; where it does not answer, ask the boot loader."""
        plan = self._plan
        if not plan.erase and plan.image.names_files():
            self._loader.prepare()
            self._say("asking", 0.0)
            try:
                self._repl = Repl(self._port, ASK_S, SILENT_S)
                return by_micropython(self._repl, plan.image.regions())
            except QresError:
                self.close()
        return by_loader(self._loader, plan.image, self._folder, self._say, not plan.erase)

    def close(self) -> None:
        """Free the port."""
        if self._repl is not None:
            self._repl.close()
            self._repl = None

    def end(self) -> None:
        """Free all that this job holds."""
        try:
            self.close()
        finally:
            self._loader.end()

    def _file_system(self, seen: Seen, backup: Backup) -> list[tuple[int, bytes]]:
        """Return what must be written of the file system, nothing when it holds this application already.

        The board's own files are taken over, and saved on the host before anything is written. Those that an earlier,
        interrupted run has saved count more than what it left on the board.
        """
        plan, saved = self._plan, backup.load()
        own = {} if plan.erase else {**seen.own, **saved}
        wanted = dict(plan.files)
        if plan.config is not None:
            wanted["config.json"] = own["config.json"] = _json(plan.config)
        self._outcome.kept = sorted(name for name in own if name not in (*wanted, trial.DONE))
        self._outcome.configured = "config.json" in own
        if not plan.force and not saved and seen.holds(wanted):
            return []
        self._loader.prepare()
        own[trial.DONE] = _dated(own.get(trial.DONE, b""))
        offset, size = plan.image.file_system(seen.flash_bytes)
        image = deploy.build_image(None, own, dict(plan.files), size // deploy.BLOCK_BYTES)
        if own:
            backup.save(own)
        parts = file_systems.regions(image, offset)
        self._fresh = plan.force or not seen.shares(plan.files)
        return file_systems.joined(parts) if self._fresh else parts

    def _write(self, regions: list[tuple[int, bytes]]) -> bool:
        """Write parts of the flash; return whether any had to be written."""
        if not regions:
            return False
        self.close()
        return self._loader.write(self._save(regions), force=self._fresh, erase=self._plan.erase)

    def _save(self, regions: list[tuple[int, bytes]]) -> list[tuple[int, Path]]:
        saved = []
        for offset, data in regions:
            path = self._folder / f"{offset:08x}.bin"
            path.write_bytes(data)
            saved.append((offset, path))
        return saved

    def _upload(self) -> bool:
        """Bring the application as files to the MicroPython that boots now; return whether anything changed."""
        plan = self._plan
        files = {} if plan.erase else Backup(self._outcome.mac).load()  # of an interrupted run
        files.update(plan.files)
        if plan.config is not None:
            files["config.json"] = _json(plan.config)
        self._outcome.configured = "config.json" in files
        if plan.uploader == "ampy":
            self._ampy(files)
            return True
        self._say("waiting for MicroPython", 0.0)
        with self._repl or Repl(self._port, BOOT_S) as repl:
            difference = upload.bring(repl, files, lambda done: self._say("copying", done), deploy.COMPILED_PACKAGE)
            self._outcome.configured |= bool(repl.digests(["config.json"])["config.json"])
            repl.reset()
        return bool(difference)

    def _ampy(self, files: Mapping[str, bytes]) -> None:
        tree = self._folder / "tree"
        for path, data in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        entries = sorted(tree.iterdir())
        end_s = time.monotonic() + BOOT_S
        for index, entry in enumerate(entries):
            self._say(f"ampy put {entry.name}", index / len(entries))
            while self._ampy_put(entry):
                if time.monotonic() > end_s:
                    raise QresError("ampy cannot reach the board", "try --uploader mpremote", TIMEOUT)
                time.sleep(0.5)  # it may not have booted yet

    def _ampy_put(self, entry: Path) -> int:
        command = [sys.executable, "-m", "ampy.cli", "-p", self._port, "put", str(entry), entry.name]
        process = self._runs.start(command)
        try:
            process.communicate(timeout=300)
            return process.returncode
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise QresError("ampy does not come to an end", CABLE, TIMEOUT) from error
        finally:
            self._runs.ended(process)


def _dated(updated: bytes) -> bytes:
    """What a board remembers of updates over the air: those that were signed before it is flashed come too late.

    To the hour, so that a run that is repeated writes the same.
    """
    try:
        found = json.loads(updated)
        before = int(found["sequence"])
    except (ValueError, KeyError, TypeError):
        before = 0
    return _json({"failed": "", "sequence": max(before, int(time.time()) // 3600 * 3600)})


def _json(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, sort_keys=True).encode()
