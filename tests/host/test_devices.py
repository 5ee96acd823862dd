"""Devices: URIs, one-line errors with exit code 3, and ports that come back."""

from __future__ import annotations

import os
import pty
import socket
import time
from pathlib import Path

import pytest
from qres_host import devices
from qres_host.devices import Device, Uri, parse_uri
from qres_host.errors import NO_DEVICE, USAGE, QresError


def wait_open(device: Device) -> None:
    """Poll until the device is open, as the collector does."""
    give_up = time.monotonic() + 20
    while not device.poll_open():
        assert time.monotonic() < give_up, device.reason
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("/dev/ttyACM0", Uri("serial", "/dev/ttyACM0")),
        ("serial:///dev/ttyACM0", Uri("serial", "/dev/ttyACM0")),
        ("virtual://jfk-2", Uri("virtual", "jfk-2")),
        ("replay://data/x.qcap", Uri("replay", "data/x.qcap")),
        ("tcp://127.0.0.1:8421", Uri("tcp", "127.0.0.1:8421")),
    ],
)
def test_uris(text: str, uri: Uri) -> None:
    assert parse_uri(text) == uri
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize("text", ["", "http://x", "virtual://", "tcp://host", "tcp://host:99999", "tcp://:1"])
def test_wrong_uris_are_a_usage_error(text: str) -> None:
    with pytest.raises(QresError) as error:
        parse_uri(text)
    assert error.value.exit_code == USAGE and error.value.remedy


def test_a_missing_port_a_file_and_a_dead_address_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in (
        str(tmp_path / "absent"),
        str(tmp_path / "file"),
        "/dev/null",
        "tcp://127.0.0.1:1",
        "virtual://no",
    ):
        with pytest.raises(QresError) as error:
            Device(parse_uri(name)).open()
        assert error.value.exit_code == NO_DEVICE and error.value.remedy and "\n" not in error.value.line()


def test_no_permission_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(QresError, match="no permission") as error:
        Device(parse_uri("/dev/ttyACM0")).open()
    assert "dialout" in error.value.remedy and error.value.exit_code == NO_DEVICE


def test_a_port_in_use_is_busy_and_free_again_after_closing() -> None:
    master, slave = pty.openpty()
    first, second = (Device(parse_uri(os.ttyname(slave))) for _ in range(2))
    first.open()
    with pytest.raises(QresError, match="busy") as error:
        second.open()
    assert error.value.exit_code == NO_DEVICE
    first.close()
    second.open()
    second.close()
    os.close(master)
    os.close(slave)


def test_a_port_is_binary_clean_both_ways() -> None:
    master, slave = pty.openpty()
    device = Device(parse_uri(os.ttyname(slave)))
    device.open()
    everything = bytes(range(256))
    os.write(master, everything)
    got = b""
    while len(got) < 256:
        got += device.read() or b""
    assert got == everything
    assert device.read() == b""
    assert device.write(everything)
    back = b""
    while len(back) < 256:
        back += os.read(master, 512)
    assert back == everything
    device.close()
    os.close(master)
    os.close(slave)


def test_an_unplugged_port_is_opened_again_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRES_RUNTIME_DIR", str(tmp_path))
    device = Device(parse_uri("virtual://board"))
    assert not device.poll_open() and "no board" in device.reason
    for _ in range(2):
        master, slave = pty.openpty()
        (tmp_path / "board").unlink(missing_ok=True)
        (tmp_path / "board").symlink_to(os.ttyname(slave))
        assert devices.find() == [Uri("virtual", "board")]
        wait_open(device)
        os.write(master, b"hello")
        time.sleep(0.01)
        assert device.read() == b"hello"
        os.close(slave)
        os.close(master)
        while device.read() is not None:
            time.sleep(0.001)
        assert device.fd == -1 and device.reason
    assert device.opens == 2


def test_tcp_devices_read_and_write() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        device = Device(parse_uri(f"tcp://127.0.0.1:{server.getsockname()[1]}"))
        device.open()
        peer, _ = server.accept()
        peer.sendall(b"abc")
        time.sleep(0.05)
        assert device.read() == b"abc"
        assert device.write(b"ping") and peer.recv(10) == b"ping"
        peer.close()
        while (data := device.read()) is not None:
            assert data == b""
        device.close()


def test_no_board_at_all_exits_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRES_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(devices.list_ports, "comports", list)
    with pytest.raises(QresError, match="no board found") as error:
        devices.require([])
    assert error.value.exit_code == NO_DEVICE
