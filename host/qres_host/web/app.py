"""The dashboard's ASGI application: routes, parameter checks, one-line errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from qres_host.web.feed import FleetFeed, encode
from qres_host.web.guard import LOOPBACK_NAMES, SECURITY_HEADERS, Guard
from qres_host.web.source import ViewSource

STATIC = Path(__file__).parent / "static"

MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
# A chart has a few thousand pixels at most; beyond that a reply only costs time.
POINTS_DEFAULT, POINTS_MIN, POINTS_MAX = 1200, 10, 20_000
TIME_MAX_MS = 1 << 53  # the largest integer that a browser holds exactly

T = TypeVar("T")


def json_reply(value: object, status: int = 200) -> Response:
    """Return a compact JSON response that no cache keeps."""
    return Response(encode(value), status, {"cache-control": "no-store"}, "application/json")


def integer(request: Request, name: str, low: int, high: int) -> int | None:
    """Return a whole-number query parameter, None when absent; raises HTTPException 400 outside low..high."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,17}", text) or not low <= int(text) <= high:
        raise HTTPException(400, f"{name} must be a whole number from {low} to {high}")
    return int(text)


def known_parameters(request: Request, *names: str) -> None:
    """Raise HTTPException 400 on a query parameter that is not in `names` or is given twice."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in names:
            raise HTTPException(400, f"unknown parameter; expected {', '.join(names) or 'none'}")
        if given.count(name) > 1:
            raise HTTPException(400, f"{name} is given more than once")


def mac_of(request: Request) -> str:
    """Return the MAC in the path as aa:bb:cc:dd:ee:ff; raises HTTPException 400 when it is none."""
    text = str(request.path_params["mac"]).lower().replace("-", ":")
    if re.fullmatch(r"[0-9a-f]{12}", text):
        text = ":".join(text[at : at + 2] for at in range(0, 12, 2))
    if not MAC.fullmatch(text):
        raise HTTPException(400, "a board is named by its MAC, such as 02:51:52:45:53:01")
    return text


async def lookup(what: str, call: Callable[..., T | None], *arguments: Any) -> T:
    """Call the view off the event loop; raises HTTPException 404 when it knows no such thing."""
    found = await run_in_threadpool(call, *arguments)
    if found is None:
        raise HTTPException(404, f"no such {what}")
    return found


class FreshFiles(StaticFiles):
    """Static files that a browser asks for again each time (mostly a 304): an upgrade shows at once."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """Return the file with a header that makes caches ask."""
        reply = super().file_response(*arguments, **named)
        reply.headers["cache-control"] = "no-cache"
        return reply


class Api:
    """The handlers. Each one checks its parameters, asks the view in a thread, and answers with JSON."""

    def __init__(self, view: ViewSource, feed: FleetFeed, info: dict[str, Any]) -> None:
        self._view = view
        self._feed = feed
        self._info = info

    async def page(self, request: Request) -> Response:
        """GET /: the page itself."""
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def icon(self, request: Request) -> Response:
        """GET /favicon.ico: browsers ask for it whatever the page says."""
        return FileResponse(STATIC / "favicon.svg", media_type="image/svg+xml")

    async def health(self, request: Request) -> Response:
        """GET /healthz: the process answers and so does the view."""
        fleet = await run_in_threadpool(self._view.fleet)
        return json_reply({"status": "ok", "boards": len(fleet["boards"]), "now_ms": fleet["now_ms"]})

    async def info(self, request: Request) -> Response:
        """GET /v1/info: what is being shown."""
        return json_reply(self._info)

    async def fleet(self, request: Request) -> Response:
        """GET /v1/fleet: the snapshot that the event stream also carries."""
        known_parameters(request)
        text, _ = await self._feed.snapshot()
        return Response(text, 200, {"cache-control": "no-store"}, "application/json")

    async def board(self, request: Request) -> Response:
        """GET /v1/boards/{mac}: one board with its telemetry."""
        known_parameters(request)
        return json_reply(await lookup("board", self._view.board, mac_of(request)))

    async def series(self, request: Request) -> Response:
        """GET /v1/boards/{mac}/series?channel=&from=&to=&points=: one channel's samples for a chart."""
        known_parameters(request, "channel", "from", "to", "points")
        mac = mac_of(request)
        start_ms = integer(request, "from", 0, TIME_MAX_MS)
        end_ms = integer(request, "to", 0, TIME_MAX_MS)
        if start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise HTTPException(400, "from must not be later than to")
        points = integer(request, "points", POINTS_MIN, POINTS_MAX) or POINTS_DEFAULT
        board = await lookup("board", self._view.board, mac)
        channel = channel_index(request.query_params.get("channel", "0"), board["channels"])
        found = await lookup("channel", self._view.series, mac, channel, start_ms, end_ms, points)
        return json_reply(found)

    async def models(self, request: Request) -> Response:
        """GET /v1/models: the shared model, its history and its holders."""
        known_parameters(request)
        return json_reply(await run_in_threadpool(self._view.models))

    async def events(self, request: Request) -> Response:
        """GET /v1/events: server-sent events, a fleet snapshot about twice a second."""
        known_parameters(request)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._feed.stream(), headers=headers, media_type="text/event-stream")


def channel_index(text: str, channels: list[dict[str, Any]]) -> int:
    """Return the index of a channel given by index or name; raises HTTPException 400 when none."""
    names = [str(channel["name"]) for channel in channels]
    if text in names:
        return names.index(text)
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) < len(names):
        return int(text)
    if not names:
        raise HTTPException(404, "this board has sent no samples yet")
    raise HTTPException(400, f"channel must be one of {', '.join(names)} or 0 to {len(names) - 1}")


async def refuse(request: Request, error: Exception) -> Response:
    """Answer an HTTPException as one line of JSON."""
    assert isinstance(error, HTTPException)
    reply = json_reply({"error": str(error.detail)}, error.status_code)
    for name, value in (error.headers or {}).items():
        reply.headers[name] = value
    return reply


async def failed(request: Request, error: Exception) -> Response:
    """Answer a defect of ours: the log has the traceback, the browser gets one line without secrets."""
    reply = json_reply({"error": "internal error; the terminal that runs the server shows the cause"}, 500)
    reply.raw_headers.extend(SECURITY_HEADERS)  # the framework answers this one outside the guard
    return reply


def version() -> str:
    """Return the installed version, or "source" from a checkout that is not installed."""
    try:
        return metadata.version("qres-swarm")
    except metadata.PackageNotFoundError:
        return "source"


def create_app(
    view: ViewSource,
    *,
    info: dict[str, Any] | None = None,
    names: frozenset[str] = LOOPBACK_NAMES,
    interval_s: float = 0.5,
) -> Starlette:
    """Return the dashboard over a view.

    `info` says what is being shown ({"title", "note"}); `names` are the host names it answers to (see
    `guard.allowed_names`); `interval_s` is the time between two live snapshots. `app.state.feed.close()`
    ends the live streams, which a server must do before it can stop.
    """
    feed = FleetFeed(view, interval_s)
    api = Api(view, feed, {"version": version(), **(info or {})})
    routes = [
        Route("/", api.page),
        Route("/favicon.ico", api.icon),
        Route("/healthz", api.health),
        Route("/v1/info", api.info),
        Route("/v1/fleet", api.fleet),
        Route("/v1/boards/{mac}", api.board),
        Route("/v1/boards/{mac}/series", api.series),
        Route("/v1/models", api.models),
        Route("/v1/events", api.events),
        Mount("/static", FreshFiles(directory=STATIC)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={HTTPException: refuse, Exception: failed},
    )
    app.state.feed = feed
    return app
