"""The loop around a node: it carries events from a port to the node and the node's actions back.

    queue = [BOOT]; step until the queue is empty; wait as the last SLEEP says; again.

The same Driver runs on the chip and in the simulator, so both give the same trace.
"""

from qres.compat import const
from qres.events import (
    BOOT,
    COMMAND,
    DEEP_SLEEP,
    IDLE,
    POWER,
    POWER_ON,
    RADIO,
    REPLY,
    REPORT,
    RTC,
    SAMPLE,
    SAVE,
    SEND,
    SENSE,
    SENT,
    SLEEP,
    STAGE,
    WIRE_LOG,
    WIRE_REPLY,
    WIRE_TRACE,
)
from qres.snapshot import Slots, SnapshotError

if False:
    from typing import Any

    from qres.node import Node
    from qres.port.contract import Port

_FIRST_WAIT_MS = const(1000)  # for a node that asks for no sleep
_RESET_MS = const(5000)  # time to read a traceback, or to press Ctrl-C
_LOG_BYTES = const(2000)


class Driver:
    """A node and its port.  boot() once, then handle() for each event; none of them blocks.

    After each, `until_ms` and `kind` hold what the node's last SLEEP action asked for; before `awake_ms` (own clock)
    the board stays awake instead.
    """

    def __init__(self, node: "Node", port: "Port", traced: bool = False) -> None:
        """Drive `node`; `traced` reports every step as a serial frame (qres.trace)."""
        self.node = node
        self.port = port
        self.until_ms = port.now_ms() + _FIRST_WAIT_MS
        self.kind = IDLE
        self.booted = False
        self.awake_ms = 0
        self.traced = traced
        # An update on its way or on trial: after(driver, event, queue) sees each event that the node took, may append
        # others, and may shorten the wait.
        self.watchers: "list[Any]" = []
        self._slots: "Slots | None" = None

    def boot(self) -> "tuple[int, int]":
        """Restore the newest valid snapshot and deliver BOOT; returns (until_ms, kind)."""
        port = self.port
        cause = port.reset_cause()
        fresh = cause != DEEP_SLEEP or not self._restore(port.load_rtc())
        if fresh:
            if cause == DEEP_SLEEP:
                cause = POWER_ON  # RTC memory is lost: what the node knew of its sleep went with it
            self._restore(self._flash().load())
        session = port.session(fresh)
        self.handle((BOOT, port.now_ms(), cause, port.seed(), port.mac(), session, port.build()))
        self.booted = True
        return self.until_ms, self.kind

    def handle(self, event: tuple) -> "tuple[int, int]":
        """Step the node on `event` and all that follows from it; returns (until_ms, kind) of the wait due."""
        queue = [event]
        if event[0] == COMMAND:
            from qres import commands

            if event[2] not in commands.NAMES:  # not the node's: about the board
                from qres.port import service

                queue = service.serve(self, event[2], event[3])
        while queue:
            event = queue.pop(0)
            actions = self.node.step(event)
            if self.traced:
                from qres.trace import encode

                self.port.report(WIRE_TRACE, encode(event, actions, self.node.snapshot(False)))
            self._perform(actions, queue)
            for watcher in list(self.watchers):
                watcher.after(self, event, queue)
        if self.awake_ms and self.kind != IDLE:
            if self.port.now_ms() < self.awake_ms:
                self.until_ms = min(self.until_ms, self.awake_ms)
                self.kind = IDLE
            else:
                self.awake_ms = 0
        return self.until_ms, self.kind

    def _perform(self, actions: list, queue: list) -> None:
        """Carry out one step's actions; events that follow go to `queue`."""
        port = self.port
        failed = 0
        for action in actions:
            tag = action[0]
            if tag == SEND:
                if not port.send(action[1]):
                    failed += 1
            elif tag == SLEEP:
                self.until_ms = action[1]
                self.kind = action[2]
            elif tag == SAVE:
                self._save(action[1], action[2])
            elif tag == REPORT:
                port.report(action[1], action[2])
            elif tag == RADIO:
                port.radio(action[1])
            elif tag == REPLY:
                port.report(WIRE_REPLY, action[1])
            elif tag == SENSE:
                permille, mv = port.power()
                queue.append((POWER, port.now_ms(), permille, mv))
                values = port.sense()
                queue.append((SAMPLE, port.now_ms(), values))
            elif tag == STAGE:
                port.stage(self, action[1])
        if failed:
            queue.append((SENT, port.now_ms(), failed))

    def _flash(self) -> Slots:
        """The two files; opened on first use, because most wakes need neither."""
        if self._slots is None:
            self._slots = Slots(self.port)
        return self._slots

    def _save(self, target: int, blob: bytes) -> None:
        if target == RTC:
            self.port.save_rtc(blob)
            return
        try:
            self._flash().save(blob)
        except OSError as error:  # a full or worn flash costs the history, not the board
            self.port.report(WIRE_LOG, b"flash: " + str(error).encode())

    def _restore(self, blob: "bytes | None") -> bool:
        """Put `blob` into the node; False, and the node as new, when it is none."""
        if not blob:
            return False
        try:
            self.node.restore(blob)
        except SnapshotError as error:
            self.port.report(WIRE_LOG, b"snapshot: " + str(error).encode())
            return False
        if self.traced:
            from qres.trace import encode_restore

            for line in encode_restore(blob):
                self.port.report(WIRE_TRACE, line)
        return True

    def loop(self) -> None:
        """Boot and run until an exception ends it."""
        self.boot()
        while True:
            self.handle(self.port.wait(self.until_ms, self.kind))

    def fail(self, error: Exception) -> None:
        """Tell what went wrong, save what is whole, reset."""
        text = self.port.traceback(error)
        self.port.text(text)
        self.port.report(WIRE_LOG, text.encode()[:_LOG_BYTES])
        self.restart(_RESET_MS)

    def restart(self, after_ms: int) -> None:
        """Save what is whole, reset."""
        try:
            if self.booted:  # else the snapshot itself may be what fails: keep the older one
                self._flash().save(self.node.snapshot(False))
        finally:
            self.port.reset(after_ms)


def main(config: dict) -> None:
    """Run the board that `config` (the content of /config.json) describes; returns on Ctrl-C alone."""
    import sys

    import qres
    from qres.config import ConfigError, load
    from qres.port.esp32 import Port

    try:
        checked = load(config)
    except ConfigError as error:
        print("/config.json:", error)
        if sys.path[0] == "/next":  # an update that refuses what worked so far
            raise
        return
    sys.modules.pop("qres.config")  # used once; 8 KB of heap that the board needs
    del qres.config
    port = Port(config)
    try:
        if qres.KERNELS and port.read("selftest") != qres.BUILD + b"passed":
            from qres.port import selftest

            selftest.choose(port)  # before anything imports a kernel
            sys.modules.pop("qres.port.selftest")
            del qres.port.selftest
        from qres.node import Node

        driver = Driver(Node(checked), port, bool(config.get("trace")))
        if sys.path[0] == "/next":
            from qres.port.trial import Trial

            driver.watchers.append(Trial(port.now_ms(), qres.BUILD))
        try:
            driver.loop()
        except Exception as error:  # the one broad handler: a board must come back from anything
            driver.fail(error)
    except KeyboardInterrupt:
        port.release()
