"""A node in this process and the same node on a MicroPython machine do the same, to the byte and the microsecond."""

from __future__ import annotations

from pathlib import Path

import pytest
from qres_host.virtual.hub import Hub
from qres_host.virtual.playback import make_weather
from qres_host.virtual.specs import make_specs

Entry = tuple[int, int, str, bytes]
DAY_US = 86_400_000_000


def run(folder: Path, kind: str, boards: int, days: float, **settings: object) -> tuple[list[Entry], Hub]:
    folder.mkdir()
    recordings = make_weather(boards)
    log: list[Entry] = []
    specs = make_specs(recordings, kind=kind, **settings)
    hub = Hub(specs, folder, seed=3, loss=0.1, start_us=recordings[0].t0_ms * 1000)
    try:
        hub.log = lambda *entry: log.append(entry)
        hub.run_until(hub.start_us + int(days * DAY_US))
    finally:
        hub.close()
    return log, hub


@pytest.mark.parametrize("settings", [{}, {"trace": True, "epoch_ms": 7_200_000}])
def test_machines_and_nodes_in_process_agree(tmp_path: Path, settings: dict[str, object]) -> None:
    machines, hub = run(tmp_path / "vm", "vm", 3, 1.0, **settings)
    nodes, other = run(tmp_path / "inproc", "inproc", 3, 1.0, **settings)
    for number, (ours, theirs) in enumerate(zip(machines, nodes, strict=False)):
        assert ours == theirs, f"entry {number} of {len(machines)}"
    assert len(machines) == len(nodes) > 60
    assert hub.digest() == other.digest()
    assert hub.status()["radio"] == other.status()["radio"]
    assert not any(board["crashes"] or board["kills"] for board in hub.status()["boards"])


def test_no_board_of_the_swarm_fails(tmp_path: Path) -> None:
    log, hub = run(tmp_path / "a", "inproc", 15, 3.0)
    assert not [data for _, _, what, data in log if (what == "said" and b"Traceback" in data) or b"Error: " in data]
    status = hub.status()
    assert status["radio"]["delivered"] > 0
    for board in status["boards"][1:]:
        assert board["asleep_ms"] + board["light_ms"] > 0.9 * 3 * 86_400_000
