"""The command `qres flash`: MicroPython and the application, on one board or on all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from qres_host import deploy, devices, hardware
from qres_host.devices import Uri
from qres_host.errors import NO_DEVICE, USAGE, QresError
from qres_host.flash import fetch, fleet
from qres_host.flash.job import UPLOADERS, Outcome, Plan
from qres_host.flash.loader import BAUD

GENERIC = "generic-esp32c6"
SCHEMES = ("serial", "virtual")
EXAMPLE = """\b
Examples:
  qres flash                                   the only board that is plugged in
  qres flash --all --board xiao-esp32c6        all of them, side by side
  qres flash --port /dev/ttyACM0 --image MicroPython.bin
"""


@click.command(epilog=EXAMPLE)
@click.option("--port", "ports", multiple=True, metavar="PORT", help="A board by port or URI; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Every board that is present.")
@click.option("--board", default="", metavar="NAME", help="Kind of the boards, see `qres boards list`.")
@click.option(
    "--image", "given", default="", metavar="FILE", help="MicroPython: a file or address; default: the table's."
)
@click.option("--uploader", default=UPLOADERS[0], type=click.Choice(UPLOADERS), help="How the application gets there.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A config.json for every board.")
@click.option("--force", is_flag=True, help="Write also what is there already.")
@click.option("--erase", is_flag=True, help="Erase all first: configuration, identity and sessions too.")
@click.option("--baud", default=BAUD, metavar="N", help="Speed behind a UART bridge; USB of the chip ignores it.")
@click.option("--dry-run", is_flag=True, help="Check image and application, touch no board.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def flash(
    ports: tuple[str, ...],
    everything: bool,
    board: str,
    given: str,
    uploader: str,
    config_path: Path | None,
    force: bool,
    erase: bool,
    baud: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Put MicroPython and QRES on boards, side by side. What a board already holds is not written again.

    A board keeps its configuration, identity and own files. A run that was cut off is simply repeated.
    """
    uris = choose(ports, everything)
    config = _config(config_path)
    plans = {
        name: plan(name, given, uploader, config, force, erase, baud) for name in {kind_of(u, board) for u in uris}
    }
    jobs = [(uri, plans[kind_of(uri, board)]) for uri in uris]
    if dry_run:
        _show_plan(jobs, as_json)
        return 0
    outcomes = fleet.flash_all(jobs, quiet=as_json)
    _show(outcomes, as_json)
    return fleet.exit_code(outcomes)


def choose(
    ports: Sequence[str], everything: bool, how: str = "choose with --port", schemes: Sequence[str] = SCHEMES
) -> list[Uri]:
    """Return the boards that are meant: those named, all, or the only one that is there. Raises QresError.

    `how`: what a user does to name some; `schemes`: what a device may be.
    """
    if ports and everything:
        raise QresError("boards are named, and --all", "choose one of them", USAGE)
    uris = devices.require(list(dict.fromkeys(ports)))
    wrong = [uri for uri in uris if uri.scheme not in schemes]
    if wrong:
        raise QresError(f"{wrong[0]} has no boot loader", "name a serial port or a virtual board", USAGE)
    if not ports and not everything and len(uris) > 1:
        names = ", ".join(map(str, uris[:4]))
        raise QresError(f"{len(uris)} boards are present: {names}", f"{how}, or say --all", NO_DEVICE)
    return uris


def kind_of(uri: Uri, named: str) -> str:
    """Return the name of the kind of a board: the one that was named, else what fits such a device."""
    return named or ("virtual" if uri.scheme == "virtual" else GENERIC)


def plan(
    name: str, given: str, uploader: str, config: dict[str, Any] | None, force: bool, erase: bool, baud: str
) -> Plan:
    """Return what boards of a kind get, everything checked. Raises QresError."""
    kind = hardware.load(name)
    image = fetch.load(given, kind)
    files = deploy.firmware_files(arch=kind.arch)
    whole = None if config is None else {**kind.settings(), **config}
    return Plan(kind, image, files, uploader, whole, force, erase, baud)


def _config(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QresError(f"cannot read {path}", "name a file with a JSON object", USAGE) from error
    if not isinstance(found, dict):
        raise QresError(f"{path} holds no JSON object", "name a board's config.json", USAGE)
    return found


def _show_plan(jobs: Sequence[tuple[Uri, Plan]], as_json: bool) -> None:
    rows = [
        {
            "port": str(uri),
            "kind": each.hardware.name,
            "micropython": each.image.app.version,
            "image_bytes": len(each.image.data),
            "files": len(each.files),
            "file_bytes": sum(map(len, each.files.values())),
            "uploader": each.uploader,
            "build": deploy.build_id(each.hardware.arch).hex(),
        }
        for uri, each in jobs
    ]
    if as_json:
        click.echo(json.dumps({"boards": rows}))
        return
    for row in rows:
        click.echo(
            f"{row['port']}: {row['kind']}, MicroPython {row['micropython']} ({row['image_bytes']:,} bytes), "
            f"application {row['build']} ({row['files']} files, {row['file_bytes']:,} bytes) by {row['uploader']}"
        )


def _show(outcomes: Sequence[Outcome], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"boards": [outcome.as_json() for outcome in outcomes]}))
        return
    for outcome in outcomes:
        told = outcome.error or f"{outcome.result} in {outcome.seconds:.1f} s"
        if not outcome.error and not outcome.configured:
            told += "; it has no configuration yet: `qres flash --config FILE` gives it one"
        click.echo(f"{outcome.port}  {outcome.mac or '-':17}  {told}")
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed and len(outcomes) > 1:
        click.echo(f"{failed} of {len(outcomes)} failed: run the same command again")
