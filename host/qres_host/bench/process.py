"""Work in a process of its own, item by item: what it imports, allocates or breaks stays there."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import qres_host

T = TypeVar("T")


class Ended(Exception):
    """The process ended before its work did: it crashed, or the system took its memory."""


def apart(work: Callable[[], Iterator[T]], numba: bool = True) -> Iterator[T]:
    """Yield what `work()` yields in a forked process on one core, as it comes; without Numba there unless `numba`.

    `work` must catch its own exceptions; raises Ended when the process breaks off.
    """
    context = multiprocessing.get_context("fork")  # hands the input over without a copy
    receiver, sender = context.Pipe(duplex=False)
    sys.stdout.flush()
    process = context.Process(target=_child, args=(work, numba, sender), daemon=True)
    process.start()
    sender.close()
    try:
        while True:
            more, item = receiver.recv()
            if not more:
                return
            yield item
    except EOFError:
        raise Ended("the process that ran it ended") from None
    finally:
        process.terminate()
        process.join()
        receiver.close()


def _child(
    work: Callable[[], Iterator[T]],
    numba: bool,
    pipe: multiprocessing.connection.Connection[tuple[bool, T | None], None],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends this process through its parent
    if hasattr(os, "sched_setaffinity"):  # one core for every coder, whatever threads its libraries start
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if not numba:
        _without_numba()
    for item in work():
        pipe.send((True, item))
    pipe.send((False, None))
    pipe.close()
    os._exit(0)  # without the exit handlers of libraries that keep threads


def _without_numba() -> None:
    """Make importing Numba fail, as where it is not installed, and have loops that are compiled imported anew.

    The benches stay: they are what runs here.
    """
    sys.modules["numba"] = None  # type: ignore[assignment]
    for name in [name for name in sys.modules if name.startswith("qres_host.")]:
        part = name.split(".")[1]
        if part != "bench":
            del sys.modules[name]
            vars(qres_host).pop(part, None)
