"""Runs the dashboard in a thread of its own: a command goes on with its work and stops it at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import webbrowser
from typing import Any

import uvicorn
from starlette.applications import Starlette

from qres_host.errors import QresError
from qres_host.web.app import create_app
from qres_host.web.guard import allowed_names
from qres_host.web.source import ViewSource

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420
PORTS_TRIED = 50  # ports after the default one that are tried when nobody asked for a certain one
START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def find_listener(host: str, port: int | None) -> socket.socket:
    """Return a listening socket on exactly `port`, or, when it is None, on the first free one from 8420 up.

    Raises QresError, which names the remedy, when there is none.
    """
    host = host.strip("[]")
    tried = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if port is None else (port,)
    cause = OSError("no port")
    for candidate in tried:
        try:
            return open_listener(host, candidate)
        except (OSError, OverflowError) as error:
            cause = error if isinstance(error, OSError) else OSError("port must be 0 to 65535")
    if port is None:
        why = f"no free port from {DEFAULT_PORT} up on {host} ({cause.strerror or cause})"
        raise QresError(why, "give a free one with --port, and check --host")
    why = f"cannot listen on {host} port {port} ({cause.strerror or cause})"
    raise QresError(why, "leave --port out to take the next free one")


class _Server(uvicorn.Server):
    """uvicorn that tells another thread when it is ready, and ends the live streams when it stops."""

    def __init__(self, app: Starlette) -> None:
        # The log stays quiet: a dashboard polls, and the terminal belongs to the command that started us.
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
                date_header=False, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._feed = app.state.feed
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen and tell the waiting thread."""
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the connections."""
        self._feed.close()
        await super().shutdown(sockets)


class ServerHandle:
    """A running dashboard: `url` is its address, `stop()` ends it and frees the port. A context manager."""

    def __init__(self, server: _Server, listener: socket.socket, host: str) -> None:
        self.port: int = listener.getsockname()[1]
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.url = f"http://{name}:{self.port}/"
        self._server = server
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="qres-web", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._server.ready.set()  # also when it failed to start: nobody waits for nothing

    def start(self) -> None:
        """Start the thread and wait until the server answers; raises QresError when it does not."""
        self._thread.start()
        self._server.ready.wait(START_LIMIT_S)
        if not self._server.started:
            raise QresError(f"the dashboard did not start on {self.url}", "try another address with --host")

    def stop(self) -> None:
        """End the server: streams, connections, port. Harmless when called twice."""
        self._server.should_exit = True
        self._thread.join(STOP_LIMIT_S)
        self._listener.close()

    def __enter__(self) -> ServerHandle:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()


def open_browser(url: str) -> bool:
    """Open `url` in the user's browser; False where there is no screen.

    Without a screen Python would start a text browser inside the terminal that we print to.
    """
    screen = sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    return screen and webbrowser.open(url)


def start_server(
    view: ViewSource,
    port: int | None = None,
    *,
    host: str = DEFAULT_HOST,
    info: dict[str, Any] | None = None,
) -> ServerHandle:
    """Serve the dashboard over `view` from a thread and return its handle.

    `port` None takes 8420 or the next free one, 0 any free one, another number exactly that one.
    Raises QresError when it cannot listen.
    """
    listener = find_listener(host, port)
    app = create_app(view, info=info, names=allowed_names(host))
    handle = ServerHandle(_Server(app), listener, host.strip("[]"))
    handle.start()
    return handle
