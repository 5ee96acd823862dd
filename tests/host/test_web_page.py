"""The dashboard in a real Chromium. Any console error and any request that leaves loopback fails the test."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from qres_host.view import View
from qres_host.web import ServerHandle, start_server
from web_fake_view import FakeView, mac_of

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs PyPI's playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
MAC = mac_of(1)
expect = playwright_api.expect


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class Stage:
    """A fake swarm, its server, and one browser page that is watched for trouble."""

    def __init__(self, browser: Any, boards: int, viewport: dict[str, int]) -> None:
        self.clock = Clock()
        self.view = FakeView(boards=boards, clock=self.clock)
        self.server: ServerHandle = start_server(self.view, 0, info={"title": "Demo", "note": "weather"})
        self.context = browser.new_context(viewport=viewport, color_scheme="light")
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.trouble: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, line: Any) -> None:
        if line.type in ("error", "warning"):
            self.trouble.append(line.text)

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.trouble.append(request.url)

    def open(self, route: str = "#/") -> Any:
        self.page.goto(self.server.url + route)
        self.page.wait_for_selector("h1")
        return self.page

    def close(self) -> None:
        self.context.close()
        self.server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def stage(browser: Any, request: pytest.FixtureRequest) -> Iterator[Stage]:
    wish = getattr(request, "param", {})
    stage = Stage(browser, wish.get("boards", 16), wish.get("viewport", {"width": 1440, "height": 900}))
    yield stage
    stage.close()
    assert stage.trouble == []


def painted(page: Any, selector: str) -> int:
    """Return how many pixels of a canvas are not transparent."""
    script = """(canvas) => {
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at]) n += 1;
      return n;
    }"""
    return int(page.locator(selector).first.evaluate(script))


def test_fleet_shows_every_board(stage: Stage) -> None:
    page = stage.open()
    expect(page.locator("tbody tr")).to_have_count(16)
    expect(page.locator("#status-text")).to_have_text("Live")
    expect(page.locator("#title")).to_have_text("Demo: weather")
    expect(page.locator('[data-figure="exact"] .figure')).to_have_text("15 of 15")
    expect(page.locator("h1")).to_contain_text("1 lost, 1 late.")
    row = page.locator("tr", has_text=MAC)
    expect(row).to_contain_text("lga-1")
    expect(row).to_contain_text("°C")
    assert painted(page, "canvas.spark") > 50


def test_sorting_and_filter(stage: Stage) -> None:
    page = stage.open()
    expect(page.locator("tbody tr").first).to_contain_text("ewr-1")
    page.get_by_role("button", name="State").click()
    expect(page.locator("tbody tr").first).to_contain_text("Lost")
    expect(page.locator("th.c-state")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="State").click()
    expect(page.locator("tbody tr").first).to_contain_text("Gateway")
    page.get_by_label("Filter boards").fill("jfk-3")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_into_a_board_and_back(stage: Stage) -> None:
    page = stage.open()
    page.locator("tr", has_text=MAC).click()
    expect(page.locator("h1")).to_have_text("lga-1")
    expect(page.locator(".exact")).to_contain_text("samples, all equal to the input.")
    expect(page.locator(".read")).to_contain_text("equal to the input")
    expect(page.locator(".agree")).to_contain_text("a91c33e7")
    expect(page.locator(".facts").last).to_contain_text("boots")
    for name in ("Reconstructed signal", "Residuals over", "Battery level"):
        assert painted(page, f".plot[aria-label^='{name}'] canvas") > 500
    page.get_by_role("link", name="All boards").click()
    expect(page.locator("tbody tr")).to_have_count(16)


def test_channels(stage: Stage) -> None:
    page = stage.open(f"#/board/{MAC}")
    tabs = page.get_by_role("tab")
    expect(tabs).to_have_count(4)
    expect(page.locator(".read")).to_contain_text("°C")
    tabs.nth(2).click()
    expect(page.locator(".read")).to_contain_text("hPa")
    expect(tabs.nth(2)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".read")).to_contain_text("m/s")
    assert page.url.endswith("?channel=3")


def test_time_windows_and_zoom(stage: Stage) -> None:
    page = stage.open(f"#/board/{MAC}")
    spans = page.get_by_label("Time window")
    expect(spans.get_by_role("button", name="1 week")).to_have_attribute("aria-pressed", "true")
    with page.expect_request(lambda request: "/series?" in request.url and "from=" not in request.url):
        spans.get_by_role("button", name="All").click()
    box = page.locator(".plot.tall .u-over").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 80, steps=4)
    with page.expect_request(lambda request: "/series?" in request.url and "to=" in request.url):
        page.mouse.up()
    spans.get_by_role("button", name="Follow").click()
    expect(spans.get_by_role("button", name="Follow")).to_have_count(0)


def test_live_update_and_pause(stage: Stage) -> None:
    page = stage.open()
    samples = page.locator('[data-figure="samples"] .figure')
    expect(samples).not_to_have_text("–")
    before = samples.inner_text()
    stage.clock.s += 20
    expect(samples).not_to_have_text(before)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#status-text")).to_have_text("Paused")
    held = samples.inner_text()
    stage.clock.s += 20
    # A second listener of the same ticks: when it has heard three, so has the page.
    page.evaluate(
        """() => new Promise((done) => {
          let heard = 0;
          const stream = new EventSource("/v1/events");
          stream.addEventListener("fleet", () => {
            heard += 1;
            if (heard === 3) { stream.close(); done(); }
          });
        })"""
    )
    assert samples.inner_text() == held
    page.get_by_role("button", name="Resume").click()
    expect(samples).not_to_have_text(held)


def test_a_live_board_moves_without_being_rebuilt(stage: Stage) -> None:
    page = stage.open(f"#/board/{MAC}")
    expect(page.locator(".read")).to_contain_text("Latest")
    page.evaluate("document.querySelector('.plot.tall canvas').dataset.mine = '1'")
    before = page.locator(".read").inner_text()
    stage.clock.s += 20
    expect(page.locator(".read")).not_to_have_text(before)
    expect(page.locator(".plot.tall canvas")).to_have_attribute("data-mine", "1")


def test_theme_toggle_is_kept(stage: Stage) -> None:
    page = stage.open()
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(root).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("stage", [{"viewport": PHONE}], indirect=True)
@pytest.mark.parametrize("route", ["#/", f"#/board/{MAC}", "#/model"])
def test_a_phone_needs_no_sideways_scroll(stage: Stage, route: str) -> None:
    page = stage.open(route)
    content = {"#/": "tbody tr", "#/model": ".holder"}.get(route, ".plot.tall canvas")
    page.wait_for_selector(content)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("stage", [{"viewport": PHONE}], indirect=True)
def test_a_phone_says_when_boards_wake(stage: Stage) -> None:
    expect(stage.open().locator("td.c-state .detail").filter(has_text=re.compile(r"\w")).first).to_be_visible()


def test_no_column_is_cut_at_any_width(stage: Stage) -> None:
    page = stage.open()
    expect(page.locator("tbody tr")).to_have_count(16)
    script = """[...document.querySelectorAll("th, tbody tr:first-child td:not(.c-state)")].filter(
      (cell) => cell.clientWidth && cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.className)"""
    for width in (1440, 1361, 1360, 1251, 1250, 1141, 1140, 1061, 1060, 931, 930, 871, 870, 768):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(script) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_model_page(stage: Stage) -> None:
    page = stage.open("#/model")
    expect(page.locator(".weight")).to_have_count(8)
    expect(page.locator(".holder")).to_have_count(16)
    expect(page.locator('.holder[data-agrees="0"]')).to_have_count(1)
    expect(page.locator(".sub")).to_contain_text("15 of 16 boards hold it")
    assert painted(page, ".plot canvas") > 500


def test_lost_connection_is_said_and_mended(browser: Any) -> None:
    stage = Stage(browser, 4, {"width": 1440, "height": 900})
    page = stage.open()
    expect(page.locator("tbody tr")).to_have_count(4)
    stage.server.stop()
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("Connection to the server lost.")
    expect(page.locator("#status-text")).to_have_text("Offline")
    expect(page.locator("body")).to_have_attribute("data-stale", "1")
    stage.server = start_server(stage.view, stage.server.port)
    expect(banner).to_be_hidden(timeout=20_000)
    expect(page.locator("#status-text")).to_have_text("Live")
    stage.close()
    # Chromium logs each refused reconnection; anything else is a defect.
    assert [line for line in stage.trouble if not re.search("ERR_|Failed to load resource", line)] == []


def test_boards_that_have_told_nothing_yet(stage: Stage) -> None:
    stage.server.stop()
    real = View()
    stage.server = start_server(real, 0)
    page = stage.open()
    expect(page.locator("h1")).to_have_text("No board has been heard yet.")
    real.register(MAC, "attic", "scheduled", [{"name": "temp", "unit": "degC", "scale": "0.1"}])
    row = page.locator("tbody tr")
    expect(row).to_contain_text("attic")
    expect(row).to_contain_text("never")
    expect(row).to_contain_text("Not heard yet")
    expect(page.locator("h1")).to_have_text("The boards are starting. 1 not heard yet.")
    row.click()
    expect(page.locator(".exact")).to_have_text("No sample has arrived yet.")
    expect(page.locator(".read")).to_have_text("No samples in this window.")
    page.get_by_role("link", name="Model").click()
    expect(page.locator(".sub")).to_contain_text("No epoch has ended yet")


def test_a_mismatch_is_shouted(stage: Stage) -> None:
    stage.view.mismatched = 3
    page = stage.open(f"#/board/{MAC}")
    expect(page.locator(".exact")).to_contain_text("3 samples of")
    expect(page.locator(".exact")).to_have_attribute("data-tone", "bad")


def test_an_unknown_board(browser: Any) -> None:
    stage = Stage(browser, 2, {"width": 1440, "height": 900})
    page = stage.page
    page.goto(stage.server.url + "#/board/aa:bb:cc:dd:ee:ff")  # its headline may be gone before anybody sees it
    expect(page.locator(".waiting")).to_contain_text("No board with the address aa:bb:cc:dd:ee:ff")
    trouble = list(stage.trouble)  # before the server goes away under the page
    stage.close()
    assert trouble and all("404" in line for line in trouble)


@pytest.mark.parametrize("stage", [{"boards": 70}], indirect=True)
def test_many_boards_get_a_map(stage: Stage) -> None:
    page = stage.open()
    expect(page.locator("tbody tr")).to_have_count(64)
    expect(page.locator(".more")).to_contain_text("of 70 boards")
    assert painted(page, "canvas.map") > 5000
    page.locator("canvas.map").click(position={"x": 5, "y": 5})
    expect(page.locator("h1")).to_have_text("gateway")


def test_keyboard_reaches_a_board(stage: Stage) -> None:
    page = stage.open()
    expect(page.locator("tbody tr")).to_have_count(16)
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator(".row-link").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("ewr-1")
