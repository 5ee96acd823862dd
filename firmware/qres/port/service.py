"""Commands of the host about the board itself: its configuration, its heap and time, its trace, staying awake.

Loaded with the first such command.  Each is answered by one REPLY: {"cmd": name, "ok": true, ...} or {"cmd": name,
"error": what is wrong}.
"""

import gc
import json
import sys

from qres.events import WIRE_REPLY, WIRE_TRACE
from qres.port.framing import PAYLOAD_BYTES

if False:
    from typing import Any

    from qres.node import Node
    from qres.port.contract import Port
    from qres.run import Driver

AWAKE_MAX_MIN = 240  # a board that nobody fetched must find back to sleep
_RESET_MS = 200  # for the answer to leave
_FILE = "config.json"
_UNTOUCHABLE = ("swarm_key", "update_key")  # hosts log commands; and whoever speaks to a board is not its owner
_REFUSED = "unknown command or argument: time, status, get, set, awake, profile, snapshot, trace, restart"


class ServiceError(ValueError):
    """A command that cannot be carried out; the message goes to the host."""


class Meter:
    """Stands before a node and counts its steps by event: [steps, ms, longest ms] for each tag."""

    def __init__(self, node: "Node", port: "Port") -> None:
        """Measure `node` on the clock of `port`."""
        self.node = node
        self.port = port
        self.since_ms = port.now_ms()
        self.steps: "dict[int, list[int]]" = {}

    def step(self, event: "tuple[Any, ...]") -> "list[Any]":
        """The node's step."""
        began_ms = self.port.now_ms()
        actions = self.node.step(event)
        ms = self.port.now_ms() - began_ms
        row = self.steps.setdefault(event[0], [0, 0, 0])
        row[0] += 1
        row[1] += ms
        row[2] = max(row[2], ms)
        return actions

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.node, name)


def serve(driver: "Driver", name: str, argument: "Any") -> "list[Any]":
    """Carry out a command and answer it; returns the events that follow for the node: none."""
    answer: "dict[str, Any]" = {"cmd": name, "ok": True}
    restart = False
    try:
        if name in ("get", "set"):
            restart = _configure(driver.port, name, argument, answer)
        elif name == "awake":
            driver.awake_ms = answer["until_ms"] = _awake_until(driver.port.now_ms(), argument)
        elif name == "profile" and argument in (None, "on", "off"):
            _profile(driver, argument, answer)
        elif name == "snapshot" and argument is None:
            answer["bytes"] = _show_snapshot(driver)
        elif name == "trace" and argument in ("on", "off"):
            driver.traced = False
            if argument == "on":
                answer["bytes"] = _show_snapshot(driver)  # what a replay begins with
                driver.traced = True
        elif name == "restart" and argument is None:
            restart = True
        else:
            raise ServiceError(_REFUSED)
    except (ValueError, OSError) as error:
        answer = {"cmd": name, "error": str(error)}
    said = json.dumps(answer).encode()
    driver.port.report(WIRE_REPLY, said if len(said) <= PAYLOAD_BYTES else b'{"error": "the answer is too long"}')
    if restart:
        driver.restart(_RESET_MS)
    return []


def _configure(port: "Port", name: str, argument: "Any", answer: "dict[str, Any]") -> bool:
    """Read or change one key of /config.json; True when the board must start anew for it."""
    pair = [argument] if name == "get" else argument
    if not isinstance(pair, list) or len(pair) != (1 if name == "get" else 2) or not isinstance(pair[0], str):
        raise ServiceError('"get" takes a key, "set" [key, value]; null takes the key out')
    key: str = pair[0]
    if key in _UNTOUCHABLE:
        raise ServiceError("'%s' is for `qres provision` alone" % key)
    text = port.read(_FILE)
    if text is None:
        raise ServiceError("no /config.json on this board")
    given = json.loads(text)
    before = given.get(key)
    if name == "set" and before != pair[1]:
        if pair[1] is None:
            del given[key]
        else:
            given[key] = pair[1]
        _check(given)
        port.write(_FILE, json.dumps(given).encode())
        answer["restart"] = True
    answer["key"] = key
    answer["value"] = given.get(key)
    return "restart" in answer


def _check(given: "dict[str, Any]") -> None:
    """Raise ConfigError, which names the key, unless a board can run with this."""
    import qres

    loaded = "qres.config" in sys.modules
    from qres.config import load

    try:
        load(given)
    finally:
        if not loaded:  # 8 KB of heap that the board needs
            sys.modules.pop("qres.config")
            del qres.config


def _awake_until(now_ms: int, minutes: "Any") -> int:
    """Until when the board stays awake; 0 ends it.  Kept in RAM alone, so any reset ends it too."""
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 0 <= minutes <= AWAKE_MAX_MIN:
        raise ServiceError('"awake" takes minutes from 0 to %d' % AWAKE_MAX_MIN)
    return now_ms + minutes * 60000 if minutes else 0


def _profile(driver: "Driver", argument: "Any", answer: "dict[str, Any]") -> None:
    """What takes heap and time.  Steps are measured from "on" to "off"."""
    meter: "Any" = driver.node
    node: "Any" = meter
    if isinstance(meter, Meter):
        node = meter.node
        answer["measured_ms"] = driver.port.now_ms() - meter.since_ms
        answer["steps"] = sorted([[tag] + row for tag, row in meter.steps.items()])
    if argument:
        measured: "Any" = Meter(node, driver.port) if argument == "on" else node
        driver.node = measured
    heap: "Any" = gc
    if hasattr(heap, "mem_free"):
        gc.collect()
        answer["heap_used"] = heap.mem_alloc()
        answer["heap_free"] = heap.mem_free()
    answer["up_ms"] = node.last_ms - node.started_ms
    answer["awake_ms"] = node.awake_ms
    answer["radio_ms"] = node.radio_ms
    answer["modules"] = sorted([name[5:] for name in sys.modules if name[:5] == "qres."])


def _show_snapshot(driver: "Driver") -> int:
    """Report the node's state as trace lines (qres.trace), which `qres replay` goes on from; returns its bytes."""
    from qres.trace import encode_restore

    blob = driver.node.snapshot(False)
    for line in encode_restore(blob):
        driver.port.report(WIRE_TRACE, line)
    return len(blob)
