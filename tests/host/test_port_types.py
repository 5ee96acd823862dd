"""The code that touches hardware, type-checked against the stubs of the firmware that the chip runs."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("micropython-esp32-esp32_generic_c6-stubs", "micropython-stdlib-stubs")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the stubs alone: mypy does not look for them in site-packages."""
    folder = ROOT / "build" / "stubs"
    if (folder / "espnow.pyi").is_file() and (folder / "stdlib").is_dir():
        return folder
    folder = tmp_path_factory.mktemp("stubs")
    for package in PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is neither in build/stubs nor installed")
        for file in files:
            if file.parts[0] != ".." and file.suffix in (".pyi", "") and "dist-info" not in file.parts[0]:
                target = folder / str(file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return folder


def check(stubs: Path, cache: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy as the head of firmware/mypy.ini says, on `files` instead of its own list when given."""
    command = [sys.executable, "-m", "mypy", "--config-file", "firmware/mypy.ini", "--cache-dir", str(cache)]
    command += ["--custom-typeshed-dir", str(stubs), *map(str, files)]
    environment = {**os.environ, "MYPYPATH": str(stubs)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_every_hardware_call_exists_on_the_chip(stubs: Path, tmp_path: Path) -> None:
    result = check(stubs, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_check_would_notice_a_call_that_does_not_exist(stubs: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import machine, espnow, time\n"
        "machine.deepslep(5)\n"
        "machine.WDT(timeout='long')\n"
        "espnow.ESPNow().receive(1)\n"
        "time.sleep_ms('1')\n"
        "time.perf_counter()\n"
    )
    result = check(stubs, tmp_path, wrong)
    assert result.stdout.count("wrong.py:") == 5, result.stdout
