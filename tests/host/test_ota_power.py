"""Updates over the air and power: whenever it fails, a whole application is there, and the update goes on or ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qres.port import ota, trial
from test_ota import Board, application, deliver, install, machine, tree, update

__all__ = ["machine"]  # a fixture


class PowerCut(BaseException):
    """The battery fell out."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Each change of the file system counts down `left`; at 0 the power fails before it."""
    state = {"left": -1}
    real = {name: getattr(os, name) for name in ("rename", "remove", "rmdir", "mkdir")}

    def wrapped(name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if state["left"] == 0:
                raise PowerCut
            state["left"] -= 1
            return real[name](*arguments, **named)

        return call

    for name in real:
        monkeypatch.setattr(os, name, wrapped(name))
    yield state
    state["left"] = -1


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_power_cut_at_any_step_leaves_a_whole_application(
    tmp_path: Path, cut: dict[str, int], confirmed: bool
) -> None:
    first = Board(tmp_path / "first")
    bundle, old, new = update(application(1)), application(0), application(1)
    deliver(first, bundle)
    install(first, bundle)
    path = f"{first.root}/{trial.STATE}"
    state = trial.read(path)
    trial.write(path, {**state, "state": trial.CONFIRMED} if confirmed else {**state, "boots": trial.BOOTS})
    steps = 0
    while True:
        root = tmp_path / f"cut{steps}"
        shutil.copytree(first.root, root)
        board = Board(root, files={})
        cut["left"] = steps
        done = False
        with contextlib.suppress(PowerCut):
            done = board.boots() == ""
        cut["left"] = -1
        runs = {p: d for p, d in tree(root).items() if p.startswith("qres/")}
        if not done:
            staged = {p.partition("/")[2]: d for p, d in tree(root).items() if p.startswith("next/qres/")}
            whole = [{p: d for p, d in a.items() if p.startswith("qres/")} for a in (old, new)]
            assert runs in whole or staged == whole[1], steps
            assert board.boots() == ""
        assert {p: d for p, d in tree(root).items() if p in new or p in old} == (new if confirmed else old), steps
        assert (
            not (root / trial.NEXT).exists() and not (root / trial.OLD).exists() and not (root / trial.STATE).exists()
        )
        cut["left"] = -1
        if done:
            break
        shutil.rmtree(root)
        steps += 1
    assert steps > 10


def test_a_power_cut_while_it_is_fetched_costs_what_was_under_way(tmp_path: Path, cut: dict[str, int]) -> None:
    board, bundle, rng = Board(tmp_path), update(application(1)), random.Random(9)
    for _ in range(200):
        cut["left"] = rng.randrange(30)
        try:
            deliver(board, bundle)
            said = install(board, bundle)
        except PowerCut:
            said = None
        cut["left"] = -1
        if said == bytes([ota.STAGED]):
            break
        board.restart()
    assert said == bytes([ota.STAGED])
    assert {p: d for p, d in tree(tmp_path / trial.NEXT).items() if p != "manifest"} == application(1)
