"""Imports point only downward: the picture of docs/architecture.md, checked."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import source

# A package stands for all of its modules. A module may import from its own layer (without a cycle) and from below.
LAYERS: dict[str, int] = {
    # L0: numbers and tags
    **dict.fromkeys(("qres", "compat", "fixed", "kernels", "stats", "rng", "ed25519", "sha512", "events", "bits"), 0),
    **dict.fromkeys(("rangecoder", "forecast", "cm", "golomb", "elementary", "ew", "outliers", "moments"), 0),
    **dict.fromkeys(("regression", "attention", "recurrent"), 0),
    # L1: one algorithm each
    **dict.fromkeys(
        (
            "predict",
            "codec",
            "encoder",
            "state",
            "checkpoint",
            "rice",
            "huffman",
            "mixed",
            "model",
            "standard",
            "detect",
            "joint",
            "regime",
            "energy",
            "wake",
        ),
        1,
    ),
    **dict.fromkeys(("reputation", "aggregate", "config"), 1),
    # L2: what goes over the air and into memory
    **dict.fromkeys(("gossip", "packet", "audit", "identity", "sigma", "snapshot"), 2),
    # L3: the node and its parts
    **dict.fromkeys(("node", "commands", "telemetry", "link", "rounds", "sensing", "windows", "trace"), 3),
    # L4: the chip
    **dict.fromkeys(("port", "run"), 4),
}
FILES = sorted(source.QRES.rglob("*.py"))


def module_name(path: Path) -> str:
    """The dotted name of a file under firmware/ or host/."""
    parts = path.relative_to(source.ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    """The layer of a module of qres; KeyError when LAYERS does not know it."""
    parts = module.split(".")
    return LAYERS[parts[1] if len(parts) > 1 else parts[0]]


def imports(path: Path) -> set[str]:
    """Names of the modules that `path` really imports, in functions too; type-only blocks do not count."""
    found: set[str] = set()
    waiting: list[ast.AST] = [source.tree(path)]
    while waiting:
        node = waiting.pop()
        if source.is_type_only(node):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & KNOWN
            found.update(submodules or {node.module})
        waiting.extend(ast.iter_child_nodes(node))
    return found


KNOWN = {module_name(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=source.name)
def test_imports_point_downward(path: Path) -> None:
    module = module_name(path)
    try:
        own = layer(module)
    except KeyError:
        pytest.fail(f"{module} has no layer: add it to LAYERS in tests/test_layering.py")
    for target in sorted(imports(path)):
        assert target.partition(".")[0] != "qres_host", f"{module} imports the host: {target}"
        if target in KNOWN:
            assert layer(target) <= own, f"{module} (L{own}) imports {target} (L{layer(target)}) above it"


def test_no_import_cycles() -> None:
    graph = {module_name(path): imports(path) & KNOWN - {module_name(path)} for path in FILES}
    # A package that lists its own modules at run time is no cycle: they never need the list.
    for package in ("qres.predict", "qres.aggregate"):
        graph[package] = {target for target in graph.get(package, set()) if not target.startswith(package + ".")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def test_every_layered_name_exists_or_is_announced() -> None:
    names = {module.split(".")[1] for module in KNOWN if "." in module} | {"qres"}
    announced = {"audit", "identity", "sigma"}  # names that the architecture keeps for later parts
    assert set(LAYERS) - names <= announced


@pytest.mark.parametrize("path", sorted((source.ROOT / "host" / "qres_host").rglob("*.py")), ids=source.name)
def test_the_host_uses_the_node_from_outside(path: Path) -> None:
    if "shims" in path.parts:
        return
    for target in imports(path):
        private = [part for part in target.split(".")[1:] if part.startswith("_") and part != "__main__"]
        assert not (target.startswith("qres.") and private), f"{source.name(path)} reaches into {target}"
