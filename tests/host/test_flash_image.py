"""Images: what is checked before a board is touched, and where they come from."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qres_host import deploy, hardware
from qres_host.errors import NO_DEVICE, USAGE, QresError
from qres_host.flash import fetch, files, image
from qres_host.flash.image import APP, DATA, ImageError, Partition
from qres_host.virtual import firmware
from run_vm import unix_machine
from test_virtual_deploy import read_back

GOOD = firmware.micropython(40_000)
APP_AT = 0x10000


def test_a_good_image_tells_what_it_is() -> None:
    found = image.check(GOOD)
    assert (found.app.project, found.app.version, found.app.chip) == ("micropython", "v1.28.0", image.ESP32C6)
    assert [part.label for part in found.table] == ["nvs", "phy_init", "factory", "vfs"]
    assert found.file_system(1 << 22) == (0x200000, 0x200000)
    regions = found.regions()
    assert [offset for offset, _ in regions] == [0, 0x8000, APP_AT]
    nvs = found.table[0]
    assert not [1 for at, data in regions if at < nvs.offset + nvs.size and at + len(data) > nvs.offset]


def test_a_table_without_vfs_leaves_the_rest_of_the_flash_to_files() -> None:
    data = image.make_image(bytes(9000), firmware.TABLE[:3])
    found = image.check(data)
    assert found.file_system(1 << 22) == (0x200000, 0x200000)
    assert found.file_system(1 << 23) == (0x200000, 0x600000)
    with pytest.raises(ImageError, match="does not fit 2 MB"):
        found.file_system(1 << 21)


def damaged(at: int) -> bytes:
    data = bytearray(GOOD)
    data[at] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no bootloader at 0x0"),
        (b"<html>404</html>" * 9000, "no bootloader at 0x0"),
        (damaged(100), "the bootloader is damaged"),
        (damaged(APP_AT + 3000), "the application is damaged: its checksum is wrong"),
        (damaged(len(GOOD) - 1), "the application is damaged: its SHA-256 is wrong"),
        (damaged(0x8000 + 5), "the partition table is damaged: its MD5 is wrong"),
        (damaged(0x8000), "no partition table at 0x8000"),
        (GOOD[:-10_000], "the application is cut off"),
        (GOOD[:0x9000], "no application at 0x10000"),
        (firmware.micropython(9000, chip=5), "the image is for ESP32-C3, not for ESP32-C6"),
        (bytes((1 << 22) + 1), "the board's flash 4,194,304"),
        (image.make_image(bytes(9000), [Partition("f", APP, 0, APP_AT, 8192), *firmware.TABLE]), "its partition 8,192"),
        (image.make_image(bytes(99), [Partition("x", DATA, 2, 0x9000, 4096), *firmware.TABLE[2:3]]), ""),
    ],
)
def test_what_must_not_be_flashed_is_refused_with_the_reason(data: bytes, says: str) -> None:
    if not says:
        image.check(data)
        return
    with pytest.raises(ImageError) as caught:
        image.check(data)
    assert says in caught.value.line() and caught.value.exit_code == USAGE


@given(st.binary(max_size=200), st.integers(0, len(GOOD) - 1), st.integers(0, len(GOOD)))
def test_any_bytes_are_an_image_or_an_image_error(noise: bytes, at: int, end: int) -> None:
    for data in (noise, GOOD[:at] + noise + GOOD[at + len(noise) :], GOOD[:end]):
        try:
            assert image.check(data).data == data
        except ImageError as error:
            assert error.line()


# The file system


def test_only_blocks_that_littlefs_reads_are_written_whatever_lies_in_the_others() -> None:
    application = {"main.py": b"print(1)", **{f"qres/m{k}.mpy": bytes([k]) * 3000 for k in range(40)}}
    built = deploy.build_image({"name": "a"}, files=application)
    regions = files.regions(built, 0)
    assert sum(len(data) for _, data in regions) < len(built) / 4
    stale = deploy.build_image(
        {"name": "old"}, {f"log{k}": bytes(2000) for k in range(200)}, files={"old.py": b"2" * 99_000}
    )
    flash = bytearray(stale)
    for at, data in regions:
        flash[at : at + len(data)] = data
    assert read_back(bytes(flash)) == read_back(built)
    assert {at % 65536 for at, _ in regions} == {0}
    assert files.joined(regions) == [(0, b"".join(data for _, data in regions))]


def test_own_files_follow_the_application_without_a_gap() -> None:
    application = {f"qres/m{k}.mpy": bytes([k]) * 3000 for k in range(20)}
    for size in (100, 5000):
        parts = files.joined(files.regions(deploy.build_image(None, {"own": bytes(size)}, application), 0))
        assert [at for at, _ in parts] == [0] and len(parts[0][1]) <= 2 * 65536


@pytest.mark.parametrize("count", [28, 29])
def test_an_image_may_be_full_to_the_last_block(count: int) -> None:
    application = {f"m{k}": bytes([k + 1]) * 3000 for k in range(count)}
    built = deploy.build_image({"name": "a"}, {"own": bytes(300)}, application, 32)
    assert sum(len(data) for _, data in files.regions(built, 0)) == 32 * 4096
    with pytest.raises(QresError, match="do not fit"):
        deploy.build_image(None, {"own": bytes(9000)}, application, 32)


CHIP = """
import hashlib, os, sys
class Flash:
    def __init__(self):
        with open(sys.argv[1], "rb") as file:
            self.data = bytearray(file.read())
    def readblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        buf[:] = self.data[at:at + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        at = block * 4096 + offset
        assert all(self.data[at + k] == 255 for k in range(len(buf)))
        self.data[at:at + len(buf)] = buf
    def ioctl(self, op, block):
        if op == 6:
            self.data[block * 4096:block * 4096 + 4096] = bytes([255]) * 4096
        return len(self.data) // 4096 if op == 4 else 4096 if op == 5 else 0
flash = Flash()
def tell():
    os.mount(os.VfsLfs2(flash), "/flash")  # as the chip's own script does: nothing but defaults
    for name in sorted(os.listdir("/flash")):
        with open("/flash/" + name, "rb") as file:
            print(name, hashlib.sha256(file.read()).digest().hex())
    for k in range(40):
        with open("/flash/new%02d" % k, "wb") as file:
            file.write(bytes([k]) * 3000)
    os.umount("/flash")
tell()
tell()
"""


def test_micropython_reads_and_writes_an_image_with_its_own_settings(tmp_path: Path) -> None:
    held = {f"f{size}": bytes([size % 251]) * size for size in (0, 1, 127, 128, 129, 130, 500, 4096, 4100, 20_000)}
    (tmp_path / "image").write_bytes(deploy.build_image(None, {"own": bytes(200)}, held))
    command = [unix_machine(), "-X", "heapsize=8m", "-c", CHIP, str(tmp_path / "image")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    held["own"] = bytes(200)
    first = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(held.items())]
    held.update({f"new{k:02}": bytes([k]) * 3000 for k in range(40)})
    assert said == first + [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(held.items())]


def test_a_boards_own_files_are_told_from_the_applications_and_fetched_alone() -> None:
    own = {"identity": b"k", "selftest": b"x", "lib/mine.py": b"y" * 9000}
    flash = deploy.build_image({"name": "a"}, own)
    fetched: list[int] = []

    def fetch(offset: int, count: int) -> bytes:
        fetched.append(count)
        return flash[offset : offset + count]

    found = files.read_own(fetch, len(flash))
    assert sorted(found) == ["config.json", "identity", "lib/mine.py"] and found["lib/mine.py"] == own["lib/mine.py"]
    assert sum(fetched) < len(flash) / 3

    def cut(offset: int, count: int) -> bytes:
        if offset:
            raise QresError("the board has gone")
        return flash[:count]

    with pytest.raises(QresError, match="has gone"):
        files.read_own(cut, len(flash))


@pytest.mark.parametrize("data", [b"\xff" * 65536, bytes(65536), b"....littlefs" + bytes(65524), b""])
def test_what_holds_no_file_system_has_no_files(data: bytes) -> None:
    assert files.read_own(lambda offset, count: data[offset : offset + count].ljust(count, b"\xff"), 65536) == {}


# Where it comes from


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; `cut.bin` ends too early."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if not self.path.endswith("cut.bin"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        self.wfile.write(GOOD[:1000])
        return None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    served = tmp_path / "served"
    served.mkdir()
    (served / "good.bin").write_bytes(firmware.micropython(90_000))
    (served / "page.bin").write_bytes(b"<html>not found</html>")
    handler: type[BaseHTTPRequestHandler] = partial(Quiet, directory=str(served))  # type: ignore[assignment]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_download_is_checked_and_kept(server: str, tmp_path: Path) -> None:
    board = hardware.load("generic-esp32c6")
    first = fetch.load(f"{server}/good.bin", board)
    (tmp_path / "served" / "good.bin").unlink()
    assert fetch.load(f"{server}/good.bin", board).data == first.data


@pytest.mark.parametrize(
    ("name", "says"), [("cut.bin", "cut off"), ("page.bin", "no MicroPython"), ("none.bin", "not found")]
)
def test_a_download_that_is_no_image_is_refused_and_not_kept(server: str, name: str, says: str) -> None:
    for _ in range(2):
        with pytest.raises(QresError, match=says):
            fetch.load(f"{server}/{name}", hardware.load("generic-esp32c6"))
    assert not list(fetch.cache_dir().glob("*"))


def test_a_pinned_build_must_hash_to_its_pin(server: str) -> None:
    board = hardware.load("generic-esp32c6")
    right = hashlib.sha256(firmware.micropython(90_000)).hexdigest()
    where = f"{server}/good.bin"
    assert fetch.load("", replace(board, image={**board.image, "url": where, "sha256": right})).app.version
    with pytest.raises(QresError, match="not the build that was pinned"):
        fetch.load("", replace(board, image={**board.image, "url": where, "sha256": "0" * 64}))


def test_an_address_that_does_not_answer_ends_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(QresError, match="cannot download") as caught:
        fetch.load("http://127.0.0.1:1/x.bin", hardware.load("generic-esp32c6"))
    assert "--image" in caught.value.remedy and caught.value.exit_code == NO_DEVICE
    with pytest.raises(QresError, match="cannot download ftp"):
        fetch.load("ftp://127.0.0.1/x.bin", hardware.load("generic-esp32c6"))
    with pytest.raises(QresError, match="cannot read"):
        fetch.load(str(tmp_path / "none.bin"), hardware.load("generic-esp32c6"))
