"""`qres build`: the folder that it writes, what it refuses, and the manifest for freezing."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from qres_host import cli, deploy
from qres_host.build import build
from test_virtual_deploy import read_back


def made(out: Path, *arguments: str) -> dict[str, Any]:
    """Build into `out`; what --json prints."""
    done = CliRunner().invoke(build, ["--out", str(out), "--json", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_the_folder_holds_what_is_deployed_and_lists_it(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"name": "a"}')
    out = tmp_path / "app"
    said = made(out, "--board", "xiao-esp32c6", "--config", str(config), "--image")
    files = deploy.firmware_files(arch="rv32imc")
    assert said["arch"] == "rv32imc" and said["build"] == deploy.build_id("rv32imc").hex()
    assert {**json.loads((out / "build.json").read_text()), "out": str(out)} == said
    for name, data in files.items():
        assert (out / name).read_bytes() == data
        assert said["files"][name] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert read_back((out / "littlefs.img").read_bytes()) == files | {"config.json": b'{"name": "a"}'}


def test_a_later_build_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path / "app", "--arch", "rv32imc")
    (tmp_path / "app" / "mine.txt").write_text("keep")
    made(tmp_path / "app", "--arch", "bytecode")
    assert not (tmp_path / "app" / "qres" / "plain" / "cm.mpy").exists()
    assert (tmp_path / "app" / "mine.txt").read_text() == "keep"


def test_two_architectures_are_two_applications(tmp_path: Path) -> None:
    one, other = (made(tmp_path / arch, "--arch", arch) for arch in ("rv32imc", "bytecode"))
    assert one["build"] != other["build"] and one["version"] == other["version"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "for which board"),
        (["--board", "virtual", "--arch", "rv32imc"], "virtual takes bytecode"),
        (["--board", "nothing"], "no board 'nothing'"),
        (["--arch", "bytecode", "--source", "--image"], "an image holds compiled files"),
        (["--arch", "bytecode", "--config", "missing.json"], "cannot read missing.json"),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["build", "--out", str(tmp_path / "app"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("mine")
    assert cli.run(["build", "--out", str(tmp_path), "--arch", "bytecode"]) == 2
    assert "holds other files" in capsys.readouterr().err
    (tmp_path / "build.json").write_text("[]")
    assert cli.run(["build", "--out", str(tmp_path), "--arch", "bytecode"]) == 2
    (tmp_path / "a.txt").unlink()
    (tmp_path / "build.json").write_text(json.dumps({"files": ["../a.txt"]}))
    outside = tmp_path.parent / "a.txt"
    outside.write_text("mine")
    assert cli.run(["build", "--out", str(tmp_path), "--arch", "bytecode"]) == 0
    assert outside.read_text() == "mine"


def freeze(folder: Path) -> dict[str, Path]:
    """What the manifest of a folder freezes, by path in the image, as MicroPython's manifest language has it."""
    frozen: dict[str, Path] = {}

    def package(path: str, files: None = None, base_path: str = ".", opt: int | None = None) -> None:
        top = folder / base_path
        frozen.update({file.relative_to(top).as_posix(): file for file in (top / path).rglob("*.py")})

    def module(path: str, base_path: str = ".", opt: int | None = None) -> None:
        frozen[path] = folder / base_path / path

    included: list[str] = []
    scope = {"package": package, "module": module, "include": included.append}
    exec(compile((folder / "manifest.py").read_text(), "manifest.py", "exec"), scope)
    assert included == ["$(PORT_DIR)/boards/manifest.py"]
    return frozen


def test_the_manifest_freezes_what_a_deploy_compiles(tmp_path: Path) -> None:
    made(tmp_path, "--arch", "rv32imc", "--source")
    frozen = freeze(tmp_path)
    assert {name: path.read_bytes() for name, path in frozen.items()} == deploy.firmware_sources(arch="rv32imc")
    assert b"@micropython.viper" in frozen["qres/cm.py"].read_bytes()
    assert b"@kernel" in frozen["qres/plain/cm.py"].read_bytes()
    for path in frozen.values():
        ast.parse(path.read_bytes())


def test_the_checkout_can_be_frozen_as_it_stands() -> None:
    root = deploy.firmware_root()
    assert {name: path.read_bytes() for name, path in freeze(root).items()} == deploy.read_sources(root)
