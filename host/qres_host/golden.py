"""Calls of every kernel with what plain Python makes of them: what a board tests its machine code with.

The arguments are recorded while a sensor's data goes through every predictor and coder; of each kernel a few calls are
kept that together run through every line that the recording reached. That changes the modules that it records, hence
`make` starts `main` in a process of its own.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from qres_host import viper
from qres_host.errors import QresError

RECORDED = 40  # calls of a kernel that are looked at, spread over the whole run
KEPT = 5  # thereof on the board, at most
ROWS = 48
WINDOW_BITS = 12  # of the compression: a board needs that much memory to read it
TIMEOUT_S = 120
Arguments = tuple[Any, ...]
Kernel = Callable[..., int]


def modules(root: Path) -> dict[str, list[str]]:
    """Every module below `root`/qres that has kernels, by its dotted name there, with their names.

    A module comes after those whose kernels it calls.
    """
    trees = {}
    for path in sorted((root / "qres").rglob("*.py")):
        tree = ast.parse(path.read_bytes(), str(path))
        if viper.kernels_of(tree):
            trees[".".join(path.relative_to(root / "qres").with_suffix("").parts)] = tree
    found: dict[str, list[str]] = {}

    def add(name: str) -> None:
        if name not in found:
            for owner, _ in viper.foreign_kernels(trees[name]).values():
                add(owner)
            found[name] = [kernel.name for kernel in viper.kernels_of(trees[name])]

    for name in trees:
        add(name)
    return found


class Golden(NamedTuple):
    """The source of the module qres.port.golden, and the modules whose kernels are all tested by it, in its order."""

    source: bytes
    modules: tuple[str, ...]


@cache
def make(root: Path) -> Golden:
    """What tests the kernels of the package below `root`. Raises QresError."""
    command = [sys.executable, "-c", "from qres_host import golden; golden.main()", str(root)]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise QresError("the self-test of the kernels cannot be made", lines[-1] if lines else "")
    kernels = next(line for line in done.stdout.splitlines() if line.startswith(b"KERNELS = "))
    return Golden(done.stdout, tuple(name for name, _ in ast.literal_eval(kernels[len(b"KERNELS = ") :].decode())))


class Recorder:
    """Takes the place of kernels wherever they are called, and keeps the arguments of some calls."""

    def __init__(self) -> None:
        self.calls: dict[Kernel, list[Arguments]] = {}
        self.counts: dict[Kernel, int] = {}
        self.every: dict[Kernel, int] = {}

    def watch(self, kernel: Kernel, loaded: list[ModuleType]) -> None:
        """Put a spy into every name of the loaded modules that means `kernel`."""
        self.calls[kernel], self.counts[kernel], self.every[kernel] = [], 0, 1

        def spy(*arguments: Any) -> int:
            self._keep(kernel, arguments)
            return kernel(*arguments)

        for module in loaded:
            for name, value in list(vars(module).items()):
                if value is kernel:
                    setattr(module, name, spy)

    def _keep(self, kernel: Kernel, arguments: Arguments) -> None:
        """Keep one call in `every`; when they are too many, each second is dropped and calls are kept more rarely."""
        kept = self.calls[kernel]
        if self.counts[kernel] % self.every[kernel] == 0:
            kept.append(copied(arguments))
            if len(kept) >= 2 * RECORDED:
                del kept[1::2]
                self.every[kernel] *= 2
        self.counts[kernel] += 1


def copied(arguments: Arguments) -> Arguments:
    """The arguments with buffers of their own; a view becomes an array of what it shows."""
    return tuple(
        array(item.format, bytes(item)) if isinstance(item, memoryview) else item if isinstance(item, int) else item[:]
        for item in arguments
    )


def rows(channels: int, seed: int) -> Iterator[tuple[int | None, ...]]:
    """A walk of every size of step, with gaps, standstill and extreme values; the same in every run."""
    state, values = seed, [0] * channels
    for i in range(ROWS):
        for c in range(channels):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            size = (0, 3, 40, 900, 70000, 1 << 24)[i * 6 // ROWS]
            values[c] = max(min(values[c] + (state >> 8) % (2 * size + 1) - size, 2**31 - 1), -(2**31))
        if i % 17 == 11:
            values[0] = (2**31 - 1, -(2**31))[i & 1]
        yield tuple(None if (i * 7 + c) % 29 == 5 else v for c, v in enumerate(values))


ENTROPIES = [0] * 20 + [65536] * 2 + [26214] * 60 + [0] * 60 + [65536] * 8 + [0] * 70
"""Q16.16, through every regime: a false alarm that times out, quiet, a storm and its end."""


def drive() -> None:
    """Run every predictor and every coder on a board's data, decode what was packed; run the regimes."""
    from qres import codec, config, encoder, predict, regime
    from qres.sensing import Sensing

    for profile in sorted(regime.TABLES):
        machine = regime.Machine(profile)
        for entropy in ENTROPIES:
            machine.push(entropy)
    settings = config.load({"swarm_key": "00" * 32, "channels": [{"name": "a"}, {"name": "b"}]})
    for predictor in predict.NAMES:
        for coder in encoder.CODERS:
            sensing = Sensing({**settings, "predictor": predictor, "coder": coder})
            payloads = [sensing.take(i, row, 0)[1] for i, row in enumerate(rows(2, 7))]
            for payload in [*payloads, sensing.flush(0)]:
                if payload:
                    codec.decode(payload, {sensing.model.hash: sensing.model})


def chosen(kernel: Kernel, calls: list[Arguments]) -> list[Arguments]:
    """At most KEPT of the calls: again and again that which runs through most lines that none did before.

    Among equals it is the one that takes the fewest bytes.
    """
    calls = sorted(calls, key=lambda call: len(zlib.compress(packed(kernel, [call]))))
    reached = [(lines_of(kernel, call), call) for call in calls]
    found: list[Arguments] = []
    seen: set[int] = set()
    while len(found) < KEPT:
        lines, best = max(reached, key=lambda item: len(item[0] - seen), default=(set(), ()))
        if not lines - seen:
            break
        found.append(best)
        seen |= lines
    return found


def lines_of(kernel: Kernel, arguments: Arguments) -> set[int]:
    """The lines of `kernel` that a call runs through."""
    seen: set[int] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is kernel.__code__:
            seen.add(frame.f_lineno)
            return trace
        return None

    sys.settrace(trace)
    try:
        kernel(*copied(arguments))
    finally:
        sys.settrace(None)
    return seen


def packed(kernel: Kernel, calls: list[Arguments]) -> bytes:
    """The calls of one kernel as qres.port.selftest reads them."""
    out = bytearray(number(len(calls)))
    for arguments in calls:
        out += number(len(arguments))
        for item in arguments:
            if isinstance(item, int):
                out += b"n" + number(item)
            else:
                data = bytes(item)
                kind = item.typecode if isinstance(item, array) else "B"
                out += kind.encode() + number(len(data)) + data
        after = copied(arguments)
        out += number(kernel(*after))
        for item in after:
            if not isinstance(item, int):
                out += number(zlib.crc32(bytes(item)))
    return bytes(out)


def number(value: int) -> bytes:
    """A zigzag varint."""
    from qres.state import put_varint, zigzag  # of the package that `main` was given

    out = bytearray()
    put_varint(out, zigzag(value))
    return bytes(out)


def main() -> None:
    """Record and write."""
    root = Path(sys.argv[1])
    sys.path.insert(0, str(root))
    for path in sorted((root / "qres").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "port" not in parts:
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    loaded = [module for name, module in sys.modules.items() if name.split(".")[0] == "qres"]
    recorder = Recorder()
    plain = {
        name: {own: getattr(sys.modules[f"qres.{name}"], own) for own in kernels}
        for name, kernels in modules(root).items()
    }
    for kernels in plain.values():
        for kernel in kernels.values():
            recorder.watch(kernel, loaded)
    drive()
    # A module that the run does not reach in full stays bytecode.
    tested = {name: kernels for name, kernels in plain.items() if all(map(recorder.calls.get, kernels.values()))}
    calls = b"".join(
        packed(kernel, chosen(kernel, recorder.calls[kernel]))
        for kernels in tested.values()
        for kernel in kernels.values()
    )
    squeezer = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS)
    lines = [
        '"""Calls of kernels and what plain Python makes of them; made at deploy, read by qres.port.selftest."""',
        f"KERNELS = {tuple((name, tuple(kernels)) for name, kernels in tested.items())!r}",
        f"CALLS = {squeezer.compress(calls) + squeezer.flush()!r}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
