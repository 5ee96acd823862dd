"""qres flash with the real esptool, mpremote and ampy on virtual boards, and what goes wrong in between."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qres_host import deploy
from qres_host.devices import Uri
from qres_host.errors import FAILURE, INTERRUPTED, NO_DEVICE, OK, PARTIAL, TIMEOUT, USAGE
from qres_host.flash import cli, fleet, image
from qres_host.flash.backup import Backup
from qres_host.flash.job import Outcome, Plan
from qres_host.repl import Repl
from qres_host.virtual import firmware
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.swarm import Swarm

TIMEOUT_S = 60
CONFIG = {
    "name": "gate",
    "role": "sentinel",
    "swarm_key": "00" * 32,
    "channels": [{"name": "t", "unit": "degC", "scale": "0.1"}],
}
APPLICATION = {
    "main.py": b"print('application', 1)\n",
    **{f"qres/m{k}.py": hashlib.shake_128(bytes([k])).digest(9000) for k in range(9)},
}
FLOOD = b"import time\nwhile True:\n    for k in range(20): print('flood ' * 20)\n    time.sleep_ms(1)\n"
RESETS = b"import machine, time\nprint('once more')\ntime.sleep_ms(1000)\nmachine.reset()\n"
FILL = """
try:
    for k in range(999):
        with open("fill%d" % k, "wb") as file:
            file.write(bytes(16000))
except OSError:
    pass
"""
MACS = {name: bytes((2, 0, 0, 0, 1, index)) for index, name in enumerate(("one", "two", "three"))}


class Fleet:
    """Running virtual boards and ways to flash them."""

    def __init__(self, swarm: Swarm, folder: Path) -> None:
        self.swarm, self.folder = swarm, folder
        table = [*firmware.TABLE[:3], firmware.TABLE[3]._replace(size=0x40000)]  # a small file system is read quickly
        small = image.check(image.make_image(hashlib.shake_128(b"code").digest(20_000), table))
        whole = cli.plan("virtual", "", "image", None, False, False, "460800")
        self.plan = replace(whole, image=small, files=APPLICATION)

    def flash(self, *names: str, plan: Plan | None = None, **changes: Any) -> list[Outcome]:
        """Flash boards by name."""
        used = replace(plan or self.plan, **changes)
        return fleet.flash_all([(Uri("virtual", name), used) for name in names], quiet=True)

    def one(self, name: str, **changes: Any) -> Outcome:
        """Flash a board that is to succeed."""
        outcome = self.flash(name, **changes)[0]
        assert not outcome.error, outcome.error
        return outcome

    def port(self, name: str) -> str:
        """The path that stays, whatever cable was pulled."""
        return str(self.swarm.links / name)

    def state(self, name: str) -> str:
        """What the swarm says of a board."""
        return next(str(each["state"]) for each in self.swarm.status()["boards"] if each["name"] == name)

    def until(self, name: str, *states: str) -> None:
        """Wait for a state."""
        end = time.monotonic() + TIMEOUT_S
        while self.state(name) not in states:
            assert time.monotonic() < end, self.state(name)
            time.sleep(0.05)

    def qres(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        command = [sys.executable, "-m", "qres_host.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("flash")
    links = folder / "links"
    links.mkdir()
    specs = [BoardSpec(name, MACS[name], None, bare=True) for name in ("one", "two", "three")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QRES_RUNTIME_DIR", str(links))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with Swarm(specs, speed=1.0, links=links) as swarm:
            yield Fleet(swarm, folder)


def names(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.result for outcome in outcomes]


# The whole path


def test_from_an_erased_board_to_the_monitor(boards: Fleet) -> None:
    config = boards.folder / "config.json"
    config.write_text(json.dumps(CONFIG))
    done = boards.qres("flash", "--port", "virtual://one", "--config", str(config), "--json")
    assert done.returncode == OK, done.stdout + done.stderr
    (told,) = json.loads(done.stdout)["boards"]
    assert (told["result"], told["mac"], told["configured"]) == ("flashed", "02:00:00:00:01:00", True)
    boards.until("one", "waiting")
    seen = boards.qres("monitor", "virtual://one", "--duration", "3", "--json")
    assert seen.returncode == OK, seen.stderr
    assert '"gate"' in seen.stdout and "02:00:00:00:01:00" in seen.stdout
    build = deploy.build_id().hex()
    assert build in seen.stdout
    again = boards.qres("flash", "--port", "virtual://one")
    assert again.returncode == OK and "unchanged" in again.stdout
    boards.until("one", "waiting")


def test_a_new_application_keeps_the_boards_own_files(boards: Fleet) -> None:
    boards.one("two", config=CONFIG)
    with Repl(boards.port("two")) as repl:
        repl.put({"lib/mine.txt": b"mine", "main.py": b"print('other')\n"})
    outcome = boards.one("two")
    assert outcome.result == "flashed" and outcome.kept == ["config.json", "lib/mine.txt"]
    assert not Backup(outcome.mac).load()
    with Repl(boards.port("two")) as repl:
        assert "application" not in repl.run("print(open('lib/mine.txt').read())")
        assert json.loads(repl.run("print(open('config.json').read())"))["name"] == "gate"
        assert repl.digests(["main.py", "nothing"])["nothing"] == b""
    assert boards.one("two", erase=True).configured is False


@pytest.mark.parametrize("uploader", ["mpremote", "ampy"])
def test_files_by_the_other_uploaders(boards: Fleet, uploader: str) -> None:
    boards.one("three", erase=True)
    few = {"main.py": b"print('by hand')\n", "qres/a.py": b"x = 1\n", "qres/port/b.py": b"y = 2\n"}
    outcome = boards.one("three", uploader=uploader, files=few, config=CONFIG)
    assert (outcome.result, outcome.configured) == ("flashed", True)
    with Repl(boards.port("three")) as repl:
        there = repl.digests(["config.json", *few])
        assert all(there.values())
        assert repl.put(few) == 0
        assert repl.put({**few, "qres/a.py": b"x = 2\n"}) == 1
        assert repl.run("from qres import a; print(a.x)").strip() == "2"


def test_dry_run_touches_nothing_and_a_choice_must_be_made(boards: Fleet) -> None:
    done = boards.qres("flash", "--all", "--dry-run", "--json")
    assert {row["kind"] for row in json.loads(done.stdout)["boards"]} == {"virtual"}
    many = boards.qres("flash")
    assert many.returncode == NO_DEVICE and "say --all" in many.stderr
    assert boards.qres("flash", "--port", "virtual://nobody").returncode == NO_DEVICE
    assert boards.qres("flash", "--board", "esp9000", "--all").returncode == USAGE
    assert boards.qres("flash", "--all", "--image", "/nowhere.bin").returncode == USAGE


# What goes wrong


@pytest.mark.parametrize("after", [0, 9000, 40_000, 76_000])
def test_a_pulled_cable_is_told_and_the_next_run_finishes(boards: Fleet, after: int) -> None:
    boards.one("one", config=CONFIG, erase=True)
    boards.swarm.fault("one", unplug_after=after)
    outcomes = boards.flash("one", "two", force=True)
    assert outcomes[0].error.startswith("the board has gone: check the cable"), outcomes[0].error
    assert (outcomes[0].exit_code, outcomes[1].error) == (NO_DEVICE, "")
    assert fleet.exit_code(outcomes) == PARTIAL
    boards.swarm.plug("one")
    outcome = boards.one("one")
    assert outcome.configured, "the configuration was saved before anything was erased"
    with Repl(boards.port("one")) as repl:
        assert json.loads(repl.run("print(open('config.json').read())"))["name"] == "gate"


@pytest.mark.parametrize(
    ("fault", "says"),
    [({"refuse_from": 0x12000}, "refused to be written"), ({"worn_from": 0x12000}, "does not hold what was written")],
)
def test_a_flash_that_fails_is_told(boards: Fleet, fault: dict[str, int], says: str) -> None:
    boards.swarm.fault("two", **fault)
    outcome = boards.flash("two", force=True)[0]
    boards.swarm.fault("two", refuse_from=-1, worn_from=-1)
    assert says in outcome.error and outcome.exit_code == FAILURE
    boards.one("two")


def test_another_chip_is_refused(boards: Fleet) -> None:
    boards.swarm.fault("two", chip=5)
    outcome = boards.flash("two", force=True)[0]
    boards.swarm.fault("two", chip=13)
    assert outcome.error.startswith("the board is an ESP32-C3, not an ESP32-C6") and outcome.exit_code == USAGE


def test_what_does_not_fit_is_refused_before_anything_is_written(boards: Fleet) -> None:
    boards.one("two", config=CONFIG)
    outcome = boards.flash("two", files={"big": bytes(3 << 20)})[0]
    assert outcome.error.startswith("the files do not fit the board's flash")
    table = [*firmware.TABLE[:3], firmware.TABLE[3]._replace(size=0x600000)]
    large = image.check(image.make_image(bytes(9000), table), flash_bytes=1 << 23)
    outcome = boards.flash("two", image=large)[0]
    assert outcome.error.startswith("the image's file system does not fit 4 MB of flash")
    assert boards.one("two").result == "unchanged"


def test_a_full_file_system_is_told(boards: Fleet) -> None:
    boards.one("two", erase=True)
    with Repl(boards.port("two")) as repl:
        repl.run(FILL)
    outcome = boards.flash("two", uploader="mpremote", files={"main.py": bytes(40_000)})[0]
    assert outcome.error.startswith("the board's file system is full")
    boards.one("two", erase=True)


def test_a_port_that_another_program_holds_is_told(boards: Fleet) -> None:
    fd = os.open(boards.port("two"), os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        outcomes = boards.flash("two", "three")
    finally:
        os.close(fd)
    assert outcomes[0].error.startswith("the port is busy") and outcomes[0].exit_code == NO_DEVICE
    assert not outcomes[1].error


@pytest.mark.parametrize("text", [FLOOD, RESETS], ids=["flood", "resets"])
def test_a_board_that_never_rests_is_flashed(boards: Fleet, text: bytes) -> None:
    boards.one("two", files={"main.py": text}, config=CONFIG)
    outcome = boards.one("two")
    assert outcome.result == "flashed" and outcome.configured


def test_ways_of_resetting_are_tried_in_turn(boards: Fleet) -> None:
    boards.swarm.fault("two", deaf=20)
    seen: list[str] = []
    from qres_host.flash.loader import Loader, Runs

    chip = Loader(boards.port("two"), Runs(), lambda what, done: seen.append(what)).identify()
    assert chip.mac == "02:00:00:00:01:01" and chip.flash_bytes == 1 << 22
    assert [what for what in seen if "usb-reset" in what]
    boards.swarm.fault("two", deaf=10_000)
    outcomes = boards.flash("two", "three")
    boards.swarm.fault("two", deaf=0)
    assert "hold BOOT" in outcomes[0].error and outcomes[0].exit_code == TIMEOUT and not outcomes[1].error
    boards.one("two")


def test_an_esptool_that_is_not_needed_ends() -> None:
    from qres_host.flash.loader import Loader, Runs

    runs = Runs()
    loader = Loader("/dev/null", runs, lambda what, done: None)
    loader.prepare()
    (process,) = runs._alive
    assert process.poll() is None
    loader.end()
    assert process.poll() is not None and not runs._alive


@pytest.mark.parametrize(("said", "reason"), [("it broke", "it broke"), ("", "it said nothing")])
def test_an_esptool_that_died_before_its_turn_is_replaced_and_its_echo_is_no_reason(
    monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    from qres_host.flash.loader import Loader, LoaderError, Runs

    runs = Runs()
    loader = Loader("/dev/null", runs, lambda what, done: None)
    script = f"import sys; print('esptool', sys.stdin.read()); print({said!r}); sys.exit(2)"
    monkeypatch.setattr(loader, "_start", lambda: runs.start([sys.executable, "-c", script], subprocess.PIPE))
    loader.prepare()
    (died,) = runs._alive
    died.kill()
    died.wait()
    with pytest.raises(LoaderError) as caught:
        loader.identify()
    assert caught.value.line() == f"esptool failed: {reason}" and not runs._alive


def test_a_loader_that_falls_silent_ends_in_time(boards: Fleet) -> None:
    boards.swarm.fault("two", mute_after=10_000)
    outcome = boards.flash("two", force=True)[0]
    boards.swarm.fault("two", mute_after=-1)
    assert outcome.error.startswith("the board does not answer its boot loader") and outcome.exit_code == TIMEOUT
    boards.one("two")


def test_ctrl_c_ends_all_and_the_next_run_finishes(boards: Fleet) -> None:
    boards.one("one", config=CONFIG)
    for name in ("one", "two"):
        boards.swarm.set_pace(name, "usb")
    command = [
        sys.executable,
        "-m",
        "qres_host.cli",
        "flash",
        "--port",
        "virtual://one",
        "--port",
        "virtual://two",
        "--force",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "two: writing" in line:
            break
    process.send_signal(signal.SIGINT)
    _out, rest = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == INTERRUPTED, rest
    assert "Traceback" not in rest
    for name in ("one", "two"):
        boards.swarm.set_pace(name, "")
    outcomes = boards.flash("one", "two")
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert outcomes[0].configured


def test_what_is_saved_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    backup = Backup("02:00:00:00:00:01")
    assert backup.load() == {}
    backup.save({"config.json": b"{}", "lib/x": b"1"})
    assert backup.path.stat().st_mode & 0o077 == 0
    assert backup.load() == {"config.json": b"{}", "lib/x": b"1"}
    backup.path.write_bytes(b"torn")
    assert backup.load() == {}
    backup.drop()
    backup.drop()
