"""Starts MicroPython machines by forking: a small process that has the interpreter loaded and does nothing else.

Run as a script by `vm.Nursery`, with the control socket as descriptor 0 and the folder of `micropython_run`, or
the path of a MicroPython binary, as argument. A fork costs about a millisecond, starting a binary several.

Requests, one datagram each: b"S" + JSON [number, arguments] starts a machine of that number, with four descriptors
(hub socket, terminal, flash, standard output); b"K" + number ends it. They are done in their order, and a machine that
was ended is gone before the next is started: no two of them read one terminal. Nothing is answered.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import termios
from collections.abc import Callable, Sequence

Runner = Callable[[list[str]], int]


def load_runner(where: str) -> Runner:
    """Return what runs a MicroPython machine in this process: the module in a folder, or a binary."""
    if os.path.isdir(where):
        sys.path.insert(0, where)
        from micropython_run import run_main

        return run_main  # type: ignore[no-any-return]

    def execute(arguments: list[str]) -> int:
        os.execv(where, arguments)

    return execute


def become_machine(runner: Runner, arguments: list[str], descriptors: Sequence[int]) -> None:
    """In the child: a session of its own on its terminal, descriptors 0 to 4 as the machine expects them."""
    hub, terminal, flash, output = (fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in descriptors)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 1)
    for target, source in enumerate((terminal, output, output, hub, flash)):
        os.dup2(source, target)
    os.closerange(5, 64)
    os.chdir("/")
    runner(arguments)


def serve(control: socket.socket, runner: Runner) -> None:
    """Answer requests until the control socket closes, then kill what is left."""
    alive: dict[int, int] = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    try:
        while True:
            ready = select.select([control.fileno(), wake_read], [], [])[0]
            if wake_read in ready:
                os.read(wake_read, 4096)
                reap(alive)
            if control.fileno() in ready and not answer(control, runner, alive):
                return
    finally:
        for pid in alive.values():
            os.kill(pid, signal.SIGKILL)


def answer(control: socket.socket, runner: Runner, alive: dict[int, int]) -> bool:
    """Handle one request; False when the hub is gone. `alive`: process ids by the numbers of the machines."""
    try:
        data, descriptors, _flags, _address = socket.recv_fds(control, 4096, 4)
    except OSError:
        return False
    if not data:
        return False
    if data[:1] == b"K":
        ended = alive.pop(int(data[1:]), 0)  # a process id of ours stays ours until it is reaped
        if ended:
            os.kill(ended, signal.SIGKILL)
            os.waitpid(ended, 0)
        return True
    number, arguments = json.loads(data[1:])
    pid = os.fork()
    if pid == 0:
        try:
            become_machine(runner, arguments, descriptors)
        finally:
            os._exit(0)
    alive[number] = pid
    for descriptor in descriptors:
        os.close(descriptor)
    return True


def reap(alive: dict[int, int]) -> None:
    """Collect the children that ended by themselves."""
    for number, pid in list(alive.items()):
        if os.waitpid(pid, os.WNOHANG)[0]:
            del alive[number]


def main() -> None:
    """Serve on descriptor 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    serve(control, load_runner(sys.argv[1]))


if __name__ == "__main__":
    main()
