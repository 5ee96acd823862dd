"""Modules, functions and docstrings within the limits that keep the project readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import source

MODULE_LINES = 400
FUNCTION_LINES = 60
WITHOUT_MEANING = {"utils", "util", "manager", "helper", "helpers", "core", "misc", "common"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(path: Path) -> Iterator[tuple[str, Definition, bool]]:
    """Every function and class: qualified name, node, whether it is public (named so, not inside a function)."""
    waiting: list[tuple[ast.AST, str, bool]] = [(source.tree(path), "", True)]
    while waiting:
        parent, prefix, public = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, Definition):
                shown = public and not node.name.startswith("_")
                yield prefix + node.name, node, shown
                inside = shown and isinstance(node, ast.ClassDef)
                waiting.append((node, f"{prefix}{node.name}.", inside))
            else:
                waiting.append((node, prefix, public))


@pytest.mark.parametrize("path", source.product_files() + source.files_of_tests(), ids=source.name)
def test_modules_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{source.name(path)} has {lines} lines, the limit is {MODULE_LINES}"
    assert path.stem not in WITHOUT_MEANING, f"{path.stem} says nothing about what the module does"


@pytest.mark.parametrize("path", source.product_files(), ids=source.name)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{source.name(path)}:{node.lineno}: {name} has {node.end_lineno - node.lineno + 1} lines"
        for name, node, _ in definitions(path)
        if not isinstance(node, ast.ClassDef) and node.end_lineno and node.end_lineno - node.lineno >= FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("path", source.product_files(), ids=source.name)
def test_every_public_name_says_what_it_does(path: Path) -> None:
    bare = [
        f"{source.name(path)}:{node.lineno}: {name} has no docstring"
        for name, node, public in definitions(path)
        if public and not ast.get_docstring(node) and not is_override(node) and not is_described_by_a_base(name)
    ]
    if not ast.get_docstring(source.tree(path)):
        bare.insert(0, f"{source.name(path)}:1: the module has no docstring")
    assert not bare, "\n".join(bare)


def is_override(node: Definition) -> bool:
    """Whether a function is a further overload or a property's setter: the first one has the docstring."""
    if isinstance(node, ast.ClassDef):
        return False
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    return bool(names & {"overload", "typing.overload", "override"}) or any(name.endswith(".setter") for name in names)


@cache
def classes() -> dict[str, tuple[tuple[str, ...], frozenset[str]]]:
    """Every class of the product: names of its bases, and its methods that have a docstring."""
    found = {}
    for path in source.product_files():
        for node in ast.walk(source.tree(path)):
            if isinstance(node, ast.ClassDef):
                methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and ast.get_docstring(item)]
                bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                found[node.name] = (bases, frozenset(item.name for item in methods))
    return found


def is_described_by_a_base(qualified: str) -> bool:
    """Whether the method `Class.name` overrides one whose docstring holds for it too."""
    owner, _, method = qualified.rpartition(".")
    waiting = list(classes().get(owner, ((), frozenset()))[0])
    while waiting:
        bases, documented = classes().get(waiting.pop(), ((), frozenset()))
        if method in documented:
            return True
        waiting.extend(bases)
    return False
