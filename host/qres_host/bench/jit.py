"""The inner loops of the coders that are written here: compiled by Numba where it is installed, else plain Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
COMPILED = importlib.util.find_spec("numba") is not None


def jit(function: F) -> F:
    """Return `function` compiled, or as it is when Numba is absent: same results, slower."""
    if not COMPILED:
        return function
    from numba import njit

    compiled: Any = njit(cache=True)(function)
    return cast(F, compiled)
