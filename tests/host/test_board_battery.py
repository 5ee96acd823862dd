"""tests/board on virtual boards: it passes on one that is well, and each part of it fails on one that is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as Xml
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from qres_host import deploy
from qres_host.repl import Repl
from qres_host.virtual import firmware, playback
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.specs import board_config
from qres_host.virtual.swarm import Swarm
from test_deploy_selftest import in_bytecode

pytestmark = pytest.mark.slow  # a minute: four boards go through the battery, deep sleep included

ROOT = Path(__file__).resolve().parent.parent.parent
SHORT = {"BOOT_S": "10", "TRACE_S": "6", "SLEEP_MS": "1500", "TESTS": "test_numbers test_packet"}
CHIP = {"KIND": "generic-esp32c6", "AS_IS": "1"}
# What is done to the application of a board that is not well, and which test sees it.
HARM = {
    "qres/node.py": ("self.awake_ms += spent\n", "self.awake_ms += spent + 1\n"),  # in the state alone, not in actions
    "qres/port/esp32.py": ("machine.deepsleep(", "time.sleep_ms("),
    "qres/port/sensors.py": ("        row: ", "        self._pins[len(self._pins)] = bytearray(2000)\n        row: "),
    "qres/packet.py": ("COUNTER_MAX =", "COUNTER_MAX = 7 +"),
}


class Run:
    """The battery on a board: `outcomes` by test, passed, failed, error or why it was skipped; `output` of pytest."""

    def __init__(self, port: str, settings: Mapping[str, str], report: Path, chosen: str) -> None:
        given = {f"QRES_BOARD_{key}": value for key, value in {**SHORT, **settings}.items()}
        command = [sys.executable, "-m", "pytest", "tests/board", "-q", "-p", "no:cacheprovider", "-k", chosen]
        done = subprocess.run(
            [*command, f"--junit-xml={report}"],
            cwd=ROOT,
            env={**os.environ, **given, "QRES_BOARD_PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        self.outcomes = {case.get("name", ""): _outcome(case) for case in Xml.parse(report).iter("testcase")}

    def failed(self) -> set[str]:
        """The tests that did not pass and were not skipped."""
        return {name for name, said in self.outcomes.items() if said in ("failed", "error")}


def _outcome(case: Xml.Element) -> str:
    for kind in ("failure", "error"):
        if case.find(kind) is not None:
            return kind.replace("failure", "failed")
    skipped = case.find("skipped")
    return "passed" if skipped is None else str(skipped.get("message"))


def harmed(folder: Path) -> dict[str, bytes]:
    """The application with all harm done."""
    shutil.copytree(deploy.firmware_root(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in HARM.items():
        text = (folder / name).read_text()
        assert before in text, name
        (folder / name).write_text(text.replace(before, after))
    return deploy.firmware_files(folder)


def specs(folder: Path) -> list[BoardSpec]:
    """Boards that are well, ill, and two that believe to hold machine code, of which one gives a wrong result."""
    weather = playback.make_weather(1)[0]
    seconds = replace(weather, t0_ms=int(time.time()) * 1000, period_ms=1000)
    chip = deploy.firmware_files(arch="rv32imc")
    applications = {
        "well": None,
        "ill": harmed(folder / "firmware"),
        "chip": in_bytecode(chip),
        "wrong": in_bytecode(chip, "return 1"),
    }
    config = board_config(seconds, "scheduled", seconds.channels)
    return [
        BoardSpec(name, bytes((2, 0, 0, 0, 3, n)), config, playback=seconds, battery_mah=0, files=files)
        for n, (name, files) in enumerate(applications.items())
    ]


def own_files(port: str) -> dict[str, bytes]:
    """The digests of what the battery must put back."""
    with Repl(port) as repl:
        found = repl.digests(["config.json"])
        repl.reset()
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """The battery on all boards side by side, by name; on none, by ""."""
    folder = tmp_path_factory.mktemp("battery")
    image = folder / "micropython.bin"
    image.write_bytes(firmware.micropython())
    every, kernels = "test", "self_test or boots"
    wanted = {
        "": ({}, every),
        "well": ({"IMAGE": str(image)}, every),
        "ill": ({"AS_IS": "1"}, every),
        "chip": (CHIP, kernels),
        "wrong": (CHIP, kernels),
    }
    with pytest.MonkeyPatch.context() as patch, Swarm(specs(folder), speed=1.0, links=folder) as swarm:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        before = own_files(swarm.ports["well"])
        with ThreadPoolExecutor(len(wanted)) as pool:
            begun = {
                name: pool.submit(Run, swarm.ports.get(name, ""), settings, folder / f"{name}.xml", chosen)
                for name, (settings, chosen) in wanted.items()
            }
            done = {name: each.result() for name, each in begun.items()}
        assert own_files(swarm.ports["well"]) == before, "the board did not get its own files back"
        assert not list((folder / "state").rglob("test-*.zip"))
        yield done


def test_without_a_port_all_is_skipped_with_the_reason(runs: dict[str, Run]) -> None:
    outcomes = runs[""].outcomes
    assert outcomes and set(outcomes.values()) == {"no board: make test-board PORT=/dev/ttyACM0"}, runs[""].output


def test_a_board_that_is_well_passes_and_gets_its_files_back(runs: dict[str, Run]) -> None:
    run = runs["well"]
    assert run.failed() == set(), run.output
    bytecode = "bytecode: this board has no machine code to test"
    portable = {"test_portable[test_numbers]": "passed", "test_portable[test_packet]": "passed"}
    assert portable.items() <= run.outcomes.items(), run.output
    skipped = {name: said for name, said in run.outcomes.items() if said != "passed" and "portable" not in name}
    assert skipped == {
        "test_the_kernels_passed_their_self_test": bytecode + ", and says so",
        "test_the_self_test_made_anew_gives_the_same": bytecode,
        "test_the_port_goes_and_comes_back": "this port is not the chip's own USB: it stays while the board sleeps,"
        " and did",
    }, run.output


def test_each_part_fails_where_it_must(runs: dict[str, Run]) -> None:
    assert runs["ill"].failed() == {
        "test_the_files_of_the_application_are_there",
        "test_boots_what_was_deployed",
        "test_the_trace_is_repeated_bit_for_bit",
        "test_heap",
        "test_deep_sleep_and_what_it_keeps",
        "test_rtc_memory_gives_back_what_was_saved",
        "test_portable[test_packet]",
    }, runs["ill"].output
    assert runs["ill"].outcomes["test_portable[test_numbers]"] == "passed"


@pytest.mark.parametrize("name, expected", [("chip", "passed"), ("wrong", "failed")])
def test_machine_code_must_have_passed_its_test(runs: dict[str, Run], name: str, expected: str) -> None:
    assert runs[name].outcomes == {
        "test_boots_what_was_deployed": expected,
        "test_the_kernels_passed_their_self_test": expected,
        "test_the_self_test_made_anew_gives_the_same": expected,
    }, runs[name].output
