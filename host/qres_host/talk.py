"""Commands to boards as people type them, and who has answered: text in, command lines and outcomes out, no I/O.

    set period_ms 30000     get name     awake 10     profile on     snapshot     trace on     status     restart

`@NAME` before a command says which board; `@all` says every one. A board that sleeps loses what is sent to it, so
a command is repeated until it is answered; each is one that may be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from qres_host.errors import NO_DEVICE, USAGE, QresError
from qres_host.words import answer_text

AGAIN_MS = 1500  # between two attempts
LINE_BYTES = 255  # that a board takes
ALL = "all"
USES = {
    "get": "get KEY",
    "set": "set KEY VALUE",
    "awake": "awake MINUTES",
    "profile": "profile [on|off]",
    "snapshot": "snapshot",
    "trace": "trace on|off",
    "status": "status",
    "restart": "restart",
}


class Command(NamedTuple):
    """What a person wants of boards: name and argument of the protocol, the board's name or "" where none was said."""

    board: str
    name: str
    argument: Any

    def line(self) -> bytes:
        """Return what is written to the port."""
        said = json.dumps({"cmd": self.name, "arg": self.argument}, separators=(",", ":"))
        return said.encode() + b"\n"


class Outcome(NamedTuple):
    """How a command ended: `ok` and the board's answer, or None when none came."""

    device: str
    command: Command
    ok: bool
    answer: dict[str, Any] | None

    def line(self) -> str:
        """Return it in one line."""
        if self.answer is None:
            return f"{self.command.name}: no answer"
        return answer_text({"cmd": self.command.name, **self.answer})


def parse(text: str) -> Command:
    """Return the command in a line that a person typed. Raises QresError (usage)."""
    words = text.split(None, 1)
    board = ""
    if words and words[0].startswith("@"):
        board, text = words[0][1:], words[1] if len(words) > 1 else ""
    name, _, rest = text.strip().partition(" ")
    command = Command(board, name, _argument(name, rest.strip()))
    if len(command.line()) > LINE_BYTES:
        raise QresError(f"{name} with more than {LINE_BYTES} characters", "use `qres provision` for it", USAGE)
    return command


def _argument(name: str, rest: str) -> Any:
    if name not in USES:
        raise QresError(f"no command '{name}'", f"use {', '.join(USES.values())}", USAGE)
    if name == "get" and rest and " " not in rest:
        return rest
    if name == "set":
        key, _, value = rest.partition(" ")
        if key and value.strip():
            return [key, _value(value.strip())]
    elif name == "awake":
        if rest.isdigit():
            return int(rest)
    elif name in ("profile", "trace"):
        if rest in ("on", "off"):
            return rest
        if not rest and name == "profile":
            return None
    elif not rest:
        return None
    raise QresError(f"cannot read '{name} {rest}'".replace(" '", "'"), f"write {USES[name]}", USAGE)


def _value(text: str) -> Any:
    """JSON where it is some, else the text itself: a name needs no quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def choose(command: Command, names: Sequence[tuple[str, str]]) -> list[str]:
    """Return the devices that a command is for, of (device, board's name). Raises QresError when it is unclear."""
    if command.board == ALL or (not command.board and len(names) == 1):
        return [device for device, _ in names]
    if not command.board:
        remedy = f"write @all or one of {', '.join('@' + name for _, name in names)} before it"
        raise QresError(f"{len(names)} boards are here", remedy, USAGE)
    found = [device for device, name in names if command.board in (name, device)]
    if not found:
        known = ", ".join(name for _, name in names) or "none"
        raise QresError(f"no board '{command.board}' is here", f"there is {known}", NO_DEVICE)
    return found


class _Pending:
    def __init__(self, command: Command, now_ms: int, give_up_ms: int) -> None:
        self.command = command
        self.due_ms = now_ms
        self.give_up_ms = give_up_ms


class Talk:
    """Commands under way, one at a time for each device. Times are of any clock in ms."""

    def __init__(self, timeout_ms: int) -> None:
        """A command that nobody answers for `timeout_ms` has failed."""
        self._timeout_ms = timeout_ms
        self._waiting: dict[str, list[_Pending]] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is still due."""
        return any(self._waiting.values())

    def ask(self, now_ms: int, device: str, command: Command) -> None:
        """Put a command in the line of a device."""
        self._waiting.setdefault(device, []).append(_Pending(command, now_ms, now_ms + self._timeout_ms))

    def opened(self, now_ms: int, device: str) -> None:
        """The port came back: a board that is awake for a moment must hear of it at once."""
        for pending in self._waiting.get(device, [])[:1]:
            pending.due_ms = now_ms

    def due(self, now_ms: int) -> Iterable[tuple[str, bytes]]:
        """Yield (device, line) of what is to be written now."""
        for device, queue in self._waiting.items():
            if queue and queue[0].due_ms <= now_ms:
                queue[0].due_ms = now_ms + AGAIN_MS
                yield device, queue[0].command.line()

    def answered(self, now_ms: int, device: str, answer: dict[str, Any]) -> Outcome | None:
        """Take a REPLY; return what it ends, None when it is none of ours, such as that to an acknowledgement."""
        queue = self._waiting.get(device, [])
        said = answer.get("cmd")
        if not queue or (said is not None and said != queue[0].command.name) or (said is None and "ok" in answer):
            return None
        return self._end(now_ms, device, bool(answer.get("ok")), answer)

    def expired(self, now_ms: int) -> list[Outcome]:
        """Return the commands that waited in vain."""
        late = [device for device, queue in self._waiting.items() if queue and queue[0].give_up_ms <= now_ms]
        return [self._end(now_ms, device, False, None) for device in late]

    def _end(self, now_ms: int, device: str, ok: bool, answer: dict[str, Any] | None) -> Outcome:
        queue = self._waiting[device]
        command = queue.pop(0).command
        for pending in queue[:1]:
            pending.due_ms, pending.give_up_ms = now_ms, now_ms + self._timeout_ms
        return Outcome(device, command, ok, answer)
