"""A virtual board's life, deep sleep and all, captured from its port and repeated on the host bit for bit."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from qres_host.capture import CaptureReader
from qres_host.collector import Collector
from qres_host.devices import Uri
from qres_host.traces import lines_of_capture, replay_trace
from qres_host.virtual import playback
from qres_host.virtual.specs import DEMO_KEY, make_specs
from qres_host.virtual.swarm import Swarm

DAY_MS = 86_400_000


@pytest.mark.parametrize("kind", ["vm", "inproc"])
def test_a_boards_run_is_repeated_bit_for_bit(kind: str, tmp_path: Path) -> None:
    specs = make_specs(playback.make_weather(1), kind=kind, trace=True)
    swarm = Swarm(specs, speed=21_600, links=tmp_path / "links")
    ports = [Uri("serial", str(swarm.links / spec.name)) for spec in specs]
    swarm.start()
    try:
        with Collector(ports, bytes.fromhex(DEMO_KEY), None, tmp_path / "capture") as collector:
            give_up = time.monotonic() + 60
            while time.monotonic() < give_up and collector.view.now_ms() < swarm.start_ms + DAY_MS:
                time.sleep(0.1)
            assert collector.view.totals()["streams_exact"] == 1
    finally:
        swarm.stop()
    for spec, port in zip(specs, ports, strict=True):
        lines = lines_of_capture(CaptureReader(tmp_path / "capture"), str(port))
        outcome = replay_trace(lines, spec.config, spec.name)
        assert outcome.difference is None
        assert outcome.skipped == 0 and outcome.steps > 20
        states = {json.loads(line).get("s") for _, line in lines}
        assert len(states) > 20, "the trace tells one state from another"
