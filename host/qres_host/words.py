"""What boards say to people: lines, with tracebacks resolved to source, and what is wrong with a port told in one line.

A line that a board prints and reports as LOG as well is shown once. Nothing here grows without bound.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from qres_host.records import Event
from qres_host.source import source_line

LINES_KEPT = 500
CRASHES_KEPT = 20
WINDOW_MS = 60_000  # in which restarts are counted
RESTARTS_MANY = 3  # in a window: more than people cause
FLOOD_LINES = 2000  # a second: more than anyone reads
_BEGIN = "Traceback (most recent call last):"
_FILE = re.compile(r'  File "([^"]+)", line (\d+), in ')
_FRAMES_MAX = 40  # of a traceback; deeper ones are recursion
_SILENT = ("ack", "nak", "ota")  # commands whose answers nobody asked for


class Line(NamedTuple):
    """A line of a board for people: arrival in ms, device, kind (text, log, reply, source, note), text."""

    arrival_ms: int
    device: str
    kind: str
    text: str


class Crash(NamedTuple):
    """A traceback that a board printed: when it ended, device, error, innermost place with its source line."""

    arrival_ms: int
    device: str
    error: str
    place: str


class _Speaker:
    """What is remembered of one device."""

    def __init__(self) -> None:
        self.traceback: list[str] = []  # the one that is being printed
        self.printed: deque[str] = deque(maxlen=_FRAMES_MAX)  # what a LOG frame may repeat
        self.restarts: deque[int] = deque(maxlen=64)
        self.lines = self.second = self.second_lines = 0


class Words:
    """Lines of all devices in the order of their arrival. `count`: of all that came; `crashes`: the last tracebacks."""

    def __init__(self) -> None:
        self.kept: deque[Line] = deque(maxlen=LINES_KEPT)
        self.crashes: deque[Crash] = deque(maxlen=CRASHES_KEPT)
        self.count = 0
        self.builds: dict[str, bytes] = {}  # by device: what runs there, where it told
        self._speakers: dict[str, _Speaker] = {}
        self._now_ms = 0

    def take(self, event: Event) -> list[Line]:
        """Take an event of a gateway; return the lines that it brings, none when it is no speech."""
        self._now_ms = max(self._now_ms, event.arrival_ms)
        speaker = self._speakers.setdefault(event.device, _Speaker())
        if event.kind == "text":
            lines = self._said(speaker, event)
        elif event.kind == "log":
            fresh = [text for text in event.text.splitlines() if text not in speaker.printed]
            lines = [Line(event.arrival_ms, event.device, "log", text) for text in fresh]
        elif event.kind == "reply" and (event.value or {}).get("cmd") not in _SILENT:
            lines = [Line(event.arrival_ms, event.device, "reply", answer_text(event.value or {}, event.text))]
        else:
            return []
        self.kept.extend(lines)
        self.count += len(lines)
        second = event.arrival_ms // 1000
        if second != speaker.second:
            speaker.lines = speaker.second_lines if second == speaker.second + 1 else 0
            speaker.second, speaker.second_lines = second, 0
        speaker.second_lines += len(lines)
        return lines

    def since(self, number: int) -> list[Line]:
        """Return the lines after the first `number` ones, as far back as they are kept."""
        fresh = self.count - number
        return list(self.kept)[-fresh:] if fresh > 0 else []

    def note(self, now_ms: int, text: str) -> None:
        """Keep a line of this program itself."""
        self.kept.append(Line(now_ms, "qres", "note", text))
        self.count += 1

    def restarted(self, arrival_ms: int, device: str) -> None:
        """The board at a device began anew, by its own count or because its port came back."""
        self._now_ms = max(self._now_ms, arrival_ms)
        self._speakers.setdefault(device, _Speaker()).restarts.append(arrival_ms)

    def troubles(self, now_ms: int) -> Iterable[tuple[str, str]]:
        """Yield (device, what is wrong with it now), a line each."""
        for device, speaker in list(self._speakers.items()):
            recent = sum(now_ms - at < WINDOW_MS for at in list(speaker.restarts))
            if recent >= RESTARTS_MANY:
                yield device, f"restarted {recent} times in the last minute"
            rate = max(speaker.lines, speaker.second_lines)
            if rate >= FLOOD_LINES and now_ms - speaker.second * 1000 < 3000:
                yield device, f"floods its port: {rate:,} lines a second"

    def _said(self, speaker: _Speaker, event: Event) -> list[Line]:
        """A printed line, and behind a place in the firmware the source that stands there."""
        text = event.text
        lines = [Line(event.arrival_ms, event.device, "text", text)]
        speaker.printed.append(text)
        if text.strip() == _BEGIN:
            speaker.traceback = [text]
        elif speaker.traceback:
            place = _FILE.match(text)
            if place and len(speaker.traceback) < _FRAMES_MAX:
                speaker.traceback.append(text)
                found = source_line(place[1], int(place[2]), self.builds.get(event.device, b""))
                if found:
                    lines.append(Line(event.arrival_ms, event.device, "source", f"    {found}"))
                    speaker.traceback.append(found)
            elif not place:
                where = " ".join(part.strip() for part in speaker.traceback[-2:] if part.strip() != _BEGIN)
                self.crashes.append(Crash(event.arrival_ms, event.device, text, where))
                speaker.traceback = []
        return lines


def answer_text(answer: dict[str, Any], text: str = "") -> str:
    """Return a board's answer to a command for people; `text` where it is none that we know."""
    if "cmd" not in answer and "error" not in answer:
        return text
    head = answer.get("cmd", "refused")
    if "error" in answer:
        return f"{head}: {answer['error']}"
    rest = [f"{key} {_plain(value)}" for key, value in answer.items() if key not in ("cmd", "ok")]
    return f"{head}: {', '.join(sorted(rest, key=len))}" if rest else f"{head}: ok"


def _plain(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def board_build(text: str) -> bytes:
    """Return the hash of the application in the text of a HELLO, or none."""
    try:
        return bytes.fromhex(json.loads(text)["build"])
    except (ValueError, TypeError, KeyError):
        return b""
