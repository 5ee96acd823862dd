"""What the viper compiler cannot do, or does differently from Python, is rejected with its line."""

from __future__ import annotations

from array import array
from pathlib import Path

import kernel_runs
import pytest
import qres
from qres_host import deploy, native, viper
from qres_host.errors import QresError
from support import below, xorshift

HEAD = "from qres.compat import const, kernel, ptr8, ptr32\nfrom qres.kernels import ORDER_MAX, shift_for\n"
HEAD += "SIZE = const(16)\nHUGE = const(1 << 30)\nPLAIN = 7\n"
SIGNATURE = "def f(buffer: object, n: int) -> int:"


def module(body: str, signature: str = SIGNATURE) -> str:
    """A module with one kernel of these statements; `w` is its buffer."""
    lines = ["w = ptr32(buffer)", *body.splitlines()]
    return HEAD + "@kernel\n" + signature + "\n" + "".join(f"    {line}\n" for line in lines)


REJECTED = {
    "calls without int": ("return f(buffer, n)", "int()"),
    "adds to a call": ("x = shift_for(buffer, n) + 1\nreturn x", "int()"),
    "passes a cast": ("return int(f(w, n))", "pass the parameter"),
    "calls a builtin": ("return int(abs(n))", "abs"),
    "calls min": ("return min(n, 3)", "min"),
    "takes a foreign constant": ("return n + ORDER_MAX", "folded"),
    "takes a global": ("return n + PLAIN", "folded"),
    "takes a large constant": ("return n & HUGE", "2^30"),
    "takes a large literal": ("return n & 0xFFFFFFFF", "2^30"),
    "takes a float": ("return 1.5", "2^30"),
    "takes a bool": ("while True:\n    n += 1\nreturn n", "2^30"),
    "divides": ("return n / 2", "Div"),
    "raises to a power": ("return n ** 2", "Pow"),
    "returns a comparison": ("return n > 2", "whole number"),
    "keeps a comparison": ("x = n > 2\nreturn 1", "whole number"),
    "takes the value of or": ("return n or 3", "whole number"),
    "chains comparisons": ("if 0 < n < 5:\n    return 1\nreturn 0", "two numbers"),
    "asks in": ("if n in (1, 2):\n    return 1\nreturn 0", "two numbers"),
    "returns nothing": ("return", "value"),
    "ends without return": ("n += 1", "without return"),
    "ends without return on one way": ("if n:\n    return 1", "without return"),
    "reads what one way sets": ("if n:\n    x = 1\nreturn x", "no value"),
    "reads what a loop sets": ("while n:\n    x = 1\n    n -= 1\nreturn x", "no value"),
    "reads the index behind a loop": ("for i in range(n):\n    pass\nreturn i", "no value"),
    "adds to nothing": ("x += 1\nreturn x", "neither a local"),
    "reads in front of a buffer": ("return w[-1]", "in front"),
    "indexes an object": ("return buffer[0]", "cast it first"),
    "indexes a call": ("return ptr32(buffer)[0]", "cast it first"),
    "slices": ("return w[0:1]", "whole number"),
    "casts onto the parameter": ("buffer = ptr32(buffer)\nreturn 1", "type"),
    "casts a number": ("v = ptr32(n)\nreturn 1", "annotated object"),
    "changes a type": ("x = 1\nx = ptr8(buffer)\nreturn 1", "type"),
    "computes with a buffer": ("return n + w", "not a number"),
    "unpacks a tuple": ("x, y = n, n\nreturn x", "one local"),
    "chains assignments": ("x = y = n\nreturn x", "one local"),
    "iterates a buffer": ("for i in w:\n    pass\nreturn 0", "range()"),
    "steps by a variable": ("for i in range(0, 9, n):\n    pass\nreturn 0", "step"),
    "raises": ("raise ValueError", "Raise"),
    "asserts": ("assert n\nreturn n", "Assert"),
    "annotates a local": ("x: int = 3\nreturn x", "AnnAssign"),
    "loops with else": ("while n:\n    n -= 1\nelse:\n    n = 1\nreturn n", "else"),
    "nests a function": ("def g() -> int:\n    return 1\nreturn 1", "FunctionDef"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_the_transform_rejects(case: str) -> None:
    body, reason = REJECTED[case]
    with pytest.raises(QresError) as error:
        viper.transform(module(body), "qres/example.py")
    assert error.value.message.startswith("qres/example.py:") and reason in error.value.message


@pytest.mark.parametrize(
    "signature",
    [
        "def f(buffer, n: int) -> int:",
        "def f(buffer: object, n: bool) -> int:",
        "def f(buffer: object, n: int):",
        "def f(buffer: object, n: int) -> bool:",
        "def f(buffer: object, n: int = 3) -> int:",
        "def f(buffer: object, *n: int) -> int:",
        "def f(buffer: object, *, n: int) -> int:",
    ],
)
def test_the_transform_rejects_signatures(signature: str) -> None:
    with pytest.raises(QresError):
        viper.transform(module("return 1", signature))


def test_the_line_of_an_error_is_that_of_the_source() -> None:
    with pytest.raises(QresError) as error:
        viper.transform(module("n += 1\nreturn n / 2"), "qres/example.py")
    assert error.value.message.startswith("qres/example.py:10: ")


@pytest.mark.parametrize(
    "body",
    [
        '"""Text."""\nreturn n',
        "return -n + ~n + (n << 3) // 5 % 7",
        "return SIZE - 1 if n > SIZE and not w[0] else -SIZE",
        "x = 0\nfor i in range(n):\n    x += w[i]\nreturn x",
        "x = 0\nfor i in range(n, 0, -1):\n    if i & 1:\n        continue\n    x ^= i\nreturn x",
        "while n > 3 or w[n] < 0:\n    n -= 1\n    if n == 9:\n        break\nreturn n",
        "w[n] = 3\nw[n + 1] += 2\nreturn int(shift_for(buffer, 0, w[2])) + int(f(buffer, 1))",
        "f(buffer, 3)\nif n:\n    x = 1\nelif w[0]:\n    return 5\nelse:\n    x = 2\nreturn x",
        "return int(n) + 1073741823",
    ],
)
def test_what_passes_the_transform_compiles(body: str) -> None:
    made = viper.transform(module(body))
    assert deploy.compile_mpy("example", made.encode(), ("-march=rv32imc",))


def test_imports_over_several_lines_keep_the_lines() -> None:
    source = (
        "from qres.compat import (\n    const,\n    kernel,\n    ptr8,\n)\n\n@kernel\ndef f() -> int:\n    return 1\n"
    )
    made = viper.transform(source)
    assert made.splitlines()[6:] == ["@micropython.viper", "def f() -> int:", "    return 1"]
    assert made.splitlines()[:5] == ["import micropython; from qres.compat import const", "", "", "", ""]


MIXED = '''"""Unsigned loads, calls of another module's kernel, and all operators, in one module."""

from qres.compat import const, kernel, ptr8, ptr16, ptr32
from qres.kernels import shift_for

HALF = const(1 << 15)
TWICE = const(HALF * 2)


@kernel
def count(value: int) -> int:
    """A name that the runtime knows, which machine code holds as a number."""
    return value & 7


@kernel
def mixed(longs: object, shorts: object, octets: object, n: int) -> int:
    a = ptr32(longs)
    b = ptr16(shorts)
    c = ptr8(octets)
    total = int(shift_for(longs, 0, n))
    for i in range(n):
        less = b[i] - b[i + 1]
        if less < 0 or c[i] - c[i + 1] < -100:
            total -= less >> 3
        total += (a[i] >> 7) ^ (c[i] - b[i])
        b[i] = (b[i] + ((TWICE - b[i]) >> 5)) & 0xFFFF
        c[i] += -c[i] // 3 & 7 if less else ~c[i] & 1
        a[i] -= less % 5
    return (total & 0xFFFFF) - HALF + int(count(n))
'''


def mixed_cases() -> list[tuple[array[int], array[int], bytearray, int]]:
    """Random buffers of eight and nine items."""
    source = xorshift(9)
    return [
        (
            array("i", [next(source) - (1 << 29) >> below(source, 20) for _ in range(9)]),
            array("H", [next(source) & 0xFFFF for _ in range(9)]),
            bytearray(next(source) & 0x7F for _ in range(9)),
            8,
        )
        for _ in range(50)
    ]


def test_a_module_of_all_constructs_is_equal_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("unicorn", reason="the emulator unicorn is not installed")
    import rv32

    (tmp_path / "mixed_kernels.py").write_text(MIXED)
    monkeypatch.setattr(qres, "__path__", [*qres.__path__, str(tmp_path)])
    checked = [kernel_runs.record(kernel_runs.checked("mixed_kernels").mixed, case) for case in mixed_cases()]
    assert len({record[0] for record in checked}) > 40
    compiled = native.load("mixed_kernels").mixed
    assert [kernel_runs.record(compiled, case) for case in mixed_cases()] == checked
    machine_code = rv32.load("mixed_kernels")["mixed"]
    assert [kernel_runs.record(machine_code, case) for case in mixed_cases()] == checked
