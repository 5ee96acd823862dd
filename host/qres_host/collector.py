"""From ports to pictures: read, capture, deframe, decode, show, store; every loss on the way is counted.

One thread reads all ports and appends to the capture before anything else happens to the bytes. A second
decodes, behind a bounded queue, into the view and the store. A third, in the store, writes. When decoding
cannot keep up, chunks are dropped there and counted; the capture has them. No port may fill that queue alone, so
a board that floods its cable costs the others nothing.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from qres_host.acknowledge import commands
from qres_host.capture import CaptureReader, CaptureWriter, Record
from qres_host.decoder import Decoder, batches
from qres_host.devices import Device, Uri, port_path
from qres_host.errors import QresError
from qres_host.records import Event, Found
from qres_host.store import Store
from qres_host.streams import points_frames
from qres_host.talk import Command, Outcome, Talk
from qres_host.view import View
from qres_host.words import Line

QUEUE_CHUNKS = 4096
SYNC_S = 1.0  # the longest time between a byte's arrival and its being safe from a power cut
_POLL_S = 0.1
# Waking is dear: what comes in small pieces is cheaper in larger ones. So between two looks at the ports it waits, and
_GATHER_S = 0.04  # for quiet ports so long,
_MANY_CHUNKS, _MANY_S = 16, 0.1  # for many quiet ones longer,
_BUSY_BYTES, _BUSY_S = 1024, 0.02  # and for one that gave so much less: a driver holds 4 KB, then a board must wait
_JOIN_BYTES = 32768  # of a port read at one look, in one chunk; whoever gave as much is read again at once
_LONG_S = 0.25  # and decoding waits so long while more comes than any swarm says:
_MANY_BYTES_S = 150_000  # in a second
_LOOK_S = 1.0  # between two looks for boards that were not there yet
ANSWER_MS = 30_000  # in which a board must answer a command
POINTS_DEVICE = "checkpoints"  # in a capture: what a run began with


class Collector:
    """Collects from any number of devices until `stop`. Use it as a context manager, or call `start`.

    `devices`: URIs; ports that are away are opened when they come. `capture_dir` and `db_path` are optional.
    Tells the gateways which packets it decoded, unless `acknowledge` is false.
    With `must_open` a device that cannot be opened at `start` raises its QresError; else it is tried again.
    `discover` returns the devices that are present: those that come later are collected from too.
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
        discover: Callable[[], list[Uri]] | None = None,
        tell: Callable[[Sequence[Line]], None] | None = None,
    ) -> None:
        self.view = view if view is not None else View()
        uris = list(devices)
        self.devices = [Device(uri) for uri in uris if uri.scheme != "replay"]
        self._played = [CaptureReader(uri.target) for uri in uris if uri.scheme == "replay"]
        self.error: QresError | None = None
        self.chunks = self.bytes = 0
        self._capture = CaptureWriter(capture_dir) if capture_dir is not None else None
        self._store = Store(db_path, self._capture.started_ms if self._capture else 0) if db_path else None
        self.decoder = Decoder(swarm_key, self.view, self._store, listen, tell)
        self.outcomes: deque[Outcome] = deque(maxlen=64)  # of commands that were asked
        self._must_open = must_open
        self._acknowledge = acknowledge
        self._discover = discover
        self._look_s = time.monotonic() + _LOOK_S
        self._talk = Talk(ANSWER_MS)
        self._talk_lock = threading.Lock()
        self._backlog: deque[Record] = deque()  # read, not yet decoded
        self._backlog_max = queue_chunks
        self._filled = threading.Event()
        self._finished = False  # nothing more will come into the backlog
        self._queued: Counter[str] = Counter()  # chunks of each device that went into the backlog ...
        self._taken: Counter[str] = Counter()  # ... and that came out again
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
                self._capture.append(self.now_ms(), POINTS_DEVICE, data)
            self.decoder.feed(Record(self.now_ms(), POINTS_DEVICE, data))

    def stop(self) -> None:
        """Read no more, decode what was read, write and close everything. Stopping twice is harmless.

        Raises QresError when capture or database could not be written.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self.decoder.close()
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
        """Send a command line to a board, once; False when its port is away or takes nothing."""
        return device.post(Command("", command, argument).line())

    def ask(self, name: str, command: Command) -> None:
        """Send a command to the device of that name until it is answered or half a minute has passed (`outcomes`)."""
        with self._talk_lock:
            self._talk.ask(self._clock_ms(), name, command)

    @property
    def asking(self) -> bool:
        """Whether the answer to a command is still due."""
        with self._talk_lock:
            return self._talk.busy

    def label(self, name: str) -> str:
        """Return what people call the board at a device: its own name, else that of the port."""
        told = self.decoder.names.get(name)
        if told:
            return told
        device = next((each for each in self.devices if each.name == name), None)
        board = self.view.board(device.mac) if device is not None and device.mac else None
        return str(board["name"]) if board and board["name"] else name.rpartition("/")[2]

    def unix_ms(self, arrival_ms: int) -> int:
        """Return the wall clock of an arrival."""
        return int(time.time() * 1000) - self.now_ms() + arrival_ms

    def _answer(self, found: Sequence[Found]) -> None:
        """Acknowledge what came from a port through that port; see which commands its replies end."""
        if self._acknowledge:
            for name, command, argument in commands(found):
                device = next((each for each in self.devices if each.name == name), None)
                if device is not None:
                    self.send(device, command, argument)
        for record in found:
            if isinstance(record, Event) and record.kind == "reply" and record.value is not None:
                with self._talk_lock:
                    outcome = self._talk.answered(self._clock_ms(), record.device, record.value)
                if outcome is not None:
                    self.outcomes.append(outcome)

    def _speak(self) -> None:
        """Write what is due to the boards."""
        with self._talk_lock:
            due = list(self._talk.due(self._clock_ms())) if self._talk.busy else []
            self.outcomes.extend(self._talk.expired(self._clock_ms()) if self._talk.busy else ())
        for device in self.devices:
            for name, line in due:
                if name == device.name:
                    device.post(line)
            device.drain()

    def _open(self) -> None:
        """Open what is away, and look for what is new."""
        if self._discover is not None and time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + _LOOK_S
            held = {device.mac or port_path(device.uri) for device in self.devices}
            for fresh in (Device(uri) for uri in self._discover()):
                if (fresh.mac or port_path(fresh.uri)) not in held:
                    self.devices.append(fresh)
        for device in self.devices:
            if device.poll_open():
                self._selector.register(device.fd, selectors.EVENT_READ, device)
                with self._talk_lock:
                    self._talk.opened(self._clock_ms(), device.name)

    @staticmethod
    def _clock_ms() -> int:
        return int(time.monotonic() * 1000)

    def counters(self) -> dict[str, int]:
        """Return everything that was counted, with chunks and bytes read and the ports' reopenings."""
        reopened = sum(max(device.opens - 1, 0) for device in self.devices)
        return {**self.decoder.counters(), "chunks": self.chunks, "bytes": self.bytes, "reopened": reopened}

    def now_ms(self) -> int:
        """Return the time of an arrival now, ms."""
        if self._capture is not None:
            return self._capture.now_ms()
        return int((time.monotonic() - self._started_s) * 1000)

    def _read_loop(self) -> None:
        cared_s = 0.0
        try:
            while not self._stopping.is_set():
                if time.monotonic() - cared_s >= _POLL_S:
                    self._open()
                    self._speak()
                    cared_s = time.monotonic()
                    if not self._selector.get_map():
                        self._stopping.wait(_POLL_S)
                ready = self._selector.select(_POLL_S)
                records = [record for key, _ in ready for record in self._read(key.data, key.fd)]
                if records:
                    self._keep(records)
                    time.sleep(_gather_s(records))
        except QresError as error:  # the disk is full: say so instead of collecting into nothing
            self.error = error
        finally:
            self._finished = True
            self._filled.set()

    def _read(self, device: Device, fd: int) -> list[Record]:
        """Return what a port has, and an empty record where it has gone."""
        found, data = b"", device.read()
        while data:
            found += data
            data = device.read() if len(data) >= _BUSY_BYTES and len(found) < _JOIN_BYTES else b""
        now_ms = self.now_ms()
        records = [Record(now_ms, device.name, found)] if found else []
        if data is None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            records.append(Record(now_ms, device.name, b""))
        return records

    def _keep(self, records: Sequence[Record]) -> None:
        """Capture what was read, then leave it to be decoded."""
        if self._capture is not None:
            self._capture.extend(records)
        share = max(self._backlog_max // max(len(self.devices), 1), 1)
        for record in records:
            self.chunks += 1
            self.bytes += len(record.data)
            name = record.device
            if self._queued[name] - self._taken[name] >= share or len(self._backlog) >= self._backlog_max:
                self.decoder.dropped += 1
                continue
            self._queued[name] += 1
            self._backlog.append(record)
        if not self._filled.is_set():
            self._filled.set()

    def _play_loop(self, capture: CaptureReader) -> None:
        """Feed a capture at the pace at which it was taken (times the view's speed)."""
        started_s, speed = time.monotonic(), self.view.speed or 1.0
        for record in capture:
            due_s = started_s + record.arrival_ms / 1000 / speed - time.monotonic()
            if self._stopping.wait(max(due_s, 0)):
                return
            if len(self._backlog) >= self._backlog_max:
                self.decoder.dropped += 1
                continue
            self._backlog.append(record)
            self._filled.set()

    def _decode_loop(self) -> None:
        synced_s, wait_s = time.monotonic(), _GATHER_S
        while not self._finished or self._backlog:
            self._filled.wait(SYNC_S)
            self._filled.clear()
            size = 0
            for records in batches(self._waiting()):
                size += sum(len(record.data) for record in records)
                self._taken.update(record.device for record in records)
                self._answer(self.decoder.feed_all(records))
                synced_s = self._sync(synced_s)
            synced_s = self._sync(synced_s)
            wait_s = _LONG_S if size > _MANY_BYTES_S * wait_s else _GATHER_S
            self._stopping.wait(wait_s)

    def _waiting(self) -> Iterator[Record]:
        """Take what was read from the backlog, until it is empty."""
        while self._backlog:
            yield self._backlog.popleft()

    def _sync(self, synced_s: float) -> float:
        """Make the capture safe once a second: here and not where ports are read, because a disk may take longer than
        a board's buffer lasts. Returns when it was so last."""
        if self._capture is None or time.monotonic() - synced_s < SYNC_S:
            return synced_s
        self._capture.sync()
        return time.monotonic()


def _gather_s(records: Sequence[Record]) -> float:
    """Return how long to wait for more, after so much came at once."""
    most = max(len(record.data) for record in records)
    if most >= _BUSY_BYTES:
        return _BUSY_S if most < _JOIN_BYTES else 0.0
    return _GATHER_S if len(records) < _MANY_CHUNKS else _MANY_S
