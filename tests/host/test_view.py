"""The view: what dashboards show is what was heard, and it says when something is not right."""

from __future__ import annotations

import json

import pytest
from qres.detect import FAULT_BITS, MISSING, SATURATED, STUCK
from qres_host.capture import Record
from qres_host.decoder import Decoder
from qres_host.history import RING
from qres_host.view import View
from traffic import CHANNELS, GATEWAY_MAC, KEY, PERIOD_MS, T0_MS, Swarm, mac_of, telling, together, truth

TOTALS = {
    "samples",
    "packets",
    "frames_lost",
    "bytes_air",
    "bytes_raw",
    "bytes_every",
    "streams_exact",
    "streams",
    "mismatched",
    "rejected",
    "serial_gaps",
    "serial_bad",
    "dropped",
}
BOARD = {
    "mac",
    "id",
    "name",
    "role",
    "regime",
    "silence",
    "reputation_permille",
    "battery_permille",
    "battery_mv",
    "last_seen_ms",
    "next_wake_ms",
    "state",
    "samples",
    "spikes",
    "faults",
    "packets",
    "lost",
    "bytes_air",
    "bytes_raw",
    "epoch",
    "model_hash",
    "exact",
    "verified",
    "mismatched",
    "asleep_ppm",
    "channels",
    "spark",
}
MAC = mac_of(0).hex(":")


def show(data: bytes, boards: int = 3, honest: bool = True) -> View:
    """Return a view of traffic, with the truth of each board registered."""
    view = View()
    for board in range(boards):
        shift = 0 if honest else 1

        def read(index: int, board: int = board, shift: int = shift) -> tuple[int | None, ...]:
            return truth(board, index + shift)

        view.register(mac_of(board).hex(":"), f"board-{board}", "scheduled", CHANNELS, read)
    Decoder(KEY, view).feed(Record(0, "gate", data))
    view.freeze()
    return view


def test_the_fleet_has_the_shape_that_dashboards_rely_on() -> None:
    swarm = Swarm()
    fleet = show(b"".join(swarm.rounds(4))).fleet()
    assert json.loads(json.dumps(fleet)) == fleet
    assert set(fleet) >= {"now_ms", "speed", "swarm", "totals", "boards"}
    assert set(fleet["swarm"]) == {"epoch", "model_hash", "agreement_permille", "regime_counts"}
    assert set(fleet["totals"]) >= TOTALS and set(fleet["boards"][0]) >= BOARD
    assert [b["name"] for b in fleet["boards"]] == ["board-0", "board-1", "board-2", "gate"]
    first = fleet["boards"][0]
    assert (first["reputation_permille"], first["battery_permille"], first["asleep_ppm"]) == (500, 900, 950_000)
    assert len(first["spark"]) == 48 and first["samples"] == 64 and first["exact"]
    assert first["channels"][0] == {**CHANNELS[0], "last": first["spark"][-1]}


def test_every_sample_that_equals_the_input_is_verified() -> None:
    totals = show(b"".join(Swarm().rounds(4))).totals()
    assert (totals["verified"], totals["mismatched"]) == (192, 0)
    assert (totals["streams"], totals["streams_exact"], totals["frames_lost"]) == (3, 3, 0)
    assert totals["bytes_raw"] == 192 * 8 and totals["bytes_every"] == 192 * (8 + 18)


def test_a_wrong_sample_is_counted_and_the_stream_not_called_exact() -> None:
    totals = show(b"".join(Swarm().rounds(4)), honest=False).totals()
    assert totals["mismatched"] > 150 and totals["streams_exact"] == 0


def test_losses_are_shown_where_they_are() -> None:
    swarm = Swarm(1)
    parts = [swarm.announce()]
    start = swarm.index
    for lost in (False, True, False):
        frame = swarm.radio(swarm.data(0, 10, swarm.model))
        swarm.index += 10
        parts += [] if lost else [frame]
    view = show(b"".join(parts), 1)
    board = view.board(MAC)
    assert board is not None and board["lost"] == 1 and not board["exact"] and board["missing"] == 10
    series = view.series(MAC, 0, None, None, 100)
    assert series is not None
    assert series["gaps"] == [[(start + 10) * PERIOD_MS, (start + 20) * PERIOD_MS]]
    assert series["input"] == series["value"] == [truth(0, t // PERIOD_MS)[0] for t in series["t"]]
    assert view.totals()["serial_gaps"] == 1


def test_faults_of_sensors_are_named() -> None:
    view, said = View(), telling(1, faults=STUCK | (SATURATED | MISSING) << FAULT_BITS)
    view.register("02:00:00:00:00:01", channels=[{"name": "temp"}, {"name": "wind"}])
    assert [board["faults"] for board in view.fleet()["boards"]] == [[]]
    view.fold([together([said])])
    assert [board["faults"] for board in view.fleet()["boards"]] == [["temp stuck", "wind saturated", "wind missing"]]


def test_thinning_keeps_peaks_and_spikes() -> None:
    swarm = Swarm(1)
    start = swarm.index
    view = show(b"".join(swarm.rounds(40)), 1)
    whole, thin = view.series(MAC, 0, None, None, 20_000), view.series(MAC, 0, None, None, 40)
    assert whole is not None and thin is not None
    assert len(whole["t"]) == 640 and len(thin["t"]) < 120
    assert thin["t"] == sorted(thin["t"]) and max(thin["value"]) == max(v for v in whole["value"] if v is not None)
    assert sum(thin["spike"]) == sum(whole["spike"]) > 0
    part = view.series(MAC, 0, (start + 10) * PERIOD_MS, (start + 19) * PERIOD_MS, 100)
    assert part is not None and part["t"] == [(start + i) * PERIOD_MS for i in range(10, 20)]
    assert whole["regime"] == [[start * PERIOD_MS, swarm.now_ms(), "Calm"]]
    assert whole["energy"]["battery_permille"][0] == 900


def test_history_is_bounded() -> None:
    swarm = Swarm(1)
    view = show(b"".join(swarm.rounds(RING // 20 + 30, steps=20)), 1)
    series = view.series(MAC, 0, None, None, 100_000)
    assert series is not None and len(series["t"]) == RING
    assert view.totals()["samples"] > RING and view.totals()["mismatched"] == 0


def test_unknown_boards_and_channels_are_none() -> None:
    view = show(b"".join(Swarm().rounds(1)))
    assert view.board("00:00:00:00:00:00") is None
    assert view.series(MAC, 2, None, None, 10) is None and view.series(MAC, -1, None, None, 10) is None
    with pytest.raises(ValueError):
        view.register("not a mac")


@pytest.mark.parametrize(
    ("later_s", "state", "gateway"),
    [
        (1, "awake", "gateway"),
        (600, "asleep", "gateway"),
        (14_400, "asleep", "gateway"),
        (17_000, "late", "gateway"),
        (40_000, "late", "gateway"),
        (46_000, "lost", "gateway"),
    ],
)
def test_asleep_late_and_lost_follow_from_the_announced_wake(later_s: int, state: str, gateway: str) -> None:
    swarm = Swarm(1)
    data = swarm.hello() + swarm.announce() + swarm.radio(swarm.telemetry(0))
    swarm.index += later_s * 1000 // PERIOD_MS
    view = show(data + swarm.announce(), 1)  # the gateway still speaks
    view.clock = lambda: T0_MS + later_s * 1000
    boards = {b["mac"]: b["state"] for b in view.fleet()["boards"]}
    assert boards == {MAC: state, GATEWAY_MAC.hex(":"): gateway}


@pytest.mark.parametrize(("later_s", "gateway"), [(30_000, "gateway"), (50_000, "late"), (110_000, "lost")])
def test_boards_are_not_late_because_the_gateway_is(later_s: int, gateway: str) -> None:
    swarm = Swarm(1)
    view = show(swarm.hello() + swarm.announce() + swarm.radio(swarm.telemetry(0)), 1)
    view.clock = lambda: T0_MS + later_s * 1000
    boards = {b["mac"]: b["state"] for b in view.fleet()["boards"]}
    assert boards == {MAC: "asleep", GATEWAY_MAC.hex(":"): gateway}


def test_models_say_who_agrees() -> None:
    swarm = Swarm(3)
    data = swarm.hello() + swarm.announce()
    data += b"".join(swarm.radio(swarm.telemetry(b)) for b in range(3))
    view = show(data)
    models = view.models()
    assert models["epoch"] == 1 and models["history"][0]["inputs"] == 3
    assert all(board["agrees"] for board in models["boards"]) and len(models["weights"]) == 8
    assert view.fleet()["swarm"]["agreement_permille"] == 1000
    other = Swarm(3)
    stray = (
        other.hello()
        + other.announce()
        + other.radio(other.telemetry(0))
        + other.radio(other.telemetry(1, model=b"\1\2\3\4"))
    )
    view = show(stray)
    assert [b["agrees"] for b in view.models()["boards"]] == [True, False]
    assert view.fleet()["swarm"] == {
        "epoch": 1,
        "model_hash": other.model.hash.hex(),
        "agreement_permille": 500,
        "regime_counts": {"Calm": 2, "PreStorm": 0, "Storm": 0},
    }


def test_time_runs_on_between_frames_and_stops_when_frozen() -> None:
    swarm, view = Swarm(1), View(speed=1e9)
    assert view.now_ms() == 0
    Decoder(KEY, view).feed(Record(0, "gate", swarm.announce()))
    assert view.now_ms() > swarm.now_ms()
    view.freeze()
    assert view.now_ms() == swarm.now_ms()
