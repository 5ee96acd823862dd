"""The command `qres ota`: a new application for boards that have no cable."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click
from qres import packet
from rich.console import Console
from rich.live import Live
from rich.table import Table

from qres_host import deploy, hardware
from qres_host.collector import Collector
from qres_host.devices import Uri, require
from qres_host.errors import FAILURE, NO_DEVICE, OK, PARTIAL, TIMEOUT, USAGE, QresError
from qres_host.flash.cli import GENERIC
from qres_host.keys import KEY_VARIABLE, key_for
from qres_host.keystore import KeyStore, fingerprint
from qres_host.ota import bundle as bundles
from qres_host.ota import job as jobs
from qres_host.ota.courier import Courier
from qres_host.ota.job import Job, Progress
from qres_host.ota.rollout import ENDED, Stage
from qres_host.view import View

REFRESH_S = 0.25
CLOCK_LEAST_S = 1_760_000_000  # no computer that builds this lives before it
ANSWER_S = 30.0  # within which the gateway must say who it is
_MAC = re.compile(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}")
EXAMPLE = """\b
Examples:
  qres ota                              every board of the swarm, the gateway last
  qres ota a0:b1:c2:d3:e4:f5            one board first, to see that all is well
  qres ota --status                     how far the update is that a `qres serve` carries out
"""


@click.command(epilog=EXAMPLE)
@click.argument("boards", nargs=-1, metavar="[BOARD]...")
@click.option("--gateway", default="", metavar="DEVICE", help="The board on the cable; default: the one that is there.")
@click.option("--board", "kind", default="", metavar="NAME", help="Kind of the boards, see `qres boards list`.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="S", help="Give up waiting for sleepers after so long.")
@click.option("--queue", "leave", is_flag=True, help="Leave it to the `qres serve` or `qres ota` that comes next.")
@click.option("--status", is_flag=True, help="Show how far the present update is.")
@click.option("--cancel", is_flag=True, help="Forget the present update; boards that have it keep it.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, send nothing.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def update(
    boards: tuple[str, ...],
    gateway: str,
    kind: str,
    wait: float | None,
    leave: bool,
    status: bool,
    cancel: bool,
    dry_run: bool,
    key: str,
    as_json: bool,
) -> int:
    """Update the application of BOARDs over the air: names or MACs, all that the gateway has heard by default.

    Signed with this host's key, which `qres provision` gave to the boards. A board that sleeps is offered the update
    when it wakes; one whose new application does not prove itself goes back to the old one. While `qres serve` holds
    the gateway it carries the update out, and this command shows how far it is.
    """
    if status or cancel:
        return _cancel() if cancel else _status(as_json)
    uris = [] if leave or dry_run else require([gateway] if gateway else [])
    virtual = kind == "virtual" if leave or dry_run else all(uri.scheme == "virtual" for uri in uris)
    swarm_key = b"" if dry_run else key_for(key, uris or [Uri("virtual" if virtual else "serial", "")])
    arch = hardware.load(kind or ("virtual" if virtual else GENERIC)).arch
    job = _job(boards, arch, fingerprint(swarm_key), _signer(virtual, dry_run))
    _announce(job, as_json)
    if dry_run:
        return OK
    jobs.save(job)
    if leave:
        return OK
    return _follow(uris, swarm_key, wait, as_json)


def _signer(virtual: bool, dry_run: bool) -> bytes:
    """Return the private key that signs; a dry run makes none that would stay."""
    from qres_host.virtual.specs import DEMO_UPDATE_KEY

    if virtual or (dry_run and not KeyStore().signs_updates()):
        return DEMO_UPDATE_KEY
    return KeyStore().update_key()


def _job(boards: Sequence[str], arch: str, swarm: str, private: bytes) -> Job:
    """Return the update of this installation's application; the present one again where that is the same."""
    nodes = sorted({node_of(board) for board in boards}) or None
    build, now_s = deploy.build_id(arch), int(time.time())
    if now_s < CLOCK_LEAST_S:
        raise QresError("this computer's clock is wrong", "set it: boards take only updates that are newer", USAGE)
    there, progress = jobs.load(), jobs.load_progress()
    wanted = (build, nodes, swarm)
    if (
        there is not None
        and (there.bundle.build, there.nodes, there.swarm) == wanted
        and not (progress and progress.over)
    ):
        return there
    return Job(bundles.make(deploy.firmware_files(arch=arch), build, private, now_s), nodes, swarm)


def node_of(board: str) -> int:
    """Return the number in frames of a board by MAC, or by a name that `qres provision` gave. Raises QresError."""
    known = {facts.get("name", ""): mac for mac, facts in KeyStore().nodes().items()}
    mac = board if _MAC.fullmatch(board) else known.get(board, "")
    if not mac:
        names = ", ".join(sorted(filter(None, known))) or "none yet"
        raise QresError(f"no board '{board}' is known here", f"write its MAC, or a name of: {names}", USAGE)
    return packet.node_id(bytes.fromhex(mac.replace(":", "")))


def _announce(job: Job, as_json: bool) -> None:
    if as_json:
        return
    size = sum(map(len, job.bundle.parts))
    chunks = sum(job.bundle.chunks(k) for k in range(len(job.bundle.parts)))
    who = "all boards" if job.nodes is None else f"{len(job.nodes)} board{'s' * (len(job.nodes) != 1)}"
    files = len(job.bundle.paths)
    click.echo(
        f"application {job.bundle.build.hex()} for {who}: {files} files, {size:,} bytes in {chunks} frames at most"
    )


def _status(as_json: bool) -> int:
    job, progress = jobs.load(), jobs.load_progress()
    if job is None:
        raise QresError("no update is under way", "`qres ota` begins one", NO_DEVICE)
    shown = progress or Progress(job.bundle.name.hex(), job.bundle.build.hex())
    _report(shown, as_json)
    if progress is None and not as_json:
        click.echo("queued: `qres serve` or `qres ota` carries it out")
    return OK


def _cancel() -> int:
    click.echo("forgotten" if jobs.drop() else "no update was under way")
    return OK


def _follow(uris: list[Uri], key: bytes, wait: float | None, as_json: bool) -> int:
    """Carry the job out, or watch the process that does."""
    courier = Courier(fingerprint(key))
    with ExitStack() as stack:
        stack.callback(courier.stop)
        try:
            collector = Collector(uris, key, View(), must_open=True, listen=courier.listen)
            stack.enter_context(collector)
            courier.start(collector)
        except QresError as error:
            if "is busy" not in error.message:
                raise
            if not as_json:
                click.echo(f"{error.line()}, or leave it: if that is `qres serve`, it carries the update out")
        progress = _watch(wait, as_json)
    _report(progress, as_json)
    if progress.error:
        raise QresError(progress.error, "", FAILURE)
    if not progress.boards:
        raise QresError("no gateway answers", "it is the board with the role `sentinel`, on a cable", TIMEOUT)
    if not progress.over:
        left = sum(row["stage"] not in ENDED for row in progress.boards)
        raise QresError(f"{left} boards have not been updated yet", "run the same command again: it goes on", TIMEOUT)
    jobs.drop()
    return OK if all(row["stage"] == Stage.UPDATED for row in progress.boards) else PARTIAL


def _watch(wait: float | None, as_json: bool) -> Progress:
    """Show how far it is until it is over, or the time is."""
    began_s = time.monotonic()
    progress = Progress("", "")
    last = ""
    live = Live(console=Console(stderr=True), transient=True) if not as_json and sys.stderr.isatty() else None
    with live or ExitStack():
        while True:
            progress = jobs.load_progress() or progress
            if live is not None:
                live.update(table(progress))
            elif not as_json:
                last = _lines(progress, last)
            waited_s = time.monotonic() - began_s
            lost = not progress.boards and waited_s > ANSWER_S
            if progress.over or lost or (wait is not None and waited_s > wait):
                return progress
            time.sleep(REFRESH_S)


def _lines(progress: Progress, last: str) -> str:
    """Print a line for each board whose stage has changed; returns what to compare with the next time."""
    before = set(last.splitlines())
    now = [f"{label(row['node'])}: {_stage(row)}" for row in progress.boards]
    for line in now:
        if line not in before:
            print(line, file=sys.stderr, flush=True)
    return "\n".join(now)


def _stage(row: dict[str, Any]) -> str:
    return f"{row['stage']}: {row['why']}" if row["why"] else str(row["stage"])


def label(node: int) -> str:
    """Return the name of a board by its number, where it is known here, else its number as the end of a MAC."""
    for mac, facts in KeyStore().nodes().items():
        if packet.node_id(bytes.fromhex(mac.replace(":", ""))) == node:
            return str(facts.get("name") or mac)
    return node.to_bytes(4, "big").hex(":")


def table(progress: Progress) -> Table:
    """Return the boards as a table for a terminal."""
    shown = Table("board", "stage", "has", "heard", title=f"application {progress.build}", box=None, pad_edge=False)
    now_s = time.time()
    for row in progress.boards:
        heard = f"{max(0, int(now_s - row['heard_s'])):,} s ago" if row["heard_s"] else "never"
        shown.add_row(label(row["node"]), _stage(row), f"{row['done']:.0%}", heard)
    if not progress.boards:
        shown.add_row("waiting for the gateway", "", "", "")
    return shown


def _report(progress: Progress, as_json: bool) -> None:
    if as_json:
        names = {str(row["node"]): label(row["node"]) for row in progress.boards}
        click.echo(json.dumps({**vars(progress), "names": names}))
        return
    for row in progress.boards:
        click.echo(f"{label(row['node']):20} {_stage(row)}")
    if progress.frames:
        click.echo(f"{progress.frames:,} frames, {progress.frame_bytes:,} bytes said by the gateway")
