"""qres doctor on made-up machines, and qres boards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from qres_host import cli, doctor, hardware, plugged
from qres_host.doctor import FAIL, WARN, Check, Machine
from qres_host.errors import FAILURE, OK
from qres_host.plugged import Plugged

RULES = Path(__file__).resolve().parents[2] / "boards" / "99-qres.rules"


def usb(device: str, vid: int | None, pid: int | None, serial: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def bad(found: list[Check]) -> dict[str, str]:
    return {check.name: check.state for check in found if check.state in (WARN, FAIL)}


def test_ports_are_told_by_their_numbers_and_never_opened() -> None:
    found = plugged.of_usb(
        [
            usb("/dev/ttyS0", None, None),
            usb("/dev/ttyACM1", 0x303A, 0x1001, "40:4C:CA:00:00:01"),
            usb("/dev/ttyACM0", 0x1199, 0x9091, "modem"),
            usb("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001"),
            usb("/dev/ttyACM2", 0x303A, 0x1001, "no mac"),
        ]
    )
    assert [(each.port, each.what, each.mac) for each in found] == [
        ("/dev/ttyACM1", "board", "40:4c:ca:00:00:01"),
        ("/dev/ttyACM2", "board", ""),
        ("/dev/ttyUSB0", "bridge", ""),
    ]


def test_a_machine_in_order(tmp_path: Path) -> None:
    port = tmp_path / "ttyACM0"
    port.touch()
    put(tmp_path, "etc/udev/rules.d/99-qres.rules", RULES.read_text())
    put(tmp_path, "proc/7/comm", "ModemManager\n")
    found = doctor.examine(Machine(tmp_path, [Plugged(str(port), "303a:1001", "board", "", "")]))
    assert bad(found) == {}
    assert {"esptool", "mpremote", "udev rule", "cables"} <= {check.name for check in found}


def test_what_is_in_the_way_is_told_with_its_remedy(tmp_path: Path) -> None:
    put(tmp_path, "proc/7/comm", "ModemManager\n")
    put(tmp_path, "proc/8/comm", "tio\n")
    (tmp_path / "proc/8/fd").mkdir()
    (tmp_path / "proc/8/fd/3").symlink_to("/dev/ttyGONE")
    put(tmp_path, "usr/lib/udev/rules.d/85-brltty.rules", 'ENV{PRODUCT}=="1a86/7523/*", RUN+="brltty"')
    put(tmp_path, "sys/bus/usb/devices/1-1/idVendor", "303a\n")
    put(tmp_path, "sys/bus/usb/devices/1-1/idProduct", "1001\n")
    found = doctor.examine(Machine(tmp_path, [Plugged("/dev/ttyGONE", "303a:1001", "board", "", "")]))
    states = bad(found)
    assert states == {"/dev/ttyGONE": WARN, "udev rule": WARN, "ModemManager": WARN, "brltty": WARN, "usb 1-1": FAIL}
    assert all(check.remedy for check in found if check.name in states)
    assert any(check.name == "/dev/ttyGONE" and check.state == FAIL for check in found)
    assert any("tio" in check.said for check in found)


def test_nothing_plugged_in_is_a_hint_not_a_failure(tmp_path: Path) -> None:
    assert bad(doctor.examine(Machine(tmp_path, []))) == {"udev rule": WARN, "cables": WARN}


def test_the_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QRES_RUNTIME_DIR", str(tmp_path))
    assert cli.run(["doctor", "--json"]) in (OK, FAILURE)
    assert json.loads(capsys.readouterr().out)["checks"]
    assert cli.run(["boards", "list"]) == OK
    said = capsys.readouterr().out
    assert all(name in said for name in hardware.names())
    assert cli.run(["boards", "show", "tinyc6"]) == OK
    assert "pins.battery_divider_permille    266  (unsure)" in capsys.readouterr().out
    os.symlink("/dev/null", tmp_path / "board")
    assert cli.run(["boards", "detect", "--json"]) == OK
    assert any(row["what"] == "virtual" for row in json.loads(capsys.readouterr().out)["ports"])
