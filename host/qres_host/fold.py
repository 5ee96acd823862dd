"""Constants of the firmware as literals, so that a board keeps no names for them.

MicroPython folds a `const()` only inside its own module, and keeps a name for each that is public. So before modules
are compiled, every constant of any of them is written as its value wherever it is used; its definition and the imports
that nothing uses any more drop out. Everything else keeps its line, and so do tracebacks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

Modules = dict[str, ast.Module]
Constants = dict[str, int]
Span = tuple[int, int, int, int, str]  # first line, first byte, last line, byte behind it, what stands there instead
Blocked = frozenset[tuple[str, str]]  # constants (module, name) that stay as they are


def fold(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The modules `sources`, by path such as qres/node.py, with every constant of any of them as a literal."""
    modules = {dotted(path): ast.parse(text, path) for path, text in sources.items() if path.endswith(".py")}
    blocked: Blocked = frozenset()
    while True:
        known: dict[str, Constants] = {}
        for name in modules:
            _collect(name, modules, known, blocked)
        rewriters = {name: _Module(name, tree, modules, known) for name, tree in modules.items()}
        more = frozenset(pair for rewriter in rewriters.values() for pair in rewriter.obstacles())
        if more <= blocked:
            break
        blocked |= more
    return {
        path: rewriters[dotted(path)].rewrite(text) if path.endswith(".py") else text for path, text in sources.items()
    }


def dotted(path: str) -> str:
    """The name of the module in a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _collect(name: str, modules: Modules, known: dict[str, Constants], blocked: Blocked) -> Constants:
    """The constants that a module defines or imports, with their values; they are added to `known`."""
    if name in known or name not in modules:
        return known.get(name, {})
    found = known[name] = {}  # at once, for modules that import each other
    for node in ast.walk(modules[name]):
        if isinstance(node, ast.ImportFrom) and node.module:
            there = _collect(node.module, modules, known, blocked)
            found.update({item.asname or item.name: there[item.name] for item in node.names if item.name in there})
    for statement in modules[name].body:
        defined = _definition(statement)
        if defined is not None and (name, defined[0]) not in blocked:
            try:
                found[defined[0]] = int(eval(compile(ast.Expression(defined[1]), name, "eval"), {}, dict(found)))
            except NameError:  # not made of constants alone
                continue
    return found


def _definition(node: ast.AST) -> tuple[str, ast.expr] | None:
    """(NAME, expression) of `NAME = const(expression)`."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
        call = node.value
        if isinstance(call.func, ast.Name) and call.func.id == "const" and len(call.args) == 1:
            return node.targets[0].id, call.args[0]
    return None


class _Module:
    """Rewrites one module; `known` are the constants of all modules."""

    def __init__(self, name: str, tree: ast.Module, modules: Modules, known: Mapping[str, Constants]) -> None:
        self.name = name
        self.tree = tree
        self.known = known
        self.nodes = list(ast.walk(tree))
        self.defined = {found[0]: node for node in tree.body if (found := _definition(node)) and found[0] in self.own}
        self.imports = [node for node in self.nodes if isinstance(node, ast.ImportFrom) and node.module]
        self.aliases = {  # own name -> the module that it means
            item.asname or item.name: f"{node.module}.{item.name}"
            for node in self.imports
            for item in node.names
            if f"{node.module}.{item.name}" in modules
        }

    @property
    def own(self) -> Constants:
        """The constants that the module defines or imports."""
        return self.known[self.name]

    def obstacles(self) -> Iterator[tuple[str, str]]:
        """Constants (module, name) that this module uses in a way that cannot be rewritten."""
        unsafe = [node.arg for node in self.nodes if isinstance(node, ast.arg)]
        for node in self.nodes:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                unsafe.append(node.id)
            elif isinstance(node, ast.JoinedStr):  # where a name stands in the text is not known
                unsafe += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
        for name in self.defined:
            unsafe.remove(name)
        for name in set(unsafe) & set(self.defined):
            yield self.name, name
        for imported in self.imports:
            for item in imported.names:
                if (item.asname or item.name) in unsafe and item.name in self.known.get(imported.module or "", {}):
                    yield from self._origins(imported.module or "", item.name)
        bases = {node.value for node in self.nodes if isinstance(node, ast.Attribute)}
        for node in self.nodes:
            if isinstance(node, ast.Name) and node.id in self.aliases and node not in bases:  # who knows what for
                for name in self.known[self.aliases[node.id]]:
                    yield from self._origins(self.aliases[node.id], name)
            elif isinstance(node, ast.Attribute):
                base = node.value
                last = base.attr if isinstance(base, ast.Attribute) else ""
                if isinstance(base, ast.Name) and base.id in unsafe:
                    last = self.aliases.get(base.id, "").rpartition(".")[2]
                for module in self.known if last else ():
                    if module.rpartition(".")[2] == last and node.attr in self.known[module]:
                        yield from self._origins(module, node.attr)

    def _origins(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        """Where a constant may come from: all of its name, as modules hand them on."""
        for other, constants in self.known.items():
            if name in constants or other == module:
                yield other, name

    def rewrite(self, text: bytes) -> bytes:
        """`text`, the module's source, with constants as literals."""
        spans = [
            *self._literals(),
            *(_span(node, "") for node in self.defined.values()),
            *(_span(node, "") for node in self.tree.body if _is_list_of_exports(node)),
            *self._imports(),
        ]
        lines = text.split(b"\n")
        for first, start, last, end, instead in sorted(set(spans), reverse=True):
            lines[first - 1 : last] = [lines[first - 1][:start] + instead.encode() + lines[last - 1][end:]] + [b""] * (
                last - first
            )
        return b"\n".join(lines)

    def _value(self, node: ast.AST) -> int | None:
        """The value of a constant's use, else None."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return self.own.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.known.get(self.aliases.get(node.value.id, ""), {}).get(node.attr)
        return None

    def _literals(self) -> Iterator[Span]:
        definitions = {inner for node in self.defined.values() for inner in ast.walk(node)}
        for node in self.nodes:
            value = self._value(node)
            if value is not None and node not in definitions:
                yield _span(node, str(value) if value >= 0 else f"({value})")

    def _imports(self) -> Iterator[Span]:
        """Imports of the package, without what is no longer used."""
        gone = {inner for node in self.defined.values() for inner in ast.walk(node)}
        gone |= {node.value for node in self.nodes if isinstance(node, ast.Attribute) and self._value(node) is not None}
        used = {node.id for node in self.nodes if isinstance(node, ast.Name) and node not in gone} - set(self.own)
        droppable = {*self.own, *self.aliases, "const"} - used
        for node in self.imports:
            if (node.module or "").partition(".")[0] == "qres":
                kept = [item for item in node.names if (item.asname or item.name) not in droppable]
                if len(kept) < len(node.names):
                    names = ", ".join(ast.unparse(item) for item in kept)
                    yield _span(node, f"from {node.module} import {names}" if kept else "pass")


def _is_list_of_exports(node: ast.stmt) -> bool:
    """Whether it is `__all__ = ...`, which only readers and the host need."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _span(node: ast.AST, instead: str) -> Span:
    assert isinstance(node, ast.expr | ast.stmt)
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0, instead
