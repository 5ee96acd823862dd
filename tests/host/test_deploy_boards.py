"""qres deploy on virtual boards: what is sent, what stays, and what happens when it is cut off."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from qres_host import cli, deploy, deploy_cli, upload
from qres_host.deploy_cli import Application, Deployed, application
from qres_host.devices import Uri
from qres_host.errors import FAILURE, NO_DEVICE, OK, PARTIAL, TIMEOUT, USAGE, QresError
from qres_host.repl import Repl
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.swarm import Swarm
from test_flash import FILL

CONFIG: dict[str, Any] = {
    "name": "gate",
    "role": "sentinel",
    "swarm_key": "00" * 32,
    "channels": [{"name": "t", "unit": "degC", "scale": "0.1"}],
    "board": {"watchdog_ms": 0, "boot_window_ms": 100},
}
OWN = {"lib/mine.txt": b"mine", "qres/old.mpy": b"stale", "qres/gone/x.mpy": b"stale"}
NAMES = ("gate", "node", "blank")


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """A sentinel, a scheduled board, and one without a configuration."""
    configs = {"gate": CONFIG, "node": {**CONFIG, "name": "node", "role": "scheduled"}, "blank": None}
    boards = [
        BoardSpec(name, bytes((2, 0, 0, 0, 4, index)), config, battery_mah=0)
        for index, (name, config) in enumerate(configs.items())
    ]
    with pytest.MonkeyPatch.context() as patch:
        links = tmp_path_factory.mktemp("links")
        patch.setenv("QRES_RUNTIME_DIR", str(links))
        with Swarm(boards, speed=1.0, links=links) as running:
            yield running


@pytest.fixture(scope="module")
def plan() -> Application:
    return application("virtual")


def other(plan: Application, build: bytes = b"\1\2\3\4", **extra: bytes) -> Application:
    """Another application: it names itself otherwise, and has other files in qres/."""
    files = dict(plan.files)
    head = files.pop(deploy.HEAD).replace(bytes.fromhex(plan.build), build)
    files.update({f"qres/{name}.py": data for name, data in extra.items()})
    return replace(plan, files={**files, deploy.HEAD: head}, build=build.hex())


def brought(name: str, plan: Application, dry: bool = False) -> Deployed:
    return deploy_cli.deploy_board(Uri("virtual", name), plan, lambda what, done: None, dry)


def told(swarm: Swarm, name: str, code: str) -> str:
    """What a board answers; it is restarted."""
    with Repl(str(swarm.links / name)) as repl:
        said = repl.run(code).strip()
        repl.reset()
    return said


def test_one_file_is_sent_stale_ones_go_own_ones_stay(swarm: Swarm, plan: Application) -> None:
    assert brought("gate", plan).result == "unchanged"
    with Repl(str(swarm.links / "gate")) as repl:
        repl.run("import os\nfor p in ('lib', 'qres/gone'): os.mkdir(p)")
        repl.put(OWN)
    changed = other(plan)
    seen = brought("gate", changed, dry=True)
    assert (seen.result, seen.sent, seen.removed, seen.build) == ("would change", 1, 2, "")
    with Repl(str(swarm.links / "gate")) as repl:
        repl.put({"next/qres/node.mpy": b"staged", "update": b"{}"})
    done = brought("gate", changed)
    assert (done.result, done.sent, done.removed, done.build) == ("deployed", 1, 2, "01020304"), done.error
    said = told(swarm, "gate", "import os; print(os.listdir('/'), 'gone' in os.listdir('/qres'), os.listdir('/lib'))")
    assert "config.json" in said and "False" in said and "mine.txt" in said and ".new" not in said
    assert "'next'" not in said and "'update'" not in said, "an update over the air ends with it"


def test_the_command_reports_each_board(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["deploy", "--all", "--json"]) == OK
    rows = {row["port"]: row for row in json.loads(capsys.readouterr().out)["boards"]}
    assert {row["build"] for row in rows.values()} == {deploy.build_id().hex()}
    assert set(rows) == {f"virtual://{name}" for name in NAMES}
    assert cli.run(["deploy", "virtual://node"]) == OK
    out = capsys.readouterr().out
    assert "02:00:00:00:04:01  unchanged in" in out and deploy.build_id().hex() in out


def test_a_cut_leaves_the_old_application_and_a_second_run_finishes(swarm: Swarm, plan: Application) -> None:
    first = brought("node", plan)
    assert first.build == plan.build, first.error
    changed = other(plan, **{f"m{k}": os.urandom(4000) for k in range(12)})

    def say(what: str, done: float) -> None:
        if what == "copying" and 0.4 < done < 0.9:
            swarm.unplug("node")

    cut = deploy_cli.deploy_board(Uri("virtual", "node"), changed, say)
    assert cut.error.startswith("the board at") and cut.exit_code == NO_DEVICE, cut
    swarm.plug("node")
    assert told(swarm, "node", "import qres; print(qres.BUILD.hex())") == plan.build
    second = brought("node", changed)
    assert second.result == "deployed" and second.build == "01020304", second.error
    assert 0 < second.sent < cut.sent, "what was staged is not sent again"
    assert brought("node", changed).result == "unchanged"
    assert brought("node", plan).removed == 12


def test_a_cut_while_switching_is_finished_by_the_next_run(swarm: Swarm, plan: Application) -> None:
    changed = other(plan, late=b"x = 1\n")
    with Repl(str(swarm.links / "blank")) as repl:
        difference = upload.compare(repl, changed.files, deploy.COMPILED_PACKAGE)
        assert difference.missing == ("qres/late.py", deploy.HEAD)
        upload.stage(repl, difference, lambda done: None)
        upload.switch(repl, replace(difference, missing=("qres/late.py",)))  # the power fails before the last one
        assert repl.run("import qres; print(qres.BUILD.hex())").strip() == plan.build
    done = brought("blank", changed)
    assert (done.sent, done.build) == (0, "01020304"), done.error
    brought("blank", plan)


def test_a_full_file_system_changes_nothing(swarm: Swarm, plan: Application) -> None:
    changed = other(plan, big=os.urandom(60_000))
    with Repl(str(swarm.links / "blank")) as repl:
        repl.run(FILL)
    outcome = brought("blank", changed)
    assert outcome.error.startswith("the board's file system is full") and outcome.exit_code == FAILURE
    assert told(swarm, "blank", "import os, qres; print(qres.BUILD.hex(), os.listdir('/qres'))").startswith(plan.build)
    with Repl(str(swarm.links / "blank")) as repl:
        assert ".new" not in repl.run("import os; print(os.listdir('/qres'))")
        repl.run("import os\nfor n in os.listdir('/'):\n    if n.startswith('fill'): os.remove(n)")


def test_one_that_fails_does_not_stop_the_others(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    fd = os.open(swarm.links / "node", os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert cli.run(["deploy", "virtual://gate", "virtual://node", "--json"]) == PARTIAL
        rows = {row["port"]: row for row in json.loads(capsys.readouterr().out)["boards"]}
        assert "is busy" in rows["virtual://node"]["error"] and not rows["virtual://gate"]["error"]
        assert cli.run(["deploy", "virtual://node"]) == NO_DEVICE
    finally:
        os.close(fd)


def test_what_a_board_cannot_run_is_refused_before_anything_is_sent(
    swarm: Swarm, plan: Application, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = brought("blank", replace(plan, arch="rv32imc"))
    assert "cannot run machine code" in wrong.error and wrong.exit_code == USAGE
    head = plan.files[deploy.HEAD]
    wrong = brought("blank", replace(plan, files={deploy.HEAD: head[:1] + b"\5" + head[2:]}))
    assert "takes .mpy files of version 6" in wrong.error
    wrong = brought("blank", replace(plan, build="ffffffff"))
    assert wrong.error == f"it runs application {plan.build}, not ffffffff: run the same command again"
    with pytest.raises(QresError, match="does not say what it runs") as error:
        deploy_cli.hello(Uri("virtual", "blank"), 0.2)
    assert error.value.exit_code == TIMEOUT
    assert cli.run(["deploy", "gate", "--all"]) == USAGE
    assert cli.run(["deploy"]) == NO_DEVICE
    assert "name some, or say --all" in capsys.readouterr().err
