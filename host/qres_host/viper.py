"""Kernels as machine code of the chip: the marked functions of a firmware module for MicroPython's viper compiler.

Viper computes in 32 bits without checks, and where it differs from Python it mostly does so silently. So `transform`
takes only a dialect in which both agree as long as every intermediate stays within +-2^30: whole numbers, conditions,
loops, buffers that are cast in the function, and calls of other kernels. Everything else is an error with its line.
"""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from qres_host.errors import QresError

CASTS = ("ptr8", "ptr16", "ptr32")
LITERAL_MAX = (1 << 30) - 1  # larger ones are objects to the compiler
SHIFTS_AND_BITS = (ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, *SHIFTS_AND_BITS)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
Names = frozenset[str]


def source_path(name: str) -> Path:
    """The file of the module qres.<name>; ModuleNotFoundError when there is none."""
    spec = find_spec(f"qres.{name}")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module qres.{name}")
    return Path(spec.origin)


def kernels_of(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions of a module that are marked as kernels, in the order of its text."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(mark, ast.Name) and mark.id == "kernel" for mark in node.decorator_list)
    ]


def foreign_kernels(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Kernels that a module imports from others: its own name for each -> (module of qres, name there)."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("qres."):
            module = node.module.removeprefix("qres.")
            there = {item.name for item in kernels_of(ast.parse(source_path(module).read_text(encoding="utf-8")))}
            found.update({item.asname or item.name: (module, item.name) for item in node.names if item.name in there})
    return found


def transform(source: str, name: str = "kernels") -> str:
    """`source` with its kernels marked for viper, line for line; unchanged when it has none.

    Raises QresError, with `name` and the line, for what viper cannot compile or would compute differently.
    """
    tree = ast.parse(source)
    kernels = kernels_of(tree)
    if not kernels:
        return source
    callable_names = frozenset([kernel.name for kernel in kernels] + list(foreign_kernels(tree)))
    for kernel in kernels:
        _Kernel(name, _constants(tree), callable_names).check(kernel)
    lines = source.split("\n")
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "qres.compat":
            kept = [ast.unparse(item) for item in node.names if item.name not in (*CASTS, "kernel")]
            text = "import micropython" + (f"; from qres.compat import {', '.join(kept)}" if kept else "")
            last = node.end_lineno or node.lineno
            lines[node.lineno - 1 : last] = [text] + [""] * (last - node.lineno)
    for kernel in kernels:
        for mark in kernel.decorator_list:
            lines[mark.lineno - 1] = lines[mark.lineno - 1].replace("kernel", "micropython.viper", 1)
    return "\n".join(lines)


def _constants(tree: ast.Module) -> dict[str, int]:
    """What `NAME = const(...)` defines: the only names of a module that the compiler folds."""
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            call = node.value
            if isinstance(call.func, ast.Name) and call.func.id == "const" and len(call.args) == 1:
                text = compile(ast.Expression(call.args[0]), "const", "eval")
                try:
                    found[node.targets[0].id] = int(eval(text, {"__builtins__": {}}, found))
                except NameError:  # of another module: the compiler does not fold it either
                    continue
    return found


class _Kernel:
    """Checks one kernel; `kinds` of its locals are "int", "object" (a parameter) or the name of a cast."""

    def __init__(self, module: str, constants: dict[str, int], callable_names: Names) -> None:
        self.module = module
        self.constants = constants
        self.callable_names = callable_names
        self.kinds: dict[str, str] = {}
        self.known: Names = frozenset()  # locals that surely have a value

    def fail(self, node: ast.AST, text: str) -> NoReturn:
        """Raise QresError for `node`."""
        raise QresError(f"{self.module}:{getattr(node, 'lineno', 0)}: {text}", "keep to the dialect of kernels")

    def check(self, function: ast.FunctionDef) -> None:
        """Raise QresError unless the whole function is in the dialect."""
        given = function.args
        if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs or given.defaults:
            self.fail(function, "a kernel takes plain parameters without defaults")
        if len(function.decorator_list) != 1:
            self.fail(function, "a kernel has no other decorator")
        for item in given.args:
            kind = ast.unparse(item.annotation) if item.annotation else ""
            if kind not in ("int", "object"):
                self.fail(item, f"parameter {item.arg} must be annotated int or object")
            self.kinds[item.arg] = kind
        if function.returns is None or ast.unparse(function.returns) != "int":
            self.fail(function, "a kernel returns int")
        if self.block(function.body, frozenset(self.kinds)) is not None:
            self.fail(function, f"{function.name} can end without return")

    def block(self, body: list[ast.stmt], known: Names) -> Names | None:
        """Check statements; the locals that surely have a value after them, None when their end is never reached."""
        for node in body:
            self.known = known
            after = self.statement(node)
            if after is None:
                return None
            known = after
        return known

    def statement(self, node: ast.stmt) -> Names | None:
        """Check one statement, as `block` does."""
        if isinstance(node, ast.Assign):
            return self.assign(node)
        if isinstance(node, ast.AugAssign):
            self.operator(node, node.op)
            self.value(node.target)
            self.value(node.value)
        elif isinstance(node, ast.If):
            return self.branch(node)
        elif isinstance(node, ast.While | ast.For):
            self.loop(node)
        elif isinstance(node, ast.Return):
            if node.value is None:
                self.fail(node, "return needs a value")
            self.value(node.value)
            return None
        elif isinstance(node, ast.Break | ast.Continue):
            return None
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self.call(node.value)
        elif not isinstance(node, ast.Pass) and not (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            self.fail(node, f"no {type(node).__name__} in a kernel")
        return self.known

    def assign(self, node: ast.Assign) -> Names:
        """`local = value`, `buffer[index] = value` or `local = ptr32(parameter)`."""
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Name | ast.Subscript):
            self.fail(node, "assign to one local or one item at a time")
        kind = self.cast(node.value)
        if not kind:
            self.value(node.value)
        if isinstance(target, ast.Subscript):
            if kind:
                self.fail(node, "a cast goes to a local")
            self.value(target)
            return self.known
        if self.kinds.setdefault(target.id, kind or "int") != (kind or "int"):
            self.fail(node, f"{target.id} would change its type")
        return self.known | {target.id}

    def cast(self, node: ast.expr) -> str:
        """The name of the cast that `node` is, or ""."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CASTS):
            return ""
        if len(node.args) != 1 or node.keywords or not self.is_local(node.args[0], "object"):
            self.fail(node, f"{node.func.id}() takes a parameter that is annotated object")
        return node.func.id

    def is_local(self, node: ast.expr, *kinds: str) -> bool:
        """Whether `node` names a local of one of the kinds."""
        return isinstance(node, ast.Name) and self.kinds.get(node.id) in kinds

    def branch(self, node: ast.If) -> Names | None:
        """if, elif, else."""
        self.condition(node.test)
        before = self.known
        ends = [self.block(body, before) for body in (node.body, node.orelse)]
        reached = [end for end in ends if end is not None]
        return frozenset.intersection(*reached) if reached else None

    def loop(self, node: ast.While | ast.For) -> None:
        """`while condition` or `for local in range(...)`, whose step is constant; the body may never run."""
        if node.orelse:
            self.fail(node, "no else after a loop")
        if isinstance(node, ast.While):
            self.condition(node.test)
            before = inside = self.known
        else:
            call, target = node.iter, node.target
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "range" and isinstance(target, ast.Name)):
                self.fail(node, "for takes one local and range()")
            if call.keywords or not 1 <= len(call.args) <= 3:
                self.fail(node, "range() takes one to three numbers")
            for item in call.args:
                self.value(item)
            if len(call.args) == 3 and self.constant(call.args[2]) in (None, 0):
                self.fail(node, "the step of range() must be a constant other than 0")
            if self.kinds.setdefault(target.id, "int") != "int":
                self.fail(node, f"{target.id} would change its type")
            before, inside = self.known, self.known | {target.id}
        self.block(node.body, inside)
        self.known = before

    def constant(self, node: ast.expr) -> int | None:
        """The value of a literal or of a const of this module, None for anything else."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.constant(node.operand)
            return None if value is None else -value
        if isinstance(node, ast.Name) and node.id not in self.kinds:
            return self.constants.get(node.id)
        return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None

    def condition(self, node: ast.expr) -> None:
        """What may stand after if and while."""
        if isinstance(node, ast.BoolOp):
            for item in node.values:
                self.condition(item)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand)
        elif isinstance(node, ast.Compare):
            if len(node.ops) != 1 or not isinstance(node.ops[0], COMPARISONS):
                self.fail(node, "compare two numbers at a time")
            self.value(node.left)
            self.value(node.comparators[0])
        else:
            self.value(node)

    def operator(self, node: ast.AST, operator: ast.operator) -> None:
        """An operator of whole numbers."""
        if not isinstance(operator, OPERATORS):
            self.fail(node, f"no operator {type(operator).__name__} in a kernel")

    def value(self, node: ast.expr) -> None:
        """A whole number."""
        if isinstance(node, ast.Constant | ast.Name):
            self.atom(node)
        elif isinstance(node, ast.BinOp):
            self.operator(node, node.op)
            self.value(node.left)
            self.value(node.right)
        elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            self.value(node.operand)
        elif isinstance(node, ast.IfExp):
            self.condition(node.test)
            self.value(node.body)
            self.value(node.orelse)
        elif isinstance(node, ast.Subscript):
            if not self.is_local(node.value, *CASTS) or not self.is_known(node.value):
                self.fail(node, f"{ast.unparse(node.value)} is no buffer: cast it first")
            if (self.constant(node.slice) or 0) < 0:
                self.fail(node, "an index below 0 is in front of the buffer")
            self.value(node.slice)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "int" and len(node.args) == 1:
            inner = node.args[0]
            if isinstance(inner, ast.Call) and ast.unparse(inner.func) in self.callable_names:
                self.call(inner)
            else:
                self.value(inner)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in self.callable_names:
            self.fail(node, f"the result of {ast.unparse(node.func)} is an object: put int() around the call")
        else:
            self.fail(node, f"{ast.unparse(node)} is no whole number to the compiler")

    def is_known(self, node: ast.expr) -> bool:
        """Whether the local that `node` names surely has a value."""
        return isinstance(node, ast.Name) and node.id in self.known

    def atom(self, node: ast.Constant | ast.Name) -> None:
        """A literal, a const of this module, or a local that has a value."""
        if isinstance(node, ast.Name) and node.id in self.kinds:
            if self.kinds[node.id] != "int":
                self.fail(node, f"{node.id} is a buffer, not a number")
            if not self.is_known(node):
                self.fail(node, f"{node.id} has no value on some way here")
            return
        value = self.constant(node)
        if value is None and isinstance(node, ast.Name):
            self.fail(node, f"{node.id} is neither a local nor a const() of this module; only these are folded")
        if value is None or abs(value) > LITERAL_MAX:
            self.fail(node, f"{ast.unparse(node)} is no whole number within +-(2^30 - 1)")

    def call(self, node: ast.Call) -> None:
        """A kernel: numbers, and buffers as the parameters that came in."""
        if ast.unparse(node.func) not in self.callable_names or node.keywords:
            self.fail(node, f"{ast.unparse(node.func)} is no kernel, or has keywords")
        for item in node.args:
            if self.is_local(item, *CASTS):
                self.fail(item, f"pass the parameter on, not its cast {ast.unparse(item)}")
            if not self.is_local(item, "object"):
                self.value(item)
