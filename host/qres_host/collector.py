"""From ports to pictures: read, capture, deframe, decode, show, store; every loss on the way is counted.

One thread reads all ports and appends to the capture before anything else happens to the bytes. A second
decodes, behind a bounded queue, into the view and the store. A third, in the store, writes. When decoding
cannot keep up, chunks are dropped there and counted; the capture has them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from qres_host.acknowledge import commands
from qres_host.capture import CaptureReader, CaptureWriter, Record
from qres_host.devices import Device, Uri
from qres_host.errors import QresError
from qres_host.store import Store
from qres_host.streams import Event, Found, Streams, points_frames
from qres_host.view import View
from qres_host.wire import Deframer

QUEUE_CHUNKS = 4096
SYNC_S = 1.0  # the longest time between a byte's arrival and its being safe from a power cut
_POLL_S = 0.05
LINES_KEPT = 500
POINTS_DEVICE = "checkpoints"  # in a capture: what a run began with


class Line(NamedTuple):
    """A line of a board for people: arrival in ms of the capture, device, kind (text, log, reply), text."""

    arrival_ms: int
    device: str
    kind: str
    text: str


class Decoder:
    """Bytes of ports to records, view and store: the part that a live run and a replay share.

    `listen` is called with the records of each chunk, in the thread that feeds.
    """

    def __init__(
        self,
        swarm_key: bytes,
        view: View | None = None,
        store: Store | None = None,
        listen: Callable[[Sequence[Found]], None] | None = None,
    ) -> None:
        self.streams = Streams(swarm_key)
        self.view = view
        self.store = store
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self.line_count = 0  # of all that came
        self.dropped = 0  # chunks that a full queue kept from being decoded
        self._listen = listen
        self._deframers: dict[str, Deframer] = {}

    def feed(self, record: Record, wait: bool = False) -> list[Found]:
        """Decode one chunk; returns its records. `wait` blocks when the store is behind, instead of dropping."""
        deframer = self._deframers.get(record.device)
        if deframer is None:
            deframer = self._deframers[record.device] = Deframer()
        # An empty chunk marks where the port went away: what it left unfinished never ends.
        items = deframer.feed(record.data) if record.data else deframer.close()
        found = self.streams.feed(record.arrival_ms, record.device, items)
        for item in found:
            if isinstance(item, Event) and item.kind in ("text", "log", "reply"):
                for text in item.text.splitlines():
                    self.lines.append(Line(record.arrival_ms, record.device, item.kind, text))
                    self.line_count += 1
        if self.view is not None:
            self.view.fold(found)
            self.view.set_links(self.counters())
        if self.store is not None:
            self.store.put(found, wait)
        if self._listen is not None:
            self._listen(found)
        return found

    def lines_since(self, number: int) -> list[Line]:
        """Return the lines after the first `number` ones, as far back as they are kept."""
        fresh = self.line_count - number
        return list(self.lines)[-fresh:] if fresh > 0 else []

    def counters(self) -> dict[str, int]:
        """Return what was counted: frames, losses and refusals of all ports together."""
        each = list(self._deframers.values())
        return {
            "serial_frames": sum(d.frames for d in each),
            "serial_gaps": sum(d.gaps for d in each),
            "serial_bad": sum(d.bad + d.oversize for d in each),
            "serial_restarts": sum(d.restarts for d in each),
            "accepted": self.streams.accepted,
            "duplicates": self.streams.duplicates,
            "rejected": self.streams.rejected,
            "held": self.streams.held,
            "held_lost": self.streams.held_lost,
            "dropped": self.dropped + (self.store.dropped if self.store is not None else 0),
        }


class Collector:
    """Collects from any number of devices until `stop`. Use it as a context manager, or call `start`.

    `devices`: URIs; ports that are away are opened when they come. `capture_dir` and `db_path` are optional.
    Tells the gateways which packets it decoded, unless `acknowledge` is false.
    With `must_open` a device that cannot be opened at `start` raises its QresError; else it is tried again.
    """

    def __init__(
        self,
        devices: Iterable[Uri],
        swarm_key: bytes,
        view: View | None = None,
        capture_dir: str | os.PathLike[str] | None = None,
        db_path: str | os.PathLike[str] | None = None,
        must_open: bool = False,
        queue_chunks: int = QUEUE_CHUNKS,
        listen: Callable[[Sequence[Found]], None] | None = None,
        acknowledge: bool = True,
    ) -> None:
        self.view = view if view is not None else View()
        uris = list(devices)
        self.devices = [Device(uri) for uri in uris if uri.scheme != "replay"]
        self._played = [CaptureReader(uri.target) for uri in uris if uri.scheme == "replay"]
        self.error: QresError | None = None
        self.chunks = self.bytes = 0
        self._capture = CaptureWriter(capture_dir) if capture_dir is not None else None
        self._store = Store(db_path, self._capture.started_ms if self._capture else 0) if db_path else None
        self.decoder = Decoder(swarm_key, self.view, self._store, listen)
        self._must_open = must_open
        self._acknowledge = acknowledge
        self._queue: queue.Queue[Record | None] = queue.Queue(queue_chunks)
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._started_s = time.monotonic()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Open the devices and begin. Raises QresError when `must_open` and one does not open."""
        if self._must_open:
            try:
                for device in self.devices:
                    device.open()
                    self._selector.register(device.fd, selectors.EVENT_READ, device)
            except QresError:
                self.stop()
                raise
        self._restore_points()
        bodies = [("qres-read", self._read_loop), ("qres-decode", self._decode_loop)]
        bodies += [("qres-play", partial(self._play_loop, capture)) for capture in self._played]
        for name, body in bodies:
            thread = threading.Thread(target=body, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _restore_points(self) -> None:
        """Take the checkpoints of an earlier run from the database; the capture gets them too, for its replay."""
        data = points_frames(self._store.points()) if self._store is not None else b""
        if data:
            if self._capture is not None:
                self._capture.append(self._now_ms(), POINTS_DEVICE, data)
            self.decoder.feed(Record(self._now_ms(), POINTS_DEVICE, data))

    def stop(self) -> None:
        """Read no more, decode what was read, write and close everything. Stopping twice is harmless.

        Raises QresError when capture or database could not be written.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads = []
        for device in self.devices:
            device.close()
        self._selector.close()
        if self._capture is not None:
            self._capture.close()
        if self._store is not None:
            store, self._store = self._store, None
            store.close()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def send(self, device: Device, command: str, argument: object = None) -> bool:
        """Send a command line to a board; False when its port is away."""
        line = json.dumps({"cmd": command, "arg": argument}, separators=(",", ":"))
        return device.write(line.encode() + b"\n")

    def _answer(self, name: str, found: Sequence[Found]) -> None:
        """Acknowledge what came from a port through that port."""
        device = next((each for each in self.devices if each.name == name), None)
        if self._acknowledge and device is not None:
            for command, argument in commands(found):
                self.send(device, command, argument)

    def counters(self) -> dict[str, int]:
        """Return everything that was counted, with chunks and bytes read and the ports' reopenings."""
        reopened = sum(max(device.opens - 1, 0) for device in self.devices)
        return {**self.decoder.counters(), "chunks": self.chunks, "bytes": self.bytes, "reopened": reopened}

    def _now_ms(self) -> int:
        if self._capture is not None:
            return self._capture.now_ms()
        return int((time.monotonic() - self._started_s) * 1000)

    def _read_loop(self) -> None:
        try:
            while not self._stopping.is_set():
                for device in self.devices:
                    if device.poll_open():
                        self._selector.register(device.fd, selectors.EVENT_READ, device)
                if not self._selector.get_map():
                    self._stopping.wait(_POLL_S)
                for key, _ in self._selector.select(_POLL_S):
                    self._read(key.data, key.fd)
        except QresError as error:  # the disk is full: say so instead of collecting into nothing
            self.error = error
        finally:
            self._finish_reading()

    def _read(self, device: Device, fd: int) -> None:
        data = device.read()
        if data is None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            data = b""
        elif not data:
            return
        arrival_ms = self._now_ms()
        if self._capture is not None:
            self._capture.append(arrival_ms, device.name, data)
        self.chunks += 1
        self.bytes += len(data)
        try:
            self._queue.put_nowait(Record(arrival_ms, device.name, data))
        except queue.Full:
            self.decoder.dropped += 1

    def _finish_reading(self) -> None:
        """Tell the decoder to end, however full its queue is."""
        while True:
            try:
                self._queue.put(None, timeout=0.5)
                return
            except queue.Full:
                continue

    def _play_loop(self, capture: CaptureReader) -> None:
        """Feed a capture at the pace at which it was taken (times the view's speed)."""
        started_s, speed = time.monotonic(), self.view.speed or 1.0
        for record in capture:
            due_s = started_s + record.arrival_ms / 1000 / speed - time.monotonic()
            if self._stopping.wait(max(due_s, 0)):
                return
            try:
                self._queue.put_nowait(record)
            except queue.Full:
                self.decoder.dropped += 1

    def _decode_loop(self) -> None:
        synced_s = time.monotonic()
        while True:
            try:
                record = self._queue.get(timeout=SYNC_S)
                if record is None:
                    return
                self._answer(record.device, self.decoder.feed(record))
            except queue.Empty:
                pass
            # Here and not where ports are read: a disk may take longer than a board's buffer lasts.
            if self._capture is not None and time.monotonic() - synced_s >= SYNC_S:
                self._capture.sync()
                synced_s = time.monotonic()
