"""The command `qres build`: what a deploy puts on a board, as files in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from qres import VERSION

from qres_host import deploy, hardware
from qres_host.errors import FAILURE, USAGE, QresError

LIST = "build.json"
IMAGE = "littlefs.img"
MANIFEST = "manifest.py"
EXAMPLE = """\b
Examples:
  qres build --out app --board xiao-esp32c6      files to copy: mpremote cp -r app/* :
  qres build --out app --config config.json --image
  qres build --out frozen --arch rv32imc --source   to freeze into an image of MicroPython
"""


@click.command(epilog=EXAMPLE)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="New or earlier folder.")
@click.option("--arch", type=click.Choice(hardware.ARCHITECTURES), help="What the kernels become.")
@click.option("--board", help="The kind of board, which decides --arch: a name or a .toml.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="A config.json to add.")
@click.option("--source", is_flag=True, help="Source to freeze, with its manifest.py, instead of compiled files.")
@click.option("--image", is_flag=True, help=f"Also a whole file system as {IMAGE}, to be flashed at its partition.")
@click.option("--json", "as_json", is_flag=True, help="Print the list of files as one JSON object.")
def build(
    out: Path, arch: str | None, board: str | None, config: Path | None, source: bool, image: bool, as_json: bool
) -> None:
    """Write what is put on a board into a folder.

    The folder's build.json lists the files with their hashes, and names the application as boards do.
    """
    if source and image:
        raise QresError("an image holds compiled files", "leave out --source or --image", USAGE)
    arch = _architecture(arch, board)
    files = deploy.firmware_sources(arch=arch) if source else deploy.firmware_files(arch=arch)
    if source:
        files[MANIFEST] = (deploy.firmware_root() / MANIFEST).read_bytes()
    if config is not None:
        files["config.json"] = _config(config)
    if image:
        files[IMAGE] = deploy.format_image(files)
    made = {
        "version": VERSION,
        "build": deploy.build_id(arch).hex(),
        "arch": arch,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    _write(out, files, made)
    size = sum(map(len, files.values()))
    text = f"{out}: application {made['build']} ({VERSION}, {arch}), {len(files)} files, {size:,} bytes"
    click.echo(json.dumps({"out": str(out), **made}) if as_json else text)


def _architecture(arch: str | None, board: str | None) -> str:
    found = hardware.load(board).arch if board else None
    if arch and found and arch != found:
        raise QresError(f"{board} takes {found}", f"leave out --arch {arch}", USAGE)
    if not arch and not found:
        raise QresError("for which board?", "name --board or --arch", USAGE)
    return str(found or arch)


def _config(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        found = json.loads(data)
    except (OSError, ValueError) as error:
        raise QresError(f"cannot read {path} as JSON", str(error), USAGE) from error
    if not isinstance(found, dict):
        raise QresError(f"{path} is no JSON object", "see docs/start.md", USAGE)
    return data


def _write(out: Path, files: Mapping[str, bytes], made: Mapping[str, Any]) -> None:
    """Replace what an earlier build wrote; QresError for a folder of something else, or when writing fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in _earlier(out):
            (out / name).unlink(missing_ok=True)
        for name, data in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        (out / LIST).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise QresError(f"cannot write {out}", error.strerror or str(error), FAILURE) from error


def _earlier(out: Path) -> list[str]:
    """The files of an earlier build in the folder."""
    if not (out / LIST).exists():
        if any(out.iterdir()):
            raise QresError(f"{out} holds other files", "name a new folder", USAGE)
        return []
    try:
        names = list(json.loads((out / LIST).read_bytes())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise QresError(f"{out / LIST} is none of a build", "name a new folder", USAGE) from error
    inside = [name for name in names if isinstance(name, str) and (out / name).resolve().is_relative_to(out.resolve())]
    return inside
