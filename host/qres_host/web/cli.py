"""`qres serve`: collect from boards, or replay a capture, and show it in the browser."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from qres_host.collector import Collector
from qres_host.devices import require
from qres_host.errors import QresError
from qres_host.keys import KEY_VARIABLE, find_key, key_for
from qres_host.keystore import fingerprint
from qres_host.ota.courier import Courier
from qres_host.replay import replay_capture
from qres_host.view import View
from qres_host.web.server import DEFAULT_HOST, open_browser, start_server

_TICK_S = 0.2

EXAMPLE = """\b
Examples:
  qres serve --key config.json                   every board that is plugged in
  qres serve /dev/ttyACM0 --capture cap --db q.db
  qres serve --replay cap --speed 3600           an hour of the capture each second
"""


@click.command(epilog=EXAMPLE)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; by default 8420 or the next free one.")
@click.option("--db", type=click.Path(path_type=Path), help="Store decoded records in this database.")
@click.option("--capture", type=click.Path(path_type=Path), help="Append the raw bytes to this folder.")
@click.option("--key", default="", envvar=KEY_VARIABLE, help="Swarm key: 64 hex digits or a config.json.")
@click.option("--replay", "played", type=click.Path(path_type=Path), help="Show this capture instead.")
@click.option("--speed", type=click.FloatRange(min=0), help="Of a replay, times real time; 0: at once.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def serve(
    devices: tuple[str, ...],
    host: str,
    port: int | None,
    db: Path | None,
    capture: Path | None,
    key: str,
    played: Path | None,
    speed: float | None,
    no_browser: bool,
) -> None:
    """Show the swarm in the browser, live from the named DEVICEs (all that are present by default).

    It listens on this machine only, unless --host says otherwise; there is no password then. Updates of `qres ota` are
    carried out through the gateway that it holds.
    """
    if played is not None and (devices or capture):
        raise click.UsageError("--replay shows a capture; leave out devices and --capture")
    if played is None and speed is not None:
        raise click.UsageError("--speed belongs to --replay")
    source = _replaying(played, key, db, speed or 0.0) if played else _collecting(devices, key, db, capture)
    # A service manager stops with SIGTERM: end as on Ctrl-C, so that no stored record is lost.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        source as (view, note, failure),
        start_server(view, port, host=host, info={"note": note}) as running,
    ):
        click.echo(f"dashboard on {running.url} (Ctrl-C ends it)")
        if not no_browser:
            open_browser(running.url)
        while (error := failure()) is None:
            time.sleep(_TICK_S)
        raise error


# What is shown, what to call it, and a call for the error that ended it (None while it is well).
Source = tuple[View, str, Callable[[], QresError | None]]


@contextlib.contextmanager
def _collecting(devices: tuple[str, ...], key: str, db: Path | None, capture: Path | None) -> Iterator[Source]:
    uris = require(devices)
    view = View(speed=1.0)
    note = f"live from {uris[0] if len(uris) == 1 else f'{len(uris)} ports'}"
    secret = key_for(key, uris)
    courier = Courier(fingerprint(secret))  # for `qres ota`, while the gateway is ours
    with Collector(uris, secret, view, capture, db, bool(devices), listen=courier.listen) as collector:
        courier.start(collector)
        try:
            yield view, note, lambda: collector.error
        finally:
            courier.stop()


@contextlib.contextmanager
def _replaying(path: Path, key: str, db: Path | None, speed: float) -> Iterator[Source]:
    if not path.exists():
        raise QresError(f"no such capture: {path}", "name a capture folder or a .qcap segment")
    view, failures = View(speed=speed or None), list[QresError]()
    secret = find_key(key, path)

    def play() -> None:
        try:
            replay_capture(path, secret, db, view, speed)
        except QresError as error:
            failures.append(error)

    threading.Thread(target=play, name="qres-replay", daemon=True).start()
    yield view, f"replay of {path.name}", lambda: failures[0] if failures else None
