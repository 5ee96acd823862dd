"""The dashboard's JSON API: what it answers, what it refuses, and what protects it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from qres_host.web import create_app
from qres_host.web.feed import FleetFeed
from qres_host.web.guard import LOOPBACK_NAMES, allowed_names, host_name, is_allowed
from starlette.applications import Starlette
from web_fake_view import CHANNELS, HOUR_MS, START_MS, FakeView, mac_of

STATIC = Path(__file__).parents[2] / "host" / "qres_host" / "web" / "static"
MAC = mac_of(1)


@pytest.fixture
def view() -> FakeView:
    return FakeView(clock=lambda: 0.0)


class Client:
    """Calls an application in this process, as a browser on this machine would."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def request(self, method: str, path: str, **named: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, **named)

        return asyncio.run(once())

    def get(self, path: str, **named: Any) -> httpx.Response:
        return self.request("GET", path, **named)


@pytest.fixture
def client(view: FakeView) -> Client:
    return Client(create_app(view, info={"title": "Test"}))


def error(reply: httpx.Response) -> str:
    said = reply.json()
    assert set(said) == {"error"} and "\n" not in said["error"]
    return str(said["error"])


def test_fleet_is_the_view(client: Client, view: FakeView) -> None:
    reply = client.get("/v1/fleet")
    assert reply.status_code == 200
    assert reply.json() == json.loads(json.dumps(view.fleet()))
    assert reply.headers["cache-control"] == "no-store"


def test_health_and_info(client: Client) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/v1/info").json()["title"] == "Test"


@pytest.mark.parametrize("mac", [MAC, MAC.upper(), MAC.replace(":", "-"), MAC.replace(":", "")])
def test_board_in_every_spelling(client: Client, mac: str) -> None:
    said = client.get(f"/v1/boards/{mac}").json()
    assert said["mac"] == MAC
    assert said["telemetry"]["boots"] == 133


def test_unknown_and_malformed_boards(client: Client) -> None:
    assert client.get("/v1/boards/aa:bb:cc:dd:ee:ff").status_code == 404
    for bad in ("nonsense", "02:51:52", "02:51:52:45:00:0g", "0251524500011"):
        reply = client.get(f"/v1/boards/{bad}")
        assert reply.status_code == 400
        assert "MAC" in error(reply)


def test_series_by_index_and_name(client: Client) -> None:
    by_index = client.get(f"/v1/boards/{MAC}/series?channel=1").json()
    by_name = client.get(f"/v1/boards/{MAC}/series?channel={CHANNELS[1]['name']}").json()
    assert by_index == by_name
    assert by_index["value"] == by_index["input"]
    assert len(by_index["t"]) == len(by_index["residual"]) == len(by_index["spike"])


def test_series_window(client: Client) -> None:
    start, end = START_MS + 20 * HOUR_MS, START_MS + 30 * HOUR_MS
    said = client.get(f"/v1/boards/{MAC}/series?from={start}&to={end}").json()
    assert said["t"][0] == start and said["t"][-1] == end


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("from=x", "from"),
        ("from=-1", "from"),
        ("to=1e9", "to"),
        ("from=20&to=10", "later"),
        ("points=1", "points"),
        ("points=999999999999999999999", "points"),
        ("channel=99", "channel"),
        ("channel=-1", "channel"),
        ("channel=none", "channel"),
        ("points=20&points=30", "once"),
        ("colour=red", "unknown parameter"),
        ("from=", "from"),
    ],
)
def test_bad_parameters(client: Client, query: str, word: str) -> None:
    reply = client.get(f"/v1/boards/{MAC}/series?{query}")
    assert reply.status_code == 400
    assert word in error(reply)


def test_models(client: Client) -> None:
    said = client.get("/v1/models").json()
    assert said["history"][-1]["epoch"] == said["epoch"]
    assert sum(not board["agrees"] for board in said["boards"]) == 1


@pytest.mark.parametrize("path", ["/v1/nothing", "/static/../app.py", "/static/none.js", "/v1/boards/"])
def test_not_found_is_one_line_of_json(client: Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    error(reply)


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_nothing_can_be_changed(client: Client, method: str) -> None:
    assert client.request(method, "/v1/fleet").status_code == 405


def test_a_defect_is_one_line_and_keeps_its_cause_to_itself(client: Client, view: FakeView) -> None:
    view.fault = RuntimeError("secret detail")
    reply = client.get("/v1/fleet")
    assert reply.status_code == 500
    assert "secret" not in error(reply)
    assert "content-security-policy" in reply.headers


@pytest.mark.parametrize("path", ["/", "/v1/fleet", "/static/app.js", "/v1/nothing", "/favicon.ico"])
def test_security_headers_everywhere(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:80:80", "10.0.0.1"])
def test_foreign_host_headers_are_refused(client: Client, host: str) -> None:
    reply = client.get("/v1/fleet", headers={"host": host})
    assert reply.status_code == 421
    error(reply)


@pytest.mark.parametrize("host", ["localhost", "localhost:8420", "127.0.0.1:8420", "[::1]:8420", "LOCALHOST"])
def test_loopback_hosts_are_served(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_host_names() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("a.b:x") == host_name("[::1]x") == ""
    assert allowed_names("localhost") == LOOPBACK_NAMES
    opened = allowed_names("0.0.0.0")
    assert is_allowed("192.168.1.7:8420", opened)
    assert not is_allowed("evil.example", opened)


async def events(feed: FleetFeed, wanted: int) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    async for text in feed.stream():
        match = re.fullmatch(r"event: (\w+)\ndata: ([^\n]*)\n\n", text)
        if match:
            found.append((match[1], json.loads(match[2])))
        if len(found) >= wanted:
            feed.close()
    return found


def test_stream_carries_snapshots_and_what_changed(view: FakeView) -> None:
    found = asyncio.run(events(FleetFeed(view, 0.01), 4))
    kinds = [kind for kind, _ in found]
    # Time stands still: all boards are news once, then none is.
    assert kinds == ["fleet", "boards", "fleet", "fleet"]
    assert found[1][1] == {"changed": [mac_of(number) for number in range(16)]}
    assert found[0][1] == found[2][1] == json.loads(json.dumps(view.fleet()))


def test_listeners_share_one_fold(view: FakeView) -> None:
    folds = 0
    fleet = view.fleet

    def counted() -> dict[str, object]:
        nonlocal folds
        folds += 1
        return fleet()

    view.fleet = counted  # type: ignore[method-assign]

    async def both() -> None:
        feed = FleetFeed(view, 60.0)
        await asyncio.gather(*(feed.snapshot() for _ in range(20)))

    asyncio.run(both())
    assert folds == 1


def test_a_slow_fold_slows_the_stream() -> None:
    feed = FleetFeed(FakeView(boards=1), 0.5)
    assert feed.pause_s == 0.5
    feed._cost_s = 1.0
    assert feed.pause_s == 10.0


def test_every_file_the_page_names_exists(client: Client) -> None:
    page = client.get("/").text
    named = set(re.findall(r'(?:src|href)="(/static/[^"#]+)"', page))
    assert {"/static/app.js", "/static/style.css", "/static/vendor/uplot/uPlot.iife.min.js"} <= named
    for module in STATIC.glob("*.js"):
        named |= {f"/static/{name}" for name in re.findall(r'from "\./([\w.]+)"', module.read_text())}
    for path in named:
        assert client.get(path).status_code == 200, path


def test_own_files_name_no_other_host_and_no_inline_code() -> None:
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *STATIC.glob("*.html"), *STATIC.glob("*.svg")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//\w+\.\w+", text), path
        assert "innerHTML" not in text and "eval(" not in text, path
        assert len(text.splitlines()) <= 400, path
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src)|\sstyle=|\son\w+=", page)


def test_carried_files_bring_their_licences() -> None:
    for folder in (STATIC / "vendor").iterdir():
        assert (folder / "LICENSE").stat().st_size > 500


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_colours_meet_wcag_aa(theme: str) -> None:
    css = (STATIC / "style.css").read_text()
    block = css.split(':root[data-theme="dark"] {')[1] if theme == "dark" else css.split(":root {")[1]
    tokens = dict(re.findall(r"--([\w-]+): (#\w{6});", block.split("}")[0]))
    for ink in ("ink", "ink-2", "accent", "calm", "prestorm", "storm", "ok", "warn", "bad"):
        for ground in ("surface", "bg", "sunken"):
            light, dark = sorted((luminance(tokens[ink]), luminance(tokens[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ink, ground)
