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
    """Bytes of heap in use after a collection; 0 on CPython, which does not tell.

    The 32-bit machine collects only between the steps of a Session: measure there at the start of a test or a stage.
    """
    if not is_micropython:
        return 0
    gc.collect()
    return gc.mem_alloc()


class Session:
    """Runs the tests of one portable module on a MicroPython machine, a step at a time, and prints a line a test.

    A test that returns a function has a further stage, run in a step of its own: with the garbage of the one before
    collected, on every machine. (Under pytest a test must return None: such tests return early on CPython.)
    """

    def __init__(self, name):
        """Import the module `name`; the steps run its functions `test_*`."""
        self.passed = self.failed = 0
        self.stage = None
        self.name = ""
        self.tests = []
        try:
            self.module = __import__(name)
            self.tests = sorted([item for item in dir(self.module) if item.startswith("test_")])
        except Exception as error:
            self.fail("import of " + name, error)

    def fail(self, what, error):
        """Count and show a failure."""
        self.failed += 1
        print("FAIL " + what)
        sys.print_exception(error)

    def step(self):
        """Run one stage of one test, or print the RESULT; whether there is more to do."""
        gc.collect()
        if self.stage is None:
            if not self.tests:
                print("RESULT", self.passed, self.failed, gc.mem_alloc())
                return False
            self.name = self.tests.pop(0)
            self.stage = getattr(self.module, self.name)
        stage, self.stage = self.stage, None
        try:
            self.stage = stage()
        except Exception as error:
            self.fail(self.name, error)
            return True
        if self.stage is None:
            self.passed += 1
            print("ok   " + self.name)
        return True


def run(name):
    """Run every test of the portable module `name`; where a collection needs no return to the host, in one go."""
    session = Session(name)
    while session.step():
        pass
