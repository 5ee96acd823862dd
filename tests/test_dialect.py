"""The device dialect: what the core of the firmware must not use, because the chip lacks it or differs silently."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import source

ALLOWED_MODULES = {"array", "binascii", "hashlib", "qres", "struct"}
# json: for what the host reads over the cable, never for the air; micropython: the decorators of the hot paths.
ALLOWED_WHERE = {"json": {"trace.py"}, "micropython": {"compat.py", "kernels.py"}}
FORBIDDEN_CALLS = {
    **dict.fromkeys(("print", "open", "input", "exec", "eval"), "no such world below the line"),
    **dict.fromkeys(("float", "round", "complex"), "integers only"),
    **dict.fromkeys(("hash", "id"), "differs between machines and runs"),
}
UNORDERED_METHODS = {"items", "keys", "values"}
# The result of these does not depend on the order of what they take.
ORDER_FREE = {"sorted", "len", "sum", "min", "max", "any", "all", "set", "frozenset"}
Finding = tuple[int, str]


class Dialect(ast.NodeVisitor):
    """Collects what one module must not do; `lines` is its text, for the excuses in comments."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        self.path = path
        self.lines = lines
        self.findings: list[Finding] = []
        self.ordered: set[ast.AST] = set()

    def say(self, node: ast.AST, text: str) -> None:
        """Note a finding at `node`."""
        self.findings.append((getattr(node, "lineno", 0), text))

    def visit_If(self, node: ast.If) -> None:
        """Skip what only type checkers read."""
        if not source.is_type_only(node):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """No floats and no imaginary numbers."""
        if isinstance(node.value, (float, complex)):
            self.say(node, f"float literal {node.value}")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """No true division."""
        if isinstance(node.op, ast.Div):
            self.say(node, "true division: use // or fixed.div")
        text = node.left.value if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) else ""
        if isinstance(text, str) and any(mark in text for mark in ("%f", "%g", "%e", "%.")):
            self.say(node, "float format")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """No true division in place."""
        if isinstance(node.op, ast.Div):
            self.say(node, "true division: use //")
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        """No float formats in f-strings."""
        for part in ast.walk(node.format_spec) if node.format_spec else ():
            if isinstance(part, ast.Constant) and str(part.value)[-1:] in set("feEgG%"):
                self.say(node, "float format in an f-string")
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Only modules that are the same on every machine."""
        for alias in node.names:
            self.module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Only modules that are the same on every machine; no relative imports."""
        if node.level:
            self.say(node, "relative import")
        self.module(node, node.module or "")

    def module(self, node: ast.AST, name: str) -> None:
        """Judge one imported module."""
        top = name.partition(".")[0]
        if name.startswith(("qres.port", "qres.run")):
            self.say(node, f"{name} is above the line")
        elif top not in ALLOWED_MODULES and self.path.name not in ALLOWED_WHERE.get(top, ()):
            self.say(node, f"module {name} is not for the core")

    def visit_Call(self, node: ast.Call) -> None:
        """No calls into the outside world; no sort by key, which is not stable on the device."""
        if isinstance(node.func, ast.Name):
            called = node.func.id
            if called in FORBIDDEN_CALLS:
                self.say(node, f"{called}(): {FORBIDDEN_CALLS[called]}")
            if called in ORDER_FREE:
                self.ordered.update(node.args)
                for argument in node.args:
                    if isinstance(argument, ast.GeneratorExp):
                        self.ordered.update(generator.iter for generator in argument.generators)
        else:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if called in ("sorted", "sort") and any(keyword.arg == "key" for keyword in node.keywords):
            self.say(node, "sort by key: not stable there, sort whole tuples")
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        """The order of a dict or a set must not reach anything."""
        self.iteration(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """The same in a comprehension."""
        self.iteration(node.iter)
        self.generic_visit(node)

    def iteration(self, node: ast.expr) -> None:
        """Judge what is iterated over."""
        unordered = isinstance(node, (ast.Set, ast.SetComp, ast.Dict, ast.DictComp))
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                unordered = node.func.attr in UNORDERED_METHODS and not node.args
            elif isinstance(node.func, ast.Name):
                unordered = node.func.id in ("set", "frozenset", "dict")
                if node.func.id in ("list", "tuple", "enumerate") and node.args:
                    self.iteration(node.args[0])
        if unordered and node not in self.ordered and "# order:" not in self.lines[node.lineno - 1]:
            self.say(node, "order of a dict or set: wrap in sorted(), or say why with `# order: reason`")

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """A set built from a dict has no order to lose."""
        self.ordered.update(generator.iter for generator in node.generators)
        self.generic_visit(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """Likewise a dict built from a dict."""
        self.ordered.update(generator.iter for generator in node.generators)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        """The device's compiler does not know match."""
        self.say(node, "match statement")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """No positional-only arguments; default values that are shared between calls are a trap."""
        if node.args.posonlyargs:
            self.say(node, "positional-only arguments")
        for default in node.args.defaults + node.args.kw_defaults:
            if isinstance(default, (ast.List, ast.Dict, ast.Set)):
                self.say(node, "mutable default value")
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """The node has no event loop."""
        self.say(node, "async function")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """run.py holds the only broad except."""
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")):
            self.say(node, "broad except")
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        """State lives in the node, so that a snapshot holds all of it."""
        self.say(node, "global statement")


def findings(path: Path, text: str | None = None) -> list[Finding]:
    """What `path` (or `text` in its place) must not do."""
    text = path.read_text(encoding="utf-8") if text is None else text
    dialect = Dialect(path, text.splitlines())
    dialect.visit(ast.parse(text))
    return sorted(dialect.findings)


@pytest.mark.parametrize("path", source.device_files(), ids=source.name)
def test_core_speaks_the_dialect(path: Path) -> None:
    assert not findings(path), "\n".join(f"{source.name(path)}:{line}: {text}" for line, text in findings(path))


def offences() -> Iterator[str]:
    """One example of everything that is forbidden."""
    yield from ("x = 0.5", "x = a / b", "a /= b", "import time", "import random", "from typing import Any")
    yield from (
        "import json",
        "print(1)",
        "open('x')",
        "x = float(1)",
        "x = hash(y)",
        "x = f'{a:.2f}'",
        "x = '%.2f' % a",
    )
    yield from ("from qres.port import esp32", "from . import fixed", "async def f(): pass", "def f(a, /): pass")
    yield from ("match a:\n  case 1: pass", "x = sorted(a, key=f)", "a.sort(key=f)", "for k in d.items(): pass")
    yield from ("x = [k for k in d.values()]", "for k in {1, 2}: pass", "for i, k in enumerate(d.keys()): pass")
    yield from ("for k in list(set(a)): pass", "try:\n  f()\nexcept Exception:\n  pass", "def f(a=[]): pass")


@pytest.mark.parametrize("text", list(offences()))
def test_every_offence_is_found(text: str) -> None:
    assert findings(source.QRES / "example.py", text)


@pytest.mark.parametrize(
    "text",
    [
        "for k in sorted(d.items()): pass",
        "x = sum(v for v in d.values())",
        "x = {k for k in d.keys()}",
        "for k in d.values():  # order: each is cleared, none sees another\n  k.clear()",
        "if False:\n  from typing import Any",
        "import struct\nx = a // b",
        "def f(a: 'list[int]' = None) -> int: pass",
        "x = f'{a:08x}'",
    ],
)
def test_what_is_allowed_passes(text: str) -> None:
    assert not findings(source.QRES / "example.py", text)
