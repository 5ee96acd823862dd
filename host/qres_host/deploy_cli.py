"""The command `qres deploy`: the application alone, over the cable, to boards that run MicroPython already."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from qres_host import deploy, hardware, upload
from qres_host.devices import Device, Uri
from qres_host.errors import FAILURE, INTERRUPTED, TIMEOUT, USAGE, QresError
from qres_host.flash import cli, fleet
from qres_host.flash.job import Say
from qres_host.repl import Repl
from qres_host.wire import HELLO, Deframer, Frame

HELLO_S = 30.0  # within which a board that was restarted says what it runs
POLL_S = 0.02
RV32IMC = 11  # number of that architecture in sys.implementation._mpy
_ASK = """
import binascii, json, machine, sys
try:
    with open("/config.json") as _file:
        _role = json.load(_file).get("role", "scheduled")
except (OSError, ValueError, AttributeError):
    _role = ""
print(json.dumps([binascii.hexlify(machine.unique_id()[:6]).decode(), sys.implementation._mpy, _role]))
"""
_BUILD = """
import sys
sys.modules.pop("qres", None)
import binascii, qres
print(binascii.hexlify(qres.BUILD).decode())
"""
EXAMPLE = """\b
Examples:
  qres deploy                                  the only board that is here
  qres deploy --all --board xiao-esp32c6       all of them, side by side
  qres deploy virtual://sentinel --dry-run     what would be sent
"""


@dataclass(frozen=True)
class Application:
    """What boards of one kind get: its files by path, the hash by which boards name it, what its kernels are."""

    kind: str
    files: Mapping[str, bytes]
    build: str
    arch: str


@dataclass
class Deployed:
    """How it went with one board: `result` is deployed, unchanged, would change or failed; `build` what it runs."""

    port: str
    kind: str
    mac: str = ""
    result: str = "failed"
    build: str = ""
    sent: int = 0
    sent_bytes: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0


@click.command(name="deploy", epilog=EXAMPLE)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option("--all", "everything", is_flag=True, help="Every board that is present.")
@click.option("--board", default="", metavar="NAME", help="Kind of the boards, see `qres boards list`.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent; the boards are restarted, not changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(devices: tuple[str, ...], everything: bool, board: str, dry_run: bool, as_json: bool) -> int:
    """Bring the application to boards that run MicroPython, side by side. DEVICEs are ports, URIs or MACs.

    Only files that differ are sent, and nothing changes on a board before all have arrived. A board keeps its
    configuration, identity and own files. A run that was cut off is simply repeated.
    """
    uris = cli.choose(devices, everything, "name some", (*cli.SCHEMES, "usb"))
    kinds = {uri: cli.kind_of(uri, board) for uri in uris}
    plans = {name: application(name) for name in set(kinds.values())}
    stopped = Deployed("", "", error="stopped before it began", exit_code=INTERRUPTED)

    def work(uri: Uri, runs: object, say: Say) -> Deployed:
        return deploy_board(uri, plans[kinds[uri]], say, dry_run)

    outcomes = fleet.side_by_side(uris, work, stopped, as_json)
    _show(outcomes, as_json)
    return fleet.exit_code(outcomes)


def application(kind: str) -> Application:
    """Return what boards of a kind get. Raises QresError."""
    arch = hardware.load(kind).arch
    return Application(kind, deploy.firmware_files(arch=arch), deploy.build_id(arch).hex(), arch)


def deploy_board(uri: Uri, plan: Application, say: Say, dry: bool = False) -> Deployed:
    """Bring the application to the board at a device, never raising QresError: failures are in the outcome."""
    outcome = Deployed(str(uri), plan.kind)
    start_s = time.monotonic()
    try:
        _deploy(uri, plan, say, dry, outcome)
    except QresError as error:
        outcome.result, outcome.error, outcome.exit_code = "failed", error.line(), error.exit_code
    outcome.seconds = round(time.monotonic() - start_s, 3)
    return outcome


def _deploy(uri: Uri, plan: Application, say: Say, dry: bool, outcome: Deployed) -> None:
    say("reading", 0.0)
    with Repl(Device(uri).path()) as repl:
        outcome.mac, role = _ask(repl, plan)
        difference = upload.compare(repl, plan.files, deploy.COMPILED_PACKAGE)
        outcome.sent, outcome.sent_bytes = len(difference.sent), difference.sent_bytes
        outcome.removed = len(difference.stale)
        if dry:
            outcome.result = "would change" if difference else "unchanged"
            repl.reset()
            return
        upload.stage(repl, difference, partial(say, "copying"))
        say("switching", 1.0)
        upload.end_update(repl)
        upload.switch(repl, difference)
        outcome.build = repl.run(_BUILD).strip()
        _check(outcome.build, plan.build)
        repl.reset()
    if role == "sentinel":  # the others say nothing at a cable before they have joined a swarm
        say("restarting", 1.0)
        outcome.build = hello(uri, HELLO_S)
        _check(outcome.build, plan.build)
    outcome.result = "deployed" if difference else "unchanged"


def _ask(repl: Repl, plan: Application) -> tuple[str, str]:
    """Return MAC and role of a board. Raises QresError when it cannot run the application."""
    try:
        mac, mpy, role = json.loads(repl.run(_ASK).strip().splitlines()[-1])
        address = bytes.fromhex(mac).hex(":")
        version, arch = mpy & 0xFF, mpy >> 10 & 0xF
    except (ValueError, IndexError, TypeError) as error:
        raise QresError("the board's answer makes no sense", "flash it with `qres flash`") from error
    if version != plan.files[deploy.HEAD][1]:
        raise QresError(f"its MicroPython takes .mpy files of version {version}", "flash it with `qres flash`")
    if plan.arch == "rv32imc" and arch != RV32IMC:
        raise QresError(f"it cannot run machine code for {plan.arch}", "say which --board it is", USAGE)
    return address, str(role)


def _check(found: str, wanted: str) -> None:
    if found != wanted:
        raise QresError(f"it runs application {found or '(none)'}, not {wanted}", "run the same command again", FAILURE)


def hello(uri: Uri, wait_s: float) -> str:
    """Return the hash of the application that a board names when it starts. Raises QresError when it does not."""
    device, deframer = Device(uri), Deframer()
    end_s = time.monotonic() + wait_s
    try:
        while time.monotonic() < end_s:
            device.poll_open()
            data = device.read() if device.fd >= 0 else b""
            for item in deframer.feed(data or b""):
                if isinstance(item, Frame) and item.type == HELLO:
                    return str(_json(item.payload).get("build", ""))
            if not data:
                time.sleep(POLL_S)
    finally:
        device.close()
    raise QresError("the board does not say what it runs", "look what it says with `qres monitor`", TIMEOUT)


def _json(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _show(outcomes: Sequence[Deployed], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"boards": [vars(outcome) for outcome in outcomes]}))
        return
    for outcome in outcomes:
        told = outcome.error or f"{outcome.result} in {outcome.seconds:.1f} s: {outcome.sent} files "
        if not outcome.error:
            told += f"({outcome.sent_bytes:,} bytes), {outcome.removed} removed"
            told += f", application {outcome.build}" if outcome.build else ""
        click.echo(f"{outcome.port}  {outcome.mac or '-':17}  {told}")
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed and len(outcomes) > 1:
        click.echo(f"{failed} of {len(outcomes)} failed: run the same command again")
