"""The project's own source as data: what the tests of dialect, layering, size and docs read."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QRES = ROOT / "firmware" / "qres"


def device_files() -> list[Path]:
    """Modules below the line of the device dialect: the package qres without its port and the run loop."""
    return sorted(path for path in QRES.rglob("*.py") if "port" not in path.parts and path != QRES / "run.py")


def product_files() -> list[Path]:
    """Every Python file that users get or developers run: firmware, host and tools."""
    return sorted(path for top in ("firmware", "host", "tools") for path in (ROOT / top).rglob("*.py"))


def files_of_tests() -> list[Path]:
    """Every Python file of the tests."""
    return sorted((ROOT / "tests").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of `path`."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name(path: Path) -> str:
    """`path` as the reader knows it, from the top of the project."""
    return str(path.relative_to(ROOT))


def is_type_only(node: ast.AST) -> bool:
    """Whether `node` is an `if False:` block, which only type checkers read."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Constant) and node.test.value is False
