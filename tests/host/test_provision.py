"""`qres provision` on virtual boards: real MicroPython at real ports; changes that hold wholly or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qres_host import boardfiles, cli
from qres_host.boardfiles import State
from qres_host.devices import Uri
from qres_host.errors import NO_DEVICE, OK, PARTIAL, USAGE, QresError
from qres_host.keystore import KeyStore, fingerprint
from qres_host.ota.bundle import public_key
from qres_host.provision import Wish, plan
from qres_host.repl import Repl
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.swarm import Swarm

CHANNELS = [{"name": "t", "unit": "degC", "scale": "0.1"}]
OTHER = bytes(range(1, 33))
CONFIG: dict[str, Any] = {
    "name": "old",
    "role": "sentinel",
    "swarm_key": OTHER.hex(),
    "channels": CHANNELS,
    "board": {"watchdog_ms": 0, "boot_window_ms": 100},
}
BLANK: dict[str, bytes] = {"main.py": b"print('blank')\n"}


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """A blank board, and two of another swarm."""
    boards = [
        BoardSpec("blank", bytes((2, 0, 0, 0, 0, 1)), None, files=BLANK),
        BoardSpec("north", bytes((2, 0, 0, 0, 0, 2)), CONFIG, battery_mah=0),
        BoardSpec("south", bytes((2, 0, 0, 0, 0, 3)), CONFIG, battery_mah=0),
    ]
    with Swarm(boards, speed=1.0, links=tmp_path_factory.mktemp("links")) as running:
        yield running


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swarm: Swarm) -> None:
    """Keys of the test's own; the boards under their names."""
    monkeypatch.setenv("QRES_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setenv("QRES_RUNTIME_DIR", str(swarm.links))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run `qres provision --json`; return its exit code and its boards by name of their device."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["provision", *arguments, "--json"])
        said = capsys.readouterr()
        rows = json.loads(said.out)["boards"] if said.out else []
        return code, {row["device"].rpartition("/")[2]: row for row in rows} or {"error": said.err}

    return run


def on_board(swarm: Swarm, name: str) -> tuple[dict[str, Any], list[str]]:
    """A board's configuration and the names of its files."""
    with Repl(swarm.ports[name]) as repl:
        text = repl.run("import os; print(open('/config.json').read()); print(os.listdir('/'))").splitlines()
        repl.reset()
    return json.loads(text[0]), eval(text[1])


def test_a_blank_board_becomes_one_of_the_swarm(
    swarm: Swarm, tmp_path: Path, command: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    config = tmp_path / "config.json"
    code, rows = command("virtual://blank")
    assert code == PARTIAL and "'channels'" in rows["blank"]["error"]
    config.write_text(json.dumps({"channels": CHANNELS, "period_ms": 30000}))
    arguments = [
        "virtual://blank",
        "--config",
        str(config),
        "--name",
        "n-{mac}",
        "--board",
        "virtual",
        "--set",
        "sigma=7",
    ]
    code, rows = command(*arguments, "--dry-run")
    assert code == OK and rows["blank"]["outcome"] == "would change" and rows["blank"]["name"] == "n-0001"
    code, rows = command(*arguments)
    key = KeyStore().key()
    assert code == OK and key is not None, rows
    assert rows["blank"]["outcome"] == "provisioned" and rows["blank"]["key"] == fingerprint(key)
    found, files = on_board(swarm, "blank")
    assert (found["swarm_key"], found["sigma"], found["period_ms"]) == (key.hex(), 7, 30000)
    assert "node.key" in files and not [name for name in files if name.startswith("config.") and name != "config.json"]
    assert len(rows["blank"]["node_key"]) == 16
    node_key = rows["blank"]["node_key"]
    code, rows = command(*arguments)
    assert code == OK and rows["blank"]["outcome"] == "unchanged" and rows["blank"]["node_key"] == node_key
    code, rows = command("virtual://blank", "--node-key", "host", "--new-node-key")
    kept = KeyStore().nodes()["02:00:00:00:00:01"]
    assert code == OK and kept["node_key"] == fingerprint(bytes.fromhex(kept["key"])) == rows["blank"]["node_key"]
    code, rows = command("virtual://blank", "--set", "period_ms=1")
    assert code == PARTIAL and "'period_ms' must be an integer" in rows["blank"]["error"]
    assert on_board(swarm, "blank")[0] == found


def test_a_board_of_another_swarm_keeps_its_key_and_is_not_taken_by_mistake(
    swarm: Swarm, command: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    code, rows = command("virtual://north", "--set", "name=renamed")
    assert code == OK and rows["north"]["changed"] == ["name"] and rows["north"]["key"] == fingerprint(OTHER)
    assert on_board(swarm, "north")[0] == {**CONFIG, "name": "renamed"}
    assert not KeyStore().swarms()
    KeyStore().add("default")
    code, rows = command("virtual://north", "--swarm", "default")
    assert code == PARTIAL and "it holds the key" in rows["north"]["error"]
    code, rows = command("virtual://north", "--rotate")
    assert code == PARTIAL and "it holds the key" in rows["north"]["error"]
    assert KeyStore().next("default") is not None  # still to be brought
    assert on_board(swarm, "north")[0]["swarm_key"] == OTHER.hex()


def test_a_rotation_changes_all_boards_or_none(
    swarm: Swarm, command: Callable[..., tuple[int, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    KeyStore().add("default", OTHER)
    boards = ["virtual://north", "virtual://south"]
    before = {name: on_board(swarm, name)[0] for name in ("north", "south")}
    assert before["north"]["swarm_key"] == OTHER.hex()
    real = {"stage": boardfiles.stage, "switch": boardfiles.switch}

    def failing(step: str) -> Callable[..., str]:
        def run(repl: Repl, *arguments: Any) -> str:
            if repl.port.endswith("south"):
                raise QresError("the cable was pulled", "")
            return real[step](repl, *arguments)

        return run

    for step in ("stage", "switch"):
        monkeypatch.setattr(boardfiles, step, failing(step))
        code, rows = command("--rotate", *boards)
        assert code == PARTIAL and rows["north"]["outcome"] == "restored" and rows["south"]["outcome"] == "failed"
        assert "cable was pulled" in rows["south"]["error"]
        for name in ("north", "south"):
            config, files = on_board(swarm, name)
            assert config == before[name] and not [f for f in files if f.startswith("config.") and f != "config.json"]
        assert KeyStore().key() == OTHER
        monkeypatch.setattr(boardfiles, step, real[step])
    following = KeyStore().next("default")
    assert following is not None
    code, rows = command("--rotate", *boards)
    assert code == OK and {row["outcome"] for row in rows.values()} == {"provisioned"}
    assert KeyStore().key() == following and KeyStore().previous("default") == [OTHER]
    for name in ("north", "south"):
        config, files = on_board(swarm, name)
        signer = public_key(KeyStore().update_key()).hex()
        assert (
            config == {**before[name], "swarm_key": following.hex(), "update_key": signer} and "config.old" not in files
        )


def test_what_cannot_be_meant_is_refused(command: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    for arguments in (
        ["virtual://north", "virtual://south", "--name", "same"],
        [],
        ["virtual://north", "--from", "default"],
        ["virtual://north", "--set", "x"],
        ["virtual://north", "--swarm", "none"],
        ["virtual://north", "--rotate"],
        ["virtual://north", "--board", "no-such"],
    ):
        assert command(*arguments)[0] == USAGE, arguments
    assert command("/dev/absent")[0] == NO_DEVICE


def test_the_plan_checks_the_present_key_first() -> None:
    state = State("02:00:00:00:00:01", {"channels": CHANNELS, "sigma": 7}, True, fingerprint(OTHER), "")
    fresh = bytes(range(2, 34))
    with pytest.raises(QresError, match="it holds the key"):
        plan(state, Wish({}, key=fresh, insist=True, present="0" * 16))
    config, changed = plan(state, Wish({"sigma": None}, key=fresh, insist=True, present=fingerprint(OTHER)))
    assert config == {"channels": CHANNELS, "swarm_key": fresh.hex()} and changed == ["sigma", "swarm_key"]
    assert plan(state, Wish({}, key=fresh)) == (state.config, [])
    assert Uri("virtual", "x").scheme == "virtual"
