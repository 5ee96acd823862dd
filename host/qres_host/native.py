"""Inner loops on the host: compiled by Numba where it is installed, plain Python where it is not; the same results.

`jit` compiles loops of the host's own, `load` the kernels of the firmware. Code is compiled at the first call and kept
on disk: beside the source where that can be written, else in the user's cache (NUMBA_CACHE_DIR chooses another place).
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from qres_host.viper import CASTS, foreign_kernels, kernels_of, source_path, transform

Function = TypeVar("Function", bound=Callable[..., Any])

numba: Any = None
if os.environ.get("QRES_NUMBA", "1") != "0":
    with contextlib.suppress(ImportError):
        numba = importlib.import_module("numba")

COMPILED = numba is not None
"""Whether `jit` and `load` compile.  QRES_NUMBA=0 in the environment switches it off."""


def inlined(function: Function) -> Function:
    """Like `jit`, and copied into every loop that calls it: for what is called often, with many arguments."""
    return _compiled(function, forceinline=True)


def jit(function: Function) -> Function:
    """A loop, compiled once and kept on disk where there is a place for it; without Numba, the function itself.

    The code on disk holds the code of what the loop calls, and Numba knows only of the loop's own file: so its name
    there tells the contents of all files of its folder.
    """
    return _compiled(function)


def _compiled(function: Function, **options: bool) -> Function:
    if numba is None:
        return function
    function.__qualname__ += "_" + _folder_version(Path(function.__code__.co_filename).parent)
    try:
        compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # no folder that can be written
        compiled = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return compiled


@functools.cache
def _folder_version(folder: Path) -> str:
    """A short name of all that the Python files of a folder say."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


@functools.cache
def load(name: str) -> ModuleType:
    """The module qres.<name> with every kernel compiled; all other names are as they are there.

    Kernels take one-dimensional arrays of NumPy (int32, uint16, uint8), array.array or bytearray, and Python's ints.
    Without Numba they run as plain Python, with the same results.
    """
    if numba is None:
        return _plain(name)
    path = source_path(name)
    tree = ast.parse(path.read_bytes(), str(path))
    foreign = foreign_kernels(tree)
    for function in kernels_of(tree):
        function.decorator_list = [ast.Name("_jit", ast.Load())]
        _Widening().visit(function)
    ast.fix_missing_locations(tree)
    module = ModuleType(f"{__name__}.{name}")
    module.__file__ = str(path)
    vars(module)["_int64"] = numba.int64
    vars(module)["_jit"] = jit
    sys.modules[module.__name__] = module  # where Numba looks for it when it reads code from the disk
    exec(compile(tree, str(path), "exec"), vars(module))
    vars(module).update({own: getattr(load(owner), there) for own, (owner, there) in foreign.items()})
    return module


class _Widening(ast.NodeTransformer):
    """Casts drop out, and what a buffer holds is widened: Numba's uint16 - uint16 is unsigned, int() or not."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id in CASTS else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.Call(ast.Name("_int64", ast.Load()), [node], [])

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _plain(name: str) -> ModuleType:
    """The module as plain Python; its kernels see arrays of NumPy as memoryviews, whose items are Python's ints."""
    original = importlib.import_module(f"qres.{name}")
    module = ModuleType(f"{__name__}.{name}", original.__doc__)
    vars(module).update({key: value for key, value in vars(original).items() if key not in vars(module)})
    tree = ast.parse(source_path(name).read_text(encoding="utf-8"))
    for own in [function.name for function in kernels_of(tree)] + list(foreign_kernels(tree)):
        setattr(module, own, _through_views(getattr(original, own)))
    return module


def _through_views(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def call(*args: Any) -> int:
        return function(*[memoryview(arg) if hasattr(arg, "__array_interface__") else arg for arg in args])

    return call


def rv32(name: str) -> bytes:
    """The .mpy of the module qres.<name>, its kernels as RV32IMC machine code; raises QresError as `transform` does."""
    from qres_host import deploy  # not above: few who use the loops build firmware too

    path = f"qres/{name.replace('.', '/')}.py"
    sources = deploy.read_sources(deploy.firmware_root()) | {path: source_path(name).read_bytes()}
    text = transform(deploy.folded(sources)[path].decode(), path)
    return deploy.compile_mpy(path, text.encode(), ("-march=rv32imc",))
