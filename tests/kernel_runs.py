"""Every kernel of the firmware, its cases, what plain Python makes of them, and what the chip's code costs.

    python tests/kernel_runs.py        writes tests/vectors/kernels.json anew, from plain Python

Kernels are found by their marker. The cases of qres.<module> are generators in tests/kernel_cases/<module>.py, one for
each kernel and of its name, that yield the arguments of a call.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
VECTORS = TESTS / "vectors" / "kernels.json"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "firmware"), str(ROOT / "host"), str(TESTS)]

from qres.compat import crc32  # noqa: E402
from qres_host import viper  # noqa: E402

Arguments = tuple[Any, ...]
WORD = 1 << 30  # small integers of the chip are from -WORD to WORD - 1


def modules() -> dict[str, list[str]]:
    """Every module of qres that has kernels, by its name below qres, with their names in order."""
    found = {}
    root = ROOT / "firmware" / "qres"
    for path in sorted(root.rglob("*.py")):
        kernels = [kernel.name for kernel in viper.kernels_of(ast.parse(path.read_text(encoding="utf-8")))]
        if kernels:
            found[".".join(path.relative_to(root).with_suffix("").parts)] = kernels
    return found


def cases(module: str, kernel: str) -> Iterator[Arguments]:
    """The cases of one kernel, buffers made anew; AttributeError or ImportError when there are none."""
    yield from getattr(importlib.import_module(f"kernel_cases.{module}"), kernel)()


def record(call: Callable[..., int], arguments: Arguments) -> list[int]:
    """What a call returns, and the CRC-32 of each buffer after it."""
    result = call(*arguments)
    return [int(result)] + [crc32(bytes(item)) for item in arguments if not isinstance(item, int)]


def plain(module: str) -> dict[str, list[list[int]]]:
    """The records of all cases of one module's kernels, in plain Python."""
    source = importlib.import_module(f"qres.{module}")
    return {
        kernel: [record(getattr(source, kernel), case) for case in cases(module, kernel)]
        for kernel in modules()[module]
    }


def instructions(module: str) -> list[tuple[str, int, int, int]]:
    """For each kernel of a module: its name, RV32 instructions of its cases (mean, most), most calls of the helpers.

    Needs the emulator.
    """
    import rv32

    found = []
    for kernel, function in rv32.load(module).items():
        counts, helpers = [], []
        for case in cases(module, kernel):
            function(*case)
            counts.append(function.instructions)
            helpers.append(function.helpers)
        found.append((kernel, sum(counts) // len(counts), max(counts), max(helpers)))
    return found


@cache
def checked(module: str) -> ModuleType:
    """The module with kernels that raise OverflowError where an intermediate leaves the chip's small integers."""
    path = viper.source_path(module)
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    foreign = viper.foreign_kernels(tree)
    for kernel in viper.kernels_of(tree):
        kernel.body = [_Checks().visit(statement) for statement in kernel.body]
    ast.fix_missing_locations(tree)
    made = ModuleType(f"checked.{module}")
    vars(made).update(_word=_word, _count=_count, _index=_index)
    exec(compile(tree, str(path), "exec"), vars(made))
    vars(made).update({own: getattr(checked(owner), there) for own, (owner, there) in foreign.items()})
    return made


class _Checks(ast.NodeTransformer):
    """Wraps every number that a kernel computes, loads or indexes with."""

    def wrap(self, name: str, node: ast.expr) -> ast.expr:
        """Call the check `name` on what `node` makes."""
        return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), [node], []), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.LShift | ast.RShift):
            node.right = self.wrap("_count", node.right)
        return self.wrap("_word", node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return node if isinstance(node.op, ast.Not) else self.wrap("_word", node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        node.slice = self.wrap("_index", node.slice)
        return self.wrap("_word", node) if isinstance(node.ctx, ast.Load) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        target = ast.parse(ast.unparse(node.target), mode="eval").body
        plain_form = ast.Assign([node.target], ast.BinOp(target, node.op, node.value))
        return ast.copy_location(self.generic_visit(plain_form), node)  # type: ignore[return-value]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        return self.wrap("_word", node) if ast.unparse(node.func) == "int" else node


def _word(value: int) -> int:
    if not -WORD <= value < WORD:
        raise OverflowError(f"{value} is beyond +-2^30")
    return value


def _count(value: int) -> int:
    if not 0 <= value < 31:
        raise OverflowError(f"shift by {value}")
    return value


def _index(value: int) -> int:
    if value < 0:
        raise OverflowError(f"index {value}")
    return value


def main() -> None:
    """Write the golden vectors of all modules."""
    VECTORS.parent.mkdir(exist_ok=True)
    lines = []
    for module in modules():
        kernels = [f'  "{name}": {json.dumps(records)}' for name, records in plain(module).items()]
        lines.append(f' "{module}": {{\n' + ",\n".join(kernels) + "\n }")
    VECTORS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
