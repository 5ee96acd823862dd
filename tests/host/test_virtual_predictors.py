"""Virtual boards with several sensors predict by taaf, lstm and mix, and keep what they learned through deep sleep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from qres_host.virtual.hub import Hub
from qres_host.virtual.playback import WEATHER_CHANNELS, make_weather
from qres_host.virtual.specs import make_specs

DAYS = 1.5


def run(
    folder: Path, kind: str, predictors: Sequence[str], channels: Sequence[str]
) -> tuple[list[tuple[int, int, str, bytes]], Hub]:
    """A sentinel and a sensing board for each predictor; what they did, and the hub."""
    folder.mkdir()
    recordings = make_weather(len(predictors), channels)
    log: list[tuple[int, int, str, bytes]] = []
    specs = make_specs(recordings, kind=kind, predictors=predictors)
    hub = Hub(specs, folder, seed=4, start_us=recordings[0].t0_ms * 1000)
    try:
        hub.log = lambda *entry: log.append(entry)
        hub.run_until(hub.start_us + int(DAYS * 86_400_000_000))
    finally:
        hub.close()
    return log, hub


@pytest.mark.parametrize(
    "predictors, channels", [(("taaf", "lstm", "rls"), WEATHER_CHANNELS), (("mix",), WEATHER_CHANNELS[:1])]
)
def test_machines_with_rich_predictors_do_what_nodes_in_process_do(
    tmp_path: Path, predictors: Sequence[str], channels: Sequence[str]
) -> None:
    machines, hub = run(tmp_path / "vm", "vm", predictors, channels)
    nodes, other = run(tmp_path / "inproc", "inproc", predictors, channels)
    assert machines == nodes and hub.digest() == other.digest()
    for board in hub.status()["boards"][1:]:
        assert board["boots"] > 24, "each sample ends a deep sleep"
        assert not board["crashes"] and not board["kills"]
