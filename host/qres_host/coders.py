"""The kernels of packets and detectors as machine code while a host decodes, where Numba is installed.

The results are the same. What boards send is decoded by the boards' own modules. Their inner loops are kernels, which
here are put in the place of the plain ones for as long as somebody uses them in this process.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import qres.cm
import qres.codec
import qres.detect
import qres.huffman
import qres.mixed
import qres.rice

KERNELS = ("rangecoder", "forecast", "cm", "golomb", "detect")
"""Modules of the firmware whose kernels coders and detectors call."""
assert qres.codec and qres.detect and qres.huffman and qres.mixed and qres.rice
_lock = threading.Lock()
_users = 0


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """Decode with machine code inside; may be nested and used by several threads. Without Numba nothing changes."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            for module, name, _, fast in _found():
                setattr(module, name, fast)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for module, name, plain, _ in _found():
                    setattr(module, name, plain)


@cache
def _found() -> tuple[tuple[ModuleType, str, Callable[..., Any], Callable[..., Any]], ...]:
    """Return every (module, name, plain, compiled) of a kernel that one of the firmware's modules calls."""
    from qres_host import native  # Numba takes half a second to load, and a listener may never need it

    if not native.COMPILED:
        return ()
    callers = [module for name, module in sorted(sys.modules.items()) if name.startswith("qres.")]
    places = []
    for name in KERNELS:
        plain, fast = importlib.import_module(f"qres.{name}"), native.load(name)
        kernels = [k for k, f in vars(fast).items() if hasattr(f, "py_func") and hasattr(plain, k)]
        for module in callers:
            for kernel in kernels:
                if vars(module).get(kernel) is getattr(plain, kernel):
                    places.append((module, kernel, getattr(plain, kernel), getattr(fast, kernel)))
    tables = qres.cm.make_tables  # always the same and never written
    places.append((qres.cm, "make_tables", tables, cache(tables)))
    return tuple(places)
