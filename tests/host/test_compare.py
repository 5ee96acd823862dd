"""Boards that are unlike the others: found when they are, several alike too, and nobody where all are alike."""

from __future__ import annotations

import numpy as np
from qres_host.compare import RATES, outlying
from qres_host.view import View
from traffic import telling, together


def telemetry(seed: int) -> dict[str, int | bytes]:
    """What an ordinary board tells after some days."""
    rng = np.random.default_rng(seed)
    samples = int(rng.integers(900, 1100))
    uptime_s = samples * 300
    return {
        "role": 0,
        "samples": samples,
        "uptime_s": uptime_s,
        "spent_mj": round(uptime_s * float(rng.normal(0.4, 0.02))),
        "radio_ms": round(uptime_s * float(rng.normal(3, 0.2))),
        "spikes": round(samples * float(rng.normal(0.01, 0.002))),
        "missing": 0,
        "heard": 500,
        "rejected": int(rng.integers(0, 3)),
    }


def test_ordinary_boards_are_alike() -> None:
    flagged = [outlying({seed * 100 + i: telemetry(seed * 100 + i) for i in range(20)}) for seed in range(50)]
    assert sum(map(len, flagged)) <= 3


def test_what_stands_out_is_named() -> None:
    told = {i: telemetry(i) for i in range(15)}
    told[4] = {**told[4], "missing": 400}
    told[9] = {**told[9], "spent_mj": 3 * int(told[9]["spent_mj"]), "rejected": 90}
    assert outlying(told) == {4: ["missing values"], 9: ["energy", "refused frames"]}


def test_several_alike_do_not_hide_each_other() -> None:
    told = {i: telemetry(i) for i in range(40)}
    for i in (3, 7, 11, 15, 19):
        told[i] = {**told[i], "spikes": 100}
    assert outlying(told) == {i: ["spikes"] for i in (3, 7, 11, 15, 19)}


def test_roles_newcomers_and_small_fleets_are_left_alone() -> None:
    told = {i: telemetry(i) for i in range(10)}
    assert outlying({**told, 99: {**telemetry(99), "role": 1, "radio_ms": 10**9}}) == {}
    assert outlying({**told, 99: {**telemetry(99), "samples": 10, "radio_ms": 10**9}}) == {}
    assert outlying({i: telemetry(i) | {"missing": 400 * (i == 1)} for i in range(4)}) == {}
    assert outlying({i: telemetry(i) | {"missing": 400 * (i == 1)} for i in range(131)}) == {}
    assert outlying({}) == {}
    assert outlying({i: {"role": 0, "samples": 1000} for i in range(12)}) == {}
    assert len(RATES) == 5


def test_the_view_says_so() -> None:
    view = View()
    told = {i: telemetry(i) for i in range(12)}
    told[5] = {**told[5], "missing": 300}
    view.fold([together(telling(i, **values) for i, values in told.items())])
    fleet = {board["id"]: board["unlike"] for board in view.fleet()["boards"]}
    assert fleet == {i: ["missing values"] if i == 5 else [] for i in range(12)}
    mac = next(board["mac"] for board in view.fleet()["boards"] if board["id"] == 5)
    found = view.board(mac)
    assert found is not None and found["unlike"] == ["missing values"]
