"""What portable tests may use: it runs on CPython, on both MicroPython virtual machines and on a board.

A portable test is a plain function `test_*()` with bare asserts in `tests/portable/test_*.py`; it imports `qres`
and this module and nothing else that a chip does not have.
"""

import gc
import sys

try:
    from json import loads
except ImportError:  # a build without json
    loads = None

is_micropython = sys.implementation.name == "micropython"
is_32bit = sys.maxsize == 2**31 - 1  # the chip's word, and the 32-bit virtual machine's


def raises(expected, function, *args):
    """Call `function(*args)` and return the `expected` exception that it raises; AssertionError when it does not."""
    try:
        function(*args)
    except expected as error:
        return error
    raise AssertionError(str(expected) + " was not raised")


def xorshift(seed=1):
    """Endless test data, the same on every machine: integers of 0 to 2^30 - 1 (Marsaglia's xorshift32)."""
    state = (seed & 0xFFFFFFFF) or 1
    while True:
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        yield state >> 2


def below(source, limit):
    """The next number of `source` (an `xorshift`), folded into 0 to limit - 1."""
    return next(source) % limit


def noise(source, size):
    """`size` bytes from `source` (an `xorshift`)."""
    return bytes([(next(source) >> 7) & 0xFF for _ in range(size)])


def vectors(name):
    """The JSON document `tests/vectors/<name>.json`."""
    folder = __file__[: -len("support.py")] if "/" in __file__ else ""
    with open(folder + "vectors/" + name + ".json") as source:
        return loads(source.read())


def allocated():
    """Bytes of heap in use after a collection; 0 on CPython, which does not tell."""
    if not is_micropython:
        return 0
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


def run(name):
    """Run every test of the portable module `name` on a MicroPython machine; print one line a test, then RESULT."""
    passed = failed = 0
    try:
        module = __import__(name)
        tests = sorted([item for item in dir(module) if item.startswith("test_")])
    except Exception as error:
        print("FAIL import of " + name)
        sys.print_exception(error)
        tests = ()
        failed = 1
    for test in tests:
        gc.collect()
        try:
            getattr(module, test)()
        except Exception as error:
            failed += 1
            print("FAIL " + test)
            sys.print_exception(error)
        else:
            passed += 1
            print("ok   " + test)
    print("RESULT", passed, failed, gc.mem_alloc())
