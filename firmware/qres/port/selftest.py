"""Machine code runs only on a board where it passed its test; else bytecode takes its place, and the board says so.

A deploy brings the modules with kernels twice, as machine code in their places and as bytecode in qres/plain/, and in
`qres.port.golden` calls of every kernel with what plain Python made of them.  The first boot of an application makes
these calls and ends in a reset; the file `selftest` keeps the verdict: the application's hash, then a word.  A word
stands there during the test too, so that a crash or a hang is a verdict at the next boot.
"""

import sys
from array import array

import qres
from qres.compat import crc32
from qres.events import DEEP_SLEEP, POWER_ON

if False:
    from typing import Any

    from qres.port.contract import Port

NAME = "selftest"
PASSED = b"passed"
_BEGUN = b"begun"
_AGAIN = b"begun again"
_CRASHED = b"the board reset inside the test"


def choose(port: "Port") -> None:
    """Test machine code that was never tested, which ends in a reset; put bytecode in the place of what has failed."""
    kept = port.read(NAME) or b""
    word = kept[len(qres.BUILD) :] if kept[: len(qres.BUILD)] == qres.BUILD else b""
    cause = port.reset_cause()
    try:
        if not word or (word == _BEGUN and cause == POWER_ON):  # a cable that was pulled is no crash
            _test(port, _AGAIN if word else _BEGUN)
        if word in (_BEGUN, _AGAIN):
            word = _CRASHED
            port.write(NAME, qres.BUILD + word)
    except OSError as error:  # a full or worn flash cannot keep a verdict
        word = str(error).encode()
    if cause != DEEP_SLEEP:
        port.text("kernels run as bytecode, not as machine code: " + word.decode())
    use_bytecode()


def _test(port: "Port", word: bytes) -> None:
    """Run the test, keep its verdict, reset.  OSError when it cannot be kept; Ctrl-C is no verdict."""
    port.write(NAME, qres.BUILD + word)
    try:
        text = fault(_module("qres.port.golden"))
    except KeyboardInterrupt:
        port.write(NAME, b"")
        raise
    port.write(NAME, qres.BUILD + (text.encode() or PASSED))
    port.text("self-test of the kernels: " + (text or "passed"))
    port.reset(0)


def fault(golden: "Any") -> str:
    """What goes wrong in the calls of `golden`; "" when every kernel gives just what plain Python gave."""
    try:
        source = _Reader(golden.CALLS)
        for name, kernels in golden.KERNELS:
            module = _module("qres." + name)
            for kernel in kernels:
                for call in range(source.number()):
                    arguments = [source.argument() for _ in range(source.number())]
                    found = [getattr(module, kernel)(*arguments)]
                    found += [crc32(bytes(item)) for item in arguments if not isinstance(item, int)]
                    if [n for n in found if n != source.number()]:
                        return "%s.%s differs in call %d" % (name, kernel, call)
    except Exception as error:  # whatever it is, bytecode does without: ValueError for code of another chip
        return "%s %s" % (type(error).__name__, error)
    return ""


class _Reader:
    """Numbers and arguments from compressed bytes."""

    def __init__(self, data: bytes) -> None:
        import io

        from deflate import ZLIB, DeflateIO

        self.read = DeflateIO(io.BytesIO(data), ZLIB).read

    def number(self) -> int:
        """A zigzag varint."""
        value = shift = 0
        while True:
            byte = self.read(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return -(value + 1 >> 1) if value & 1 else value >> 1

    def argument(self) -> "Any":
        """A number, or a buffer: its kind, its length in bytes, what is in it."""
        kind = self.read(1)
        if kind == b"n":
            return self.number()
        data = self.read(self.number())
        return bytearray(data) if kind == b"B" else array(kind.decode(), data)


def use_bytecode() -> None:
    """Load the modules of qres/plain/ under the names of those that hold machine code, before anybody imports these."""
    for name, _ in _module("qres.port.golden").KERNELS:
        module = _module("qres.plain." + name)
        sys.modules["qres." + name] = module
        parent, _, own = ("qres." + name).rpartition(".")
        setattr(_module(parent), own, module)
    del sys.modules["qres.port.golden"]  # 9 KB of heap that nobody needs any more
    del _module("qres.port").golden
    qres.KERNELS = 2


def _module(name: str) -> "Any":
    return __import__(name, None, None, ("__name__",))
