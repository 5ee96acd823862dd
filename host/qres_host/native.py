"""Inner loops on the host: compiled by Numba where it is installed, plain Python where it is not; the same results."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    if os.environ.get("QRES_NUMBA", "1") == "0":
        raise ImportError("switched off")
    import numba
except ImportError:
    numba = None

COMPILED = numba is not None
"""Whether `jit` compiles.  QRES_NUMBA=0 in the environment switches it off."""


def jit(function: Function) -> Function:
    """A host-only loop, compiled once and kept on disk; without Numba, the function itself."""
    if numba is None:
        return function
    compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled
