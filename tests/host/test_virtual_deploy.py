"""What is put on a board: compiled files, configuration, image."""

from __future__ import annotations

import json

import pytest
from littlefs import LittleFS
from qres_host import deploy
from qres_host.errors import QresError


def read_back(image: bytes) -> dict[str, bytes]:
    """Return every file of an image by its path."""
    system = LittleFS(block_size=deploy.BLOCK_BYTES, block_count=deploy.BLOCKS, mount=False, **deploy.LITTLEFS_GEOMETRY)
    system.context.buffer[:] = image
    system.mount()
    found = {}
    for folder, _folders, names in system.walk("/"):
        for name in names:
            path = f"{folder}/{name}".replace("//", "/").removeprefix("/")
            with system.open(path, "rb") as file:
                found[path] = file.read()
    return found


def test_image_holds_the_firmware_and_the_configuration() -> None:
    files = read_back(deploy.build_image({"name": "a"}))
    assert json.loads(files.pop("config.json")) == {"name": "a"}
    assert files == deploy.firmware_files()
    assert {"boot.py", "main.py", "qres/node.mpy", "qres/port/esp32.mpy"} <= set(files)
    assert not [name for name in files if name.startswith("qres/") and not name.endswith(".mpy")]


def test_the_file_that_names_the_application_is_written_last() -> None:
    for arch in ("bytecode", "rv32imc"):
        *_, (name, data) = deploy.firmware_files(arch=arch).items()
        assert name == "qres/__init__.mpy" and deploy.build_id(arch) in data


def test_images_of_one_application_share_all_but_their_own_files() -> None:
    one = read_back(deploy.build_image({"name": "a"}, {"lib/x.py": b"1"}))
    other = read_back(deploy.build_image({"name": "b"}))
    assert one.pop("lib/x.py") == b"1"
    assert {name for name in one if one[name] != other[name]} == {"config.json"}
    assert read_back(deploy.build_image(None, files={})) == {}
    pair = {"a": bytes(900), "b": bytes(100)}
    assert deploy.build_image(None, pair) == deploy.build_image(None, dict(reversed(pair.items())))


def test_bytecode_names_its_source_and_is_compiled_once() -> None:
    first = deploy.compile_mpy("qres/thing.py", b"x = 1\n")
    assert first[:1] == b"M"
    assert b"qres/thing.py" in first
    assert deploy.compile_mpy("qres/thing.py", b"x = 1\n") is first


def test_what_does_not_compile_or_fit_is_a_one_line_error() -> None:
    with pytest.raises(QresError, match="does not compile"):
        deploy.compile_mpy("thing.py", b"def (:\n")
    with pytest.raises(QresError, match="do not fit"):
        deploy.build_image(None, files={"big": bytes(deploy.BLOCK_BYTES * deploy.BLOCKS)})
