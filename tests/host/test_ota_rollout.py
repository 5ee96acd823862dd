"""The host's part of an update over the air: what it says next, on an air that loses much."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from qres.port import ota, trial
from qres_host.ota.bundle import Bundle
from qres_host.ota.rollout import Rollout, Stage
from test_ota import ANYTHING, OLD, Board, application, machine, tree, update

__all__ = ["machine"]  # a fixture


def swarm(root: Path, count: int) -> dict[int, Board]:
    """Some boards; the first is the gateway."""
    return {node: Board(root / str(node), node) for node in range(count)}


@pytest.mark.parametrize("seed", range(20))
def test_all_boards_get_it_over_a_lossy_air(tmp_path: Path, seed: int) -> None:
    rng, bundle = random.Random(seed), update(application(1))
    boards = swarm(tmp_path, 4)
    loss = rng.choice((0.0, 0.1, 0.3, 0.5))
    rollout = Rollout(bundle, list(boards), 0)
    now, window, late, frames = 0, 0, list[tuple[int, int, bytes]](), 0
    while not rollout.over and now < 3_600_000:
        busy = late or {Stage.FETCHING, Stage.COMPLETE} & {target.stage for target in rollout.targets.values()}
        now += 20 if busy else 200
        for node in boards if now >= window else ():  # a radio window; some sleep through it
            window = now + 10_000
            if rng.random() > 0.3:
                rollout.heard(now, node, 1)
        for payload in rollout.due(now):
            frames += 1
            rollout.confirmed(now)
            for node, board in boards.items():
                if node and rng.random() < loss:
                    continue
                said = board.updater.hear(payload, ANYTHING)
                if said:
                    late.append((now + said[0] + 20, node, said[1]))
        for entry in [entry for entry in late if entry[0] <= now]:
            late.remove(entry)
            if not entry[1] or rng.random() >= loss:
                rollout.said(now, entry[1], entry[2])
            if entry[2][5] == ota.STAGED:
                restarted(boards[entry[1]], rollout, now, bundle)
    assert rollout.over and {t.stage for t in rollout.targets.values()} == {Stage.UPDATED}, (now, loss)
    best = sum(bundle.chunks(k) for k in range(len(bundle.parts)))
    assert frames < best * 10, (frames, best, loss)
    for board in boards.values():
        assert {p: d for p, d in tree(board.root).items() if p in application(1)} == application(1)


def restarted(board: Board, rollout: Rollout, now: int, bundle: Bundle) -> None:
    """The board tries the update, finds that it works, and puts it in place."""
    assert board.boots() == trial.NEXT
    rollout.joined(now, board.node, bundle.build + b"\0")
    path = f"{board.root}/{trial.STATE}"
    trial.write(path, {**trial.read(path), "state": trial.CONFIRMED})
    rollout.said(now, board.node, trial.CONFIRMATION + bundle.build)
    assert board.boots() == ""


def test_a_board_that_comes_back_with_the_old_application_has_failed(tmp_path: Path) -> None:
    bundle = update(application(1))
    rollout = Rollout(bundle, [1, 2], 2)
    rollout.said(0, 1, bytes([ota.STATUS]) + bundle.name + bytes([ota.STAGED]))
    rollout.joined(1, 1, bundle.build + b"\0")
    assert rollout.targets[1].stage == Stage.TRYING
    rollout.joined(2, 1, OLD + b"\0")
    assert rollout.targets[1].stage == Stage.FAILED
    for payload in (b"", b"\3", b"\3abcd\0", bytes([ota.STATUS]) + bundle.name + b"\x09x", b"\0" * 40):
        rollout.said(3, 2, payload)
    assert rollout.targets[2].stage == Stage.QUEUED


def test_a_board_on_trial_is_asked_once_a_window_and_a_gateway_that_forgot_is_offered_it_again(tmp_path: Path) -> None:
    bundle = update(application(1))
    rollout = Rollout(bundle, [1, 2], 2)
    rollout.said(0, 1, bytes([ota.STATUS]) + bundle.name + bytes([ota.STAGED]))
    offers = []
    for now in range(0, 600_000, 50):
        rollout.heard(now, 1, 1)
        for payload in rollout.due(now):
            rollout.confirmed(now)
            if payload[0] == ota.OFFER and (1).to_bytes(4, "little") in payload[15:]:
                offers.append(now)
                rollout.said(now, 1, bytes([ota.STATUS]) + bundle.name + bytes([ota.CURRENT, 1]))
    assert 100 < len(offers) <= 201, offers
    rollout.said(now, 1, trial.CONFIRMATION + bundle.build)
    rollout.targets[2].stage = Stage.COMPLETE  # but it has restarted, and answers nothing
    seen = set()
    for now in range(600_000, 700_000, 50):
        for payload in rollout.due(now):
            rollout.confirmed(now)
            seen.add(payload[0])
    assert {ota.INSTALL, ota.OFFER} <= seen


def test_a_board_that_is_busy_waits_and_one_that_never_gets_through_ends(tmp_path: Path) -> None:
    bundle = update(application(1))
    rollout = Rollout(bundle, [1, 2], 2)
    head = bytes([ota.STATUS]) + bundle.name
    rollout.said(0, 1, head + bytes([ota.REFUSED]) + ota.BUSY.encode())
    assert rollout.targets[1].stage == Stage.QUEUED
    for _ in range(60):
        rollout.said(0, 1, head + bytes([ota.READY]))
        rollout.said(0, 1, head + bytes([ota.INCOMPLETE]))
    assert rollout.targets[1].stage == Stage.REFUSED and "attempts" in rollout.targets[1].why
