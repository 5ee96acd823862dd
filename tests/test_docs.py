"""The documentation is complete, its links lead somewhere, and its generated parts say what the code says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import source
from qres import telemetry
from qres_host import cli

import docs

PAGES = [*docs.pages(), *sorted(source.ROOT.glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def everything() -> str:
    """All pages as one text."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def anchor(heading: str) -> str:
    """The fragment under which viewers find a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def board_keys() -> set[str]:
    """Every key that a board file has, in tables too; names of power tables are free."""
    keys: set[str] = set()
    for path in (source.ROOT / "boards").glob("*.toml"):
        board = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = [board, board.get("pins", {}), board.get("port", {}), *board.get("power", {}).values()]
        keys.update(key for table in tables for key, value in table.items() if not isinstance(value, dict))
    return keys


def event_tags() -> set[str]:
    """Every constant of events.py."""
    return set(re.findall(r"^([A-Z_]+) = const", docs.source("events.py"), re.MULTILINE))


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_commands_are_documented(name: str) -> None:
    assert f"qres {name}" in everything()


@pytest.mark.parametrize("name", [field[0] for field in telemetry.FIELDS])
def test_telemetry_fields_are_documented(name: str) -> None:
    assert f"`{name}`" in everything()


@pytest.mark.parametrize("name", sorted(board_keys()))
def test_board_keys_are_documented(name: str) -> None:
    assert f"`{name}`" in everything()


@pytest.mark.parametrize("name", sorted(event_tags()))
def test_tags_are_documented(name: str) -> None:
    assert f"`{name}`" in everything()


@pytest.mark.parametrize("page", docs.pages(), ids=source.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert docs.render(text) == text, f"{source.name(page)} is out of date: run `make docs`"


def test_every_generated_part_is_used() -> None:
    assert {match[2] for match in docs.BLOCK.finditer(everything())} == set(docs.BLOCKS)


@pytest.mark.parametrize("page", PAGES, ids=source.name)
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        target, _, fragment = (match[1] or match[2]).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{source.name(page)} links to {target}, which is not there"
        if fragment and file.suffix == ".md":
            headings = HEADING.findall(file.read_text(encoding="utf-8"))
            assert fragment in map(anchor, headings), f"{source.name(page)} links to #{fragment}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=source.name)
def test_targets_and_options_of_make_exist(page: Path) -> None:
    makefile = (source.ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"`make ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8")):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"{source.name(page)} names `make {name}`"


def test_an_out_of_date_page_is_noticed() -> None:
    stale = "<!-- generated: actions -->\nold\n<!-- end -->"
    assert docs.render(stale) != stale
    with pytest.raises(docs.DocsError, match="no block is called 'nothing'"):
        docs.render("<!-- generated: nothing -->\n<!-- end -->")
