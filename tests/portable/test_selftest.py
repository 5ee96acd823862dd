"""port.selftest: calls of kernels are read, made and compared on this very machine; whatever is wrong is a fault."""

import sys
from array import array

from kernel_cases import kernels as cases
from qres import kernels
from qres.compat import crc32
from qres.port import selftest
from qres.state import put_varint, zigzag

NAMES = ("shift_for", "nlms_predict", "push")
EACH = 6


class Golden:
    """As the module qres.port.golden."""

    KERNELS = (("kernels", NAMES),)

    def __init__(self, calls):
        self.CALLS = stored(calls)


def stored(data):
    """`data` as zlib has it without compression (RFC 1950, RFC 1951)."""
    a, b = 1, 0
    for byte in data:
        a = (a + byte) % 65521
        b = (b + a) % 65521
    size = len(data)
    head = b"\x78\x01\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return head + bytes(data) + b.to_bytes(2, "big") + a.to_bytes(2, "big")


def number(value):
    out = bytearray()
    put_varint(out, zigzag(value))
    return bytes(out)


def calls(wrong=None):
    """Some cases of each kernel with what they give here; the result of the kernel `wrong` is one more."""
    out = bytearray()
    for name in NAMES:
        some = [case for _, case in zip(range(EACH), getattr(cases, name)())]
        out += number(len(some))
        for case in some:
            out += number(len(case))
            for item in case:
                if isinstance(item, int):
                    out += b"n" + number(item)
                else:
                    out += b"i" + number(4 * len(item)) + bytes(item)
            result = getattr(kernels, name)(*case)
            out += number(result + 1 if name == wrong else result)
            for item in case:
                if not isinstance(item, int):
                    out += number(crc32(bytes(item)))
    return bytes(out)


def can_inflate():
    try:
        import deflate
    except ImportError:  # CPython: tests/host/test_deploy_selftest.py has one
        return False
    return bool(deflate)


def test_right_calls_pass_and_the_wrong_kernel_is_named():
    if not can_inflate():
        return
    assert selftest.fault(Golden(calls())) == ""
    for name in NAMES:
        assert selftest.fault(Golden(calls(name))) == "kernels.%s differs in call 0" % name


def test_what_cannot_be_read_is_a_fault():
    if not can_inflate():
        return
    whole = calls()
    for size in range(0, len(whole), 97):
        assert selftest.fault(Golden(whole[:size]))
    broken = Golden(whole)
    broken.CALLS = b"no zlib"
    assert selftest.fault(broken)
    broken.KERNELS = (("no_such_module", NAMES),)
    assert selftest.fault(broken)


def test_arguments_come_back():
    if not can_inflate():
        return
    words = array("H", [1, 65535])
    data = b"n" + number(-5) + b"B" + number(2) + b"\x01\x02" + b"H" + number(4) + bytes(words)
    reader = selftest._Reader(stored(data + number(2**31 - 1) + number(-(2**31))))
    assert reader.argument() == -5
    assert reader.argument() == bytearray(b"\x01\x02")
    assert list(reader.argument()) == list(words)
    assert (reader.number(), reader.number()) == (2**31 - 1, -(2**31))


def test_bytecode_takes_the_place_of_machine_code():
    class Module:
        KERNELS = (("kernels", NAMES),)

    plain, before = Module(), sys.modules["qres.kernels"]
    sys.modules["qres.port.golden"] = Module()
    sys.modules["qres.plain.kernels"] = plain
    import qres

    kept = qres.KERNELS
    qres.port.golden = sys.modules["qres.port.golden"]
    real = selftest._module
    selftest._module = lambda name: plain if name == "qres.plain.kernels" else real(name)
    try:
        selftest.use_bytecode()
        assert sys.modules["qres.kernels"] is plain and qres.kernels is plain and qres.KERNELS == 2
        assert __import__("qres.kernels", None, None, ("KERNELS",)) is plain
        assert "qres.port.golden" not in sys.modules and not hasattr(qres.port, "golden")
    finally:
        selftest._module = real
        qres.KERNELS = kept
        qres.kernels = sys.modules["qres.kernels"] = before
        del sys.modules["qres.plain.kernels"]
