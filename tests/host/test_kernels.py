"""Kernels: one text, the same bits from plain Python, Numba and the chip's machine code, within the chip's integers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from pathlib import Path

import kernel_runs
import numpy as np
import pytest
from qres_host import native, viper

KERNELS = [(module, kernel) for module, kernels in kernel_runs.modules().items() for kernel in kernels]
each_kernel = pytest.mark.parametrize(("module", "kernel"), KERNELS, ids=lambda item: str(item))
GOLDEN = json.loads(kernel_runs.VECTORS.read_text(encoding="utf-8"))
TYPES = {"i": np.int32, "H": np.uint16, "B": np.uint8}


def as_numpy(arguments: kernel_runs.Arguments) -> kernel_runs.Arguments:
    """The same arguments with NumPy's arrays for buffers."""
    return tuple(
        item if isinstance(item, int) else np.array(item, TYPES[getattr(item, "typecode", "B")]) for item in arguments
    )


def equal_everywhere(module: str, kernel: str, call: object, numpy: bool = False) -> None:
    """Every case gives its golden record."""
    assert callable(call)
    for number, case in enumerate(kernel_runs.cases(module, kernel)):
        given = as_numpy(case) if numpy else case
        assert kernel_runs.record(call, given) == GOLDEN[module][kernel][number], (number, case)


@pytest.mark.parametrize("module", kernel_runs.modules())
def test_every_kernel_has_cases_and_their_golden_records_are_those_of_plain_python(module: str) -> None:
    again = kernel_runs.plain(module)
    assert all(again.values()), "a kernel has no cases"
    assert again == GOLDEN.get(module), "python tests/kernel_runs.py writes them anew"


def test_no_golden_records_are_left_over() -> None:
    assert set(GOLDEN) <= set(kernel_runs.modules())


@each_kernel
def test_every_intermediate_is_a_small_integer_of_the_chip(module: str, kernel: str) -> None:
    equal_everywhere(module, kernel, getattr(kernel_runs.checked(module), kernel))


def test_the_check_of_intermediates_sees_what_it_must() -> None:
    checked = kernel_runs.checked("kernels")
    with pytest.raises(OverflowError):  # rate is far above its bound
        checked.nlms_update(0, 0, 0, 0, 1, 0, 8191, 1 << 25, array("i", [0]), array("i", [1]))
    with pytest.raises(OverflowError):
        checked.shift_for(array("i", [-1 << 31]), 0, 1)


@each_kernel
def test_numba_equals_plain_python(module: str, kernel: str) -> None:
    if not native.COMPILED:
        pytest.skip("Numba is not installed")
    compiled = getattr(native.load(module), kernel)
    assert hasattr(compiled, "nopython_signatures")
    equal_everywhere(module, kernel, compiled, numpy=True)


@each_kernel
def test_the_chips_machine_code_equals_plain_python(module: str, kernel: str) -> None:
    pytest.importorskip("unicorn", reason="the emulator unicorn is not installed")
    import rv32

    function = rv32.load(module)[kernel]
    equal_everywhere(module, kernel, function)
    assert function.instructions > 10


@pytest.mark.parametrize("module", kernel_runs.modules())
def test_instructions_are_recorded_for_every_kernel(module: str) -> None:
    pytest.importorskip("unicorn", reason="the emulator unicorn is not installed")
    rows = kernel_runs.instructions(module)
    assert [row[0] for row in rows] == kernel_runs.modules()[module]
    assert all(10 < mean <= most and helpers > 0 for _, mean, most, helpers in rows)


def test_the_emulator_tells_what_would_break_the_chip() -> None:
    pytest.importorskip("unicorn", reason="the emulator unicorn is not installed")
    import rv32

    push = rv32.load("kernels")["push"]
    with pytest.raises(MemoryError):  # reads behind the buffer
        push(array("i", [1, 2]), 0, 5000, 1)
    with pytest.raises(TypeError):
        push(array("i", [1, 2]), 0, 2)
    with pytest.raises(TypeError):
        push(3, 0, 2, 1)
    with pytest.raises(OverflowError):
        push(array("i", [1, 2]), 0, 2, 1 << 30)
    deltas = array("i", [1, 2])
    assert push(deltas, 0, 2, 7) == 0 and list(deltas) == [7, 1], "works on after errors"


def test_numba_takes_what_the_firmware_uses() -> None:
    weights, deltas = array("i", [65536, -300]), array("i", [70, 1 << 20])
    plain = kernel_runs.checked("kernels").nlms_predict(0, 0, 0, 0, 2, 9, weights, deltas)
    assert native.load("kernels").nlms_predict(0, 0, 0, 0, 2, 9, weights, deltas) == plain
    assert native.load("kernels").ORDER_MAX == 16
    with pytest.raises(ModuleNotFoundError):
        native.load("no_such_module")


PROBE = """
import numpy as np
from qres_host import native
d = np.array([5, 6, 7], np.int32)
print(native.COMPILED, native.load("kernels").push(d, 0, 3, 9), d.tolist())
"""


def probe(**environment: str) -> str:
    """What PROBE prints in a fresh process."""
    paths = os.pathsep.join(str(kernel_runs.ROOT / top) for top in ("firmware", "host"))
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_numba_kernels_run_as_plain_python() -> None:
    assert probe(QRES_NUMBA="0") == "False 0 [9, 5, 6]"


def test_compiled_code_is_kept_where_the_user_says(tmp_path: Path) -> None:
    if not native.COMPILED:
        pytest.skip("Numba is not installed")
    assert probe(NUMBA_CACHE_DIR=str(tmp_path)) == "True 0 [9, 5, 6]"
    assert list(tmp_path.rglob("kernels.push*.nbc"))


def test_kernels_compile_where_nothing_can_be_written() -> None:
    if not native.COMPILED:
        pytest.skip("Numba is not installed")
    assert probe(NUMBA_CACHE_DIR="/proc/nowhere") == "True 0 [9, 5, 6]"


def test_the_transform_keeps_lines_and_all_else() -> None:
    source = viper.source_path("kernels").read_text(encoding="utf-8")
    made = viper.transform(source)
    assert len(made.splitlines()) == len(source.splitlines())
    assert made.count("@micropython.viper\n") == source.count("@kernel\n") == 4
    assert "ptr32\n" not in made and "import micropython; from qres.compat import const" in made
    assert viper.transform("x = 1\n") == "x = 1\n"
