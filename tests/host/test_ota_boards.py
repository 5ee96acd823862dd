"""`qres ota` on virtual boards: a swarm that updates itself over a lossy radio, and one whose update does not do."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from qres import packet
from qres_host import deploy
from qres_host.collector import Collector
from qres_host.devices import Device, Uri
from qres_host.errors import OK, USAGE
from qres_host.keys import parse_key
from qres_host.keystore import fingerprint
from qres_host.ota import bundle as bundles
from qres_host.ota import job as jobs
from qres_host.ota.courier import Courier
from qres_host.ota.job import Job
from qres_host.records import Found, Samples
from qres_host.repl import Repl
from qres_host.virtual import playback
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.specs import DEMO_KEY, DEMO_UPDATE_KEY, make_specs
from qres_host.virtual.swarm import Swarm

TIMEOUT_S = 150
LOSS = 0.2
PERIOD_MS = 2000
QUICK = {"epoch_ms": 60_000, "flush_ms": 10_000, "base_ms": [5000, 5000, 5000], "light_ms": 1000}


def firmware(folder: Path, name: str, old: str, new: str) -> tuple[dict[str, bytes], bytes]:
    """The files of an application that differs in one place, and its hash."""
    root = folder / f"firmware-{len(list(folder.glob('firmware-*')))}"
    shutil.copytree(deploy.firmware_root(), root)
    text = (root / name).read_text()
    assert text.count(old) == 1 or name == "main.py"
    (root / name).write_text(text.replace(old, new))
    if name == "main.py":
        (root / "qres" / "port" / "start.py").rename(root / "qres" / "port" / "begin.py")
    (build,) = re.findall(r"(?m)^BUILD = (.*)$", deploy.firmware_sources(root)["qres/__init__.py"].decode())
    return deploy.firmware_files(root), ast.literal_eval(build)


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """A sentinel and two boards that sleep deeply, with an application that is not this one."""
    folder = tmp_path_factory.mktemp("ota")
    links = folder / "links"
    links.mkdir()
    files, _ = firmware(folder, "qres/energy.py", "The energy pool in integer", "The pool of energy in integer")
    recordings = [replace(each, period_ms=PERIOD_MS) for each in playback.make_weather(2)]
    specs = [replace(spec, files=files) for spec in make_specs(recordings, **QUICK)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QRES_RUNTIME_DIR", str(links))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("QRES_KEYS", str(folder / "keys.json"))
        with Swarm(specs, speed=1.0, loss=LOSS, links=links) as running:
            yield running


def qres(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "qres_host.cli", "ota", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_a_swarm_updates_itself_over_a_lossy_radio_the_gateway_last(swarm: Swarm) -> None:
    build = deploy.build_id().hex()
    dry = qres("--gateway", "virtual://sentinel", "--board", "virtual", "--dry-run")
    assert dry.returncode == OK and build in dry.stdout and not jobs.load()
    done = qres("--gateway", "virtual://sentinel", "--wait", str(TIMEOUT_S - 20))
    assert done.returncode == OK, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in done.stdout.splitlines() if line.endswith("updated")], done.stdout
    ended = [line for line in lines if line.endswith(": updated")]
    assert len(ended) == 3 and ended[-1].startswith("11:52:00:00"), lines
    again = qres("--gateway", "virtual://sentinel", "--wait", str(TIMEOUT_S - 20), "--json")
    told = json.loads(again.stdout)
    assert again.returncode == OK and told["over"] and told["frames"] < 40, "everybody has it already"
    assert {row["stage"] for row in told["boards"]} == {"updated"}


def test_an_application_that_crashes_is_rolled_back_and_the_board_goes_on(swarm: Swarm, tmp_path: Path) -> None:
    files, build = firmware(
        tmp_path, "qres/sensing.py", "        self.samples += 1\n", "        self.samples += None\n"
    )
    board = swarm.boards[1]
    node = packet.node_id(board.mac)
    bundle = bundles.make(files, build, DEMO_UPDATE_KEY, int(time.time()) + 1)
    swarm_of = fingerprint(parse_key(DEMO_KEY))
    jobs.save(Job(bundle, [node], swarm_of))
    heard: list[Found] = []
    courier = Courier(swarm_of)

    def listen(found: Sequence[Found]) -> None:
        courier.listen(found)
        heard.extend(found)

    collector = Collector([Uri("virtual", "sentinel")], parse_key(DEMO_KEY), must_open=True, listen=listen)
    with collector:
        courier.start(collector)
        end = time.monotonic() + TIMEOUT_S
        while not (courier.progress and courier.progress.over) and time.monotonic() < end:
            time.sleep(0.2)
        courier.stop()
        assert courier.progress is not None
        (row,) = courier.progress.boards
        assert row["stage"] == "rolled back", courier.progress
        since = len(heard)
        while not [r for r in heard[since:] if isinstance(r, Samples) and r.node == node]:
            assert time.monotonic() < end
            time.sleep(0.2)
    with Repl(swarm.ports[board.name]) as repl:
        assert ast.literal_eval(repl.run("import qres; print(qres.BUILD)")) == deploy.build_id()
        assert "next" not in repl.run("import os; print(os.listdir('/'))")
        repl.reset()
    assert qres("--status").returncode == OK and "rolled back" in qres("--status").stdout
    assert "forgotten" in qres("--cancel").stdout


def test_what_cannot_be_meant_is_refused(swarm: Swarm) -> None:
    unknown = qres("nobody", "--gateway", "virtual://sentinel")
    assert unknown.returncode == USAGE and "no board 'nobody' is known here" in unknown.stderr
    none = qres("--status")
    assert none.returncode and "no update is under way" in none.stderr


CONFIG = {
    "name": "tried",
    "role": "sentinel",
    "swarm_key": DEMO_KEY,
    "channels": [{"name": "t"}],
    "board": {"watchdog_ms": 0, "boot_window_ms": 0},
}
PLACES = {
    "imports": ("qres/rounds.py", "from qres.wake import", "from qres.no_such import"),
    "refuses": ("qres/config.py", 'cfg["power"] = dict(POWER)', 'raise ConfigError("not this one")'),
    "cannot update": ("qres/port/ota.py", "import gc\n", "import gc_of_no_board as gc\n"),
    "crashes": ("qres/commands.py", "NAMES = (", "NAMES = None and ("),
    "works": ("qres/energy.py", "The energy pool", "The pool of energy"),
    "works with its own main.py": ("main.py", "qres.port.start", "qres.port.begin"),
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Swarm, dict[str, bytes]]]:
    """Boards that have just been told to install an update, each another one; and what each update is called."""
    folder = tmp_path_factory.mktemp("tried")
    specs, builds = [], {}
    for number, (name, place) in enumerate(PLACES.items()):
        files, builds[name] = firmware(folder, *place)
        state = {"state": "trying", "build": builds[name].hex(), "sequence": 9, "boots": 0}
        staged = {f"next/{path}": data for path, data in files.items()}
        extra = {**staged, "update": json.dumps(state).encode()}
        mac = bytes((2, 0, 0, 0, 7, number))
        specs.append(BoardSpec(f"b{number}", mac, CONFIG, battery_mah=0, extra_files=extra))
    with Swarm(specs, speed=5.0, links=folder) as running:
        yield running, builds


@pytest.mark.parametrize("name", PLACES)
def test_a_board_at_which_an_update_is_tried(tried: tuple[Swarm, dict[str, bytes]], name: str) -> None:
    swarm, builds = tried
    port = swarm.ports[f"b{list(PLACES).index(name)}"]
    device = Device(Uri("serial", port))
    device.open()
    said = b""
    works = name.startswith("works")
    wanted = b"failed here" if not works else builds[name].hex().encode()
    end = time.monotonic() + TIMEOUT_S
    while wanted not in said or (works and said.count(wanted) < 2):
        assert time.monotonic() < end, said
        device.post(b'{"cmd": "status"}\n')
        said += device.read() or b""
        time.sleep(0.3)
    device.close()
    with Repl(port) as repl:
        build = ast.literal_eval(repl.run("import qres; print(qres.BUILD)"))
        there = ast.literal_eval(repl.run("import os; print(os.listdir('/'))"))
    assert build == (builds[name] if works else deploy.build_id())
    assert not {"next", "update", "prev"} & set(there) and "updated" in there
