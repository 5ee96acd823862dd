"""Photograph a running dashboard: `python tools/screenshot.py URL OUT.png [--theme dark] [--width 1440]`.

Needs PyPI's playwright and a Chromium of the system. Prints what the page complained about, and then fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from urllib.parse import urlsplit

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


def options() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="a page of the dashboard, such as http://127.0.0.1:8420/#/model")
    parser.add_argument("out", help="the PNG file to write")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per CSS pixel")
    parser.add_argument("--wait", type=float, default=2.5, help="seconds to let data arrive")
    parser.add_argument("--whole", action="store_true", help="the whole page, not only what the window shows")
    return parser.parse_args()


def photograph(given: argparse.Namespace, chromium: str) -> list[str]:
    """Write the picture and return what went wrong on the page: console errors, requests to other hosts."""
    from playwright.sync_api import sync_playwright

    home = urlsplit(given.url).netloc
    trouble: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": given.width, "height": given.height},
            color_scheme=given.theme,
            device_scale_factor=given.scale,
        )
        page.on("console", lambda line: trouble.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda asked: trouble.append(asked.url) if urlsplit(asked.url).netloc != home else None)
        page.goto(given.url)
        page.wait_for_selector("h1")
        page.wait_for_timeout(given.wait * 1000)
        page.screenshot(path=given.out, full_page=given.whole)
        browser.close()
    return trouble


def main() -> int:
    """Take the picture; 0 when the page had nothing to complain about."""
    given = options()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("screenshot: no Chromium found; on Debian: apt-get install chromium", file=sys.stderr)
        return 1
    trouble = photograph(given, chromium)
    for line in trouble:
        print(f"screenshot: {line}", file=sys.stderr)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
