"""Starts MicroPython machines by forking: a small process that has the interpreter loaded and does nothing else.

Run as a script by `vm.Nursery`, with the control socket as descriptor 0 and the folder of `micropython_run`, or
the path of a MicroPython binary, as argument. A fork costs about a millisecond, starting a binary several.

Requests, one datagram each: b"S" + settings JSON, with three descriptors (hub socket, terminal, flash) and a
fourth (standard output), answered by the child's process id; b"K" + process id kills. An exit is told as a JSON list
[process id, wait status].
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
    alive: set[int] = set()
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
                reap(control, alive)
            if control.fileno() in ready and not answer(control, runner, alive):
                return
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


def answer(control: socket.socket, runner: Runner, alive: set[int]) -> bool:
    """Handle one request; False when the hub is gone."""
    try:
        data, descriptors, _flags, _address = socket.recv_fds(control, 4096, 4)
    except OSError:
        return False
    if not data:
        return False
    if data[:1] == b"K":
        pid = int(data[1:])
        if pid in alive:  # a process id of ours stays ours until it is reaped
            os.kill(pid, signal.SIGKILL)
        return True
    pid = os.fork()
    if pid == 0:
        try:
            become_machine(runner, json.loads(data[1:]), descriptors)
        finally:
            os._exit(0)
    alive.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        control.send(str(pid).encode())
    except OSError:
        return False
    return True


def reap(control: socket.socket, alive: set[int]) -> None:
    """Collect the children that ended and tell the hub how."""
    while alive:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        alive.discard(pid)
        try:
            control.send(json.dumps([pid, status]).encode())
        except OSError:
            return


def main() -> None:
    """Serve on descriptor 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    serve(control, load_runner(sys.argv[1]))


if __name__ == "__main__":
    main()
