"""How an update gets to the boards: what to say next and what each board has answered. No I/O and no clock of its own.

The gateway offers the update whenever a board that needs it may be listening. Those that accept stay awake. Then, batch
of files by batch, they are asked which chunks they lack, and every chunk that one of them lacks is sent once for all,
until none lacks any. When a board has everything it is told to install it; it restarts, proves the new application, and
says so. The gateway itself comes last. A board that falls silent keeps what it has and is offered the rest when it is
heard again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from qres import packet
from qres.port import ota

from qres_host.ota.bundle import Bundle

AWAKE_MS = 900  # since a board was last heard: it listens still, for its radio window lasts that long
OFFER_MS = 350  # between two offers: answers come in 16 slots of 16 ms
OFFERS = 3  # in a row, to boards that have not answered yet
ANSWER_MS = 400  # for the air, the cable and the board, beyond the slots in which boards answer
SLOT_MS = 16
ASKED = 20  # polls that a board may leave unanswered: reading the manifest takes it some seconds
INSTALL_MS = 4000  # between two requests: a board copies what stays the same
INSTALLS = 5
FLOW = 6  # frames that the gateway has not confirmed
STUCK_MS = 3000  # after which it is taken to have lost them
NODES_MAX = 48  # that an offer names
ASK_MS = 3000  # between two questions how a board gets on
PAUSE_MS = 60_000  # between two questions to a board that is busy with an update
ATTEMPTS = 50  # to bring the update to one board


class Stage(StrEnum):
    """How far a board is."""

    QUEUED = "queued"
    FETCHING = "fetching"
    COMPLETE = "complete"
    INSTALLING = "installing"
    TRYING = "on trial"
    UPDATED = "updated"
    REFUSED = "refused"
    FAILED = "rolled back"


ENDED = (Stage.UPDATED, Stage.REFUSED, Stage.FAILED)
_INSTALLED = (Stage.INSTALLING, Stage.TRYING)


@dataclass
class Target:
    """One board: its stage, `why` it refused, when it was last heard (ms), the share that it has, 0 to 1."""

    node: int
    stage: Stage = Stage.QUEUED
    why: str = ""
    heard_ms: int = -1_000_000
    done: float = 0.0
    silent: int = 0  # polls in a row without an answer
    missing: bytes | None = None  # its answer to the poll that stands
    rest_ms: int = -1_000_000  # it is left alone until then
    attempts: int = 0


class Rollout:
    """One update to some boards. `nodes`: their numbers; `gateway`: the number of the board on the cable.

    Feed it what is heard (`heard`, `said`, `joined`), what the gateway confirms (`confirmed`), and call `due` often: it
    returns payloads of OTA frames that the gateway is to send now.
    """

    def __init__(self, bundle: Bundle, nodes: list[int], gateway: int) -> None:
        self.bundle = bundle
        self.gateway = gateway
        self.targets = {node: Target(node) for node in nodes}
        self.sent = 0
        self.sent_bytes = 0
        self._unconfirmed = 0
        self._moved_ms = 0  # when the gateway last confirmed or was given something
        self._offered_ms = self._window_ms = -1_000_000
        self._now_ms = 0
        self._out: list[bytes] = []
        self._wait_ms = 0  # the script goes on then ...
        self._left: set[int] = set()  # boards that may lack something of the present batch
        self._asked = -1  # ... or when all have answered who were asked about the batch that begins with this part
        self._script = self._run()

    @property
    def over(self) -> bool:
        """Whether every board has come to an end."""
        return all(target.stage in ENDED for target in self.targets.values())

    # What is heard

    def heard(self, now_ms: int, node: int, kind: int) -> None:
        """A board has sent a frame of that kind (qres.packet). The gateway's beacon begins a window of all boards."""
        if node in self.targets:
            self.targets[node].heard_ms = now_ms
        if node == self.gateway and kind == packet.MODEL:
            self._window_ms = now_ms

    def joined(self, now_ms: int, node: int, build: bytes) -> None:
        """A board has started, and told what it runs."""
        target = self.targets.get(node)
        if target is None or target.stage in ENDED:
            return
        target.heard_ms = target.rest_ms = now_ms  # it is awake, and may just have put the update in place: ask
        if build[:4] == self.bundle.build:
            target.stage, target.done = Stage.TRYING, 1.0
        elif target.stage == Stage.TRYING:
            target.stage = Stage.FAILED
        elif target.stage not in _INSTALLED:
            target.stage = Stage.QUEUED

    def said(self, now_ms: int, node: int, payload: bytes) -> None:
        """A board has said something about an update. Bytes of no meaning are ignored."""
        target = self.targets.get(node)
        if target is None or len(payload) < 6 or payload[0] != ota.STATUS:
            return
        target.heard_ms = now_ms
        name, word, rest = payload[1:5], payload[5], payload[6:]
        if word == ota.CONFIRMED and rest[:4] == self.bundle.build:
            target.stage, target.done = Stage.UPDATED, 1.0
        elif name != self.bundle.name or target.stage in ENDED:
            return
        elif word == ota.CURRENT:
            target.stage, target.done = (Stage.TRYING if rest == b"\1" else Stage.UPDATED), 1.0
        elif word == ota.REFUSED and rest == ota.BUSY.encode():
            target.rest_ms = now_ms + PAUSE_MS  # it will take this one when it has done with the other
        elif word == ota.REFUSED:
            failed = target.stage in _INSTALLED
            target.stage = Stage.FAILED if failed else Stage.REFUSED
            target.why = rest.decode("utf-8", "replace")
        elif word == ota.STAGED:
            target.stage = Stage.INSTALLING
        elif word == ota.INCOMPLETE:
            target.stage = Stage.QUEUED
        elif word == ota.READY:
            self._ready(target, rest)

    def _ready(self, target: Target, rest: bytes) -> None:
        if target.stage in (Stage.QUEUED, *_INSTALLED):
            target.stage, target.silent = Stage.FETCHING, 0
            target.attempts += 1
            if target.attempts > ATTEMPTS:
                target.stage, target.why = Stage.REFUSED, f"it did not get through in {ATTEMPTS} attempts"
                return
        if self._asked >= 0 and rest[:2] == self._asked.to_bytes(2, "little"):
            target.missing, target.silent = rest, 0

    def confirmed(self, now_ms: int) -> None:
        """The gateway has sent a frame."""
        self._unconfirmed = max(0, self._unconfirmed - 1)
        self._moved_ms = now_ms

    # What to say

    def due(self, now_ms: int) -> list[bytes]:
        """Return payloads to be sent now, in this order."""
        self._now_ms = now_ms
        if self._unconfirmed and now_ms - self._moved_ms > STUCK_MS:
            self._unconfirmed = 0
        if not self._out and not self._unconfirmed and (now_ms >= self._wait_ms or self._answered()):
            self._wait_ms = now_ms
            next(self._script)
        ready = self._out[: max(0, FLOW - self._unconfirmed)]
        del self._out[: len(ready)]
        if ready:
            self._unconfirmed += len(ready)
            self._moved_ms = now_ms
            self.sent += len(ready)
            self.sent_bytes += sum(map(len, ready))
        return ready

    def _answered(self) -> bool:
        """Whether everybody who was asked has answered."""
        return self._asked >= 0 and all(target.missing is not None for target in self._open())

    def _fetching(self) -> list[Target]:
        return [target for target in self.targets.values() if target.stage == Stage.FETCHING]

    def _say(self, op: int, body: bytes) -> None:
        self._out.append(bytes([op]) + self.bundle.name + body)

    def _wait(self, ms: int) -> None:
        """Go on after so long, counted from when all was sent."""
        self._wait_ms = self._now_ms + ms

    def _run(self) -> Iterator[None]:
        """The script: each `yield` ends a turn."""
        while True:
            for _ in range(OFFERS):  # whoever misses it now costs a pass of its own later
                if not self._offer():
                    break
                yield
                self._wait(OFFER_MS)
                yield
            while self._fetching():  # those who wake meanwhile get what they have missed in another pass
                yield from self._transfer()
            yield from self._install()
            yield

    def _offer(self) -> bool:
        """Offer the update to the boards that are awake and have not come to an end; False when there is none."""
        targets = self.targets.values()
        awake = [
            target.node
            for target in targets
            if target.stage in (Stage.QUEUED, *_INSTALLED)
            and target.node != self.gateway
            and self._now_ms >= target.rest_ms
            and self._now_ms - max(target.heard_ms, self._window_ms) < AWAKE_MS
        ]
        # The gateway, which never sleeps, listens when others do, or when no other one is left.
        own = self.targets.get(self.gateway)
        waits = own is not None and own.stage in (Stage.QUEUED, *_INSTALLED) and self._now_ms >= own.rest_ms
        if waits and (awake or not self._others()):
            awake.append(self.gateway)
        if not awake or self._now_ms - self._offered_ms < OFFER_MS:
            return False
        self._offered_ms = self._now_ms
        for node in awake:
            if self.targets[node].stage in _INSTALLED:  # nothing to fetch: once a radio window is enough
                self.targets[node].rest_ms = self._now_ms + ASK_MS
        head = struct.pack("<I4sH", self.bundle.sequence, self.bundle.build, len(self.bundle.parts[0]))
        for at in range(0, len(awake), NODES_MAX):
            self._say(ota.OFFER, head + _numbers(awake[at : at + NODES_MAX]))
        return True

    def _others(self) -> list[Target]:
        """The boards beside the gateway that have not come to an end."""
        return [t for t in self.targets.values() if t.node != self.gateway and t.stage not in ENDED]

    def _transfer(self) -> Iterator[None]:
        """Send what the boards that listen lack."""
        batches, began = self.bundle.batches(), {target.node for target in self._fetching()}
        for number, batch in enumerate(batches):
            yield from self._batch(*batch)
            if not self._fetching():
                return
            for target in self._fetching():
                target.done = (number + 1) / len(batches)
            if self._offer():  # somebody else may have woken
                yield
        for target in self._fetching():
            if target.node in began:
                target.stage = Stage.COMPLETE

    def _batch(self, first: int, count: int) -> Iterator[None]:
        """Ask and send until each board has once said that it lacks nothing, or has fallen silent."""
        self._left = {target.node for target in self._fetching()}
        while self._open():
            for target in self._open():
                target.missing = None
            slots = min(255, max(4, 2 * len(self._fetching())))
            self._say(ota.POLL, struct.pack("<HBB", first, count, slots))
            self._asked = first
            yield
            self._wait(slots * SLOT_MS + ANSWER_MS)
            yield
            self._asked = -1
            wanted: set[int] = set()
            for target in self._open():
                if target.missing is None:
                    target.silent += 1
                    if target.silent >= ASKED:
                        target.stage = Stage.QUEUED
                elif any(target.missing[2:]):
                    wanted |= _bits(target.missing[2:])
                else:
                    self._left.discard(target.node)
            self._send(first, count, wanted)
            if self._out:
                yield

    def _open(self) -> list[Target]:
        """The boards that may still lack something of the present batch."""
        return [target for target in self._fetching() if target.node in self._left]

    def _send(self, first: int, count: int, wanted: set[int]) -> None:
        at = 0
        for index in range(first, first + count):
            for chunk in range(self.bundle.chunks(index)):
                if at in wanted:
                    self._say(ota.CHUNK, struct.pack("<HH", index, chunk) + self.bundle.chunk(index, chunk))
                at += 1

    def _install(self) -> Iterator[None]:
        """Let the boards that have everything restart; the gateway only when no other board needs it any more."""
        asked: set[int] = set()
        for _ in range(INSTALLS):
            ready = [target.node for target in self.targets.values() if target.stage == Stage.COMPLETE]
            if self._others():
                ready = [node for node in ready if node != self.gateway]
            if not ready:
                break
            asked |= set(ready)
            for at in range(0, len(ready), NODES_MAX):
                self._say(ota.INSTALL, _numbers(ready[at : at + NODES_MAX]))
            yield
            self._wait(INSTALL_MS)
            until_ms = self._wait_ms
            while self._now_ms < until_ms and any(self.targets[node].stage == Stage.COMPLETE for node in ready):
                self._wait(100)
                yield
        for target in self.targets.values():
            if target.stage == Stage.COMPLETE and target.node in asked:
                target.stage = Stage.QUEUED


def _numbers(nodes: list[int]) -> bytes:
    return b"".join(node.to_bytes(4, "little") for node in nodes)


def _bits(data: bytes) -> set[int]:
    return {8 * i + k for i, byte in enumerate(data) for k in range(8) if byte >> k & 1}
