"""Carries out the waiting update through the gateway of a running collector: the join of `rollout` and real ports."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from qres import packet, telemetry

from qres_host.collector import Collector
from qres_host.ota import job as jobs
from qres_host.ota.job import Job, Progress
from qres_host.ota.rollout import ENDED, Rollout, Stage
from qres_host.records import Event, Found, Frames, Joined, Ota

TICK_S = 0.01
LOOK_S = 1.0  # between two looks for a job
TOLD_S = 0.5  # between two words on how far it is
ASK_S = 2.0  # between two questions who the gateway is
SENTINEL = 1  # of the telemetry field `role`
GONE_S = 7 * 86_400  # a board that the gateway has not heard for so long is no longer one of the swarm


class Courier:
    """Give `listen` to a collector, then `start` with it; it looks for a job by itself until `stop`."""

    def __init__(self, swarm: str) -> None:
        """`swarm`: fingerprint of the collector's swarm key; jobs for other swarms are left alone."""
        self.progress: Progress | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._collector: Collector | None = None
        self._job: Job | None = None
        self._rollout: Rollout | None = None
        self._gateway = ""  # its device
        self._sentinels: dict[str, int] = {}  # that said so of themselves, by device
        self._offers: tuple[str, object] | None = None  # a gateway's device, and whom it knows
        self._swarm = swarm
        self._confirmed = False  # the gateway knows updates
        self._refused = ""

    def start(self, collector: Collector) -> None:
        """Begin to look for jobs and to carry them out."""
        self._collector = collector
        self._thread = threading.Thread(target=self._work, name="qres-ota", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a job that is not over waits for the next one who holds the gateway."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def listen(self, found: Sequence[Found]) -> None:
        """Take decoded records."""
        if self._job is None:
            return
        now_ms = _now_ms()
        with self._lock:
            for record in found:
                self._take(now_ms, record)

    def _take(self, now_ms: int, record: Found) -> None:
        rollout = self._rollout
        if isinstance(record, Frames):
            for at in record.packets():
                own = at.rssi_dbm == 0  # of the board on the cable itself
                if own and at.told is not None and telemetry.unpack(at.told)["role"] == SENTINEL:
                    self._sentinels[at.device] = at.node
                if rollout is not None:
                    rollout.heard(now_ms, at.node, at.kind)
        elif isinstance(record, Event):
            self._event(now_ms, record)
        elif rollout is not None:
            if isinstance(record, Ota):
                rollout.said(now_ms, record.node, record.payload)
            elif isinstance(record, Joined):
                rollout.joined(now_ms, record.node, record.build)

    def _event(self, now_ms: int, record: Event) -> None:
        value = record.value or {}
        if record.kind == "peers":
            if self._rollout is None and record.device in self._sentinels:  # whose telemetry it follows
                self._offers = (record.device, value.get("peers"))
        elif self._rollout is None or record.device != self._gateway:
            return
        elif record.kind == "reply" and value.get("cmd") == "ota":
            self._confirmed = True
            self._rollout.confirmed(now_ms)
        elif record.kind == "reply" and "unknown command" in str(value.get("error", "")) and not self._confirmed:
            self._refused = "the gateway's application knows no updates: `qres deploy` it first"
        elif record.kind == "hello":
            try:
                build, mac = bytes.fromhex(value["build"]), bytes.fromhex(str(value["mac"]).replace(":", ""))
            except (KeyError, TypeError, ValueError):
                return
            if len(mac) == 6:
                self._rollout.joined(now_ms, packet.node_id(mac), build)

    def _begin(self, device: str, peers: object) -> None:
        assert self._job is not None
        self._gateway, gateway = device, self._sentinels[device]
        rows = [row for row in peers if isinstance(row, list) and len(row) == 3] if isinstance(peers, list) else []
        known = [row[0] for row in rows if isinstance(row[0], int) and isinstance(row[2], int) and row[2] < GONE_S]
        nodes = self._job.nodes if self._job.nodes is not None else [*known, gateway]
        self._rollout = Rollout(self._job.bundle, list(dict.fromkeys(nodes)), gateway)
        before = jobs.load_progress()
        for row in before.boards if before is not None and before.name == self._job.bundle.name.hex() else ():
            target = self._rollout.targets.get(int(row["node"]))
            if target is not None and row["stage"] in ENDED:
                target.stage, target.why, target.done = Stage(row["stage"]), str(row["why"]), float(row["done"])

    def _work(self) -> None:
        while not self._stopping.is_set():
            found = jobs.load()
            before = jobs.load_progress()
            done = before is not None and before.over
            if found is None or done or found.swarm != self._swarm:
                self._stopping.wait(LOOK_S)
                continue
            with ExitStack() as stack:
                self._carry_out(found, stack)

    def _carry_out(self, job: Job, stack: ExitStack) -> None:
        """Work on a job until it is over, replaced or dropped, or until `stop`. Only who has its gateway holds it."""
        with self._lock:
            self._job, self._rollout, self._offers, self._refused, self._confirmed = job, None, None, "", False
        told_s = asked_s = looked_s = 0.0
        while not self._stopping.is_set():
            now_s = time.monotonic()
            if self._rollout is None and now_s - asked_s > ASK_S:
                asked_s = now_s
                self._send_all("status")
            if self._rollout is None and self._offers is not None:
                if not stack.enter_context(jobs.held()):
                    self._stopping.wait(LOOK_S)
                    break
                with self._lock:
                    self._begin(*self._offers)
            self._say()
            if self._rollout is not None and now_s - told_s > TOLD_S:
                told_s = now_s
                if self._tell(job).over:
                    break
            if now_s - looked_s > LOOK_S:
                looked_s = now_s
                there = jobs.load()
                if there is None or there.bundle.name != job.bundle.name:
                    break
            self._stopping.wait(TICK_S)
        if self._rollout is not None:
            self._tell(job)
        with self._lock:
            self._job = None

    def _say(self) -> None:
        with self._lock:
            ready = self._rollout.due(_now_ms()) if self._rollout is not None else []
        for payload in ready:
            self._send_all("ota", base64.b64encode(payload).decode(), self._gateway)

    def _send_all(self, command: str, argument: object = None, name: str = "") -> None:
        assert self._collector is not None
        for device in list(self._collector.devices):
            if not name or device.name == name:
                self._collector.send(device, command, argument)

    def _tell(self, job: Job) -> Progress:
        now_ms, now_s = _now_ms(), int(time.time())
        with self._lock:
            rollout = self._rollout
            told = Progress(job.bundle.name.hex(), job.bundle.build.hex(), gateway=self._gateway, error=self._refused)
            if rollout is not None:
                told.frames, told.frame_bytes = rollout.sent, rollout.sent_bytes
                told.over = rollout.over or bool(self._refused)
                for target in rollout.targets.values():
                    heard_s = now_s - (now_ms - target.heard_ms) // 1000 if target.heard_ms >= 0 else 0
                    row = {"node": target.node, "stage": target.stage.value, "why": target.why}
                    told.boards.append({**row, "done": round(target.done, 3), "heard_s": heard_s})
        there = jobs.load()
        if there is not None and there.bundle.name == job.bundle.name:  # else it was dropped or replaced
            jobs.save_progress(told)
        self.progress = told
        return told


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
