"""What is plugged in: ports by their USB numbers, none of them opened; and the command `qres boards`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import click
from serial.tools import list_ports

from qres_host import hardware
from qres_host.boards import parse_mac
from qres_host.devices import ESPRESSIF_JTAG, find

# Bridges on boards with a second socket. They sit on other devices too, so such a port is used only when it is named.
BRIDGES = {(0x10C4, 0xEA60): "CP210x", (0x1A86, 0x55D3): "CH343", (0x1A86, 0x7523): "CH340", (0x0403, 0x6001): "FT232"}


class Plugged(NamedTuple):
    """A port: `what` is "board", "bridge" or "virtual"; `mac` "" where USB does not tell it."""

    port: str
    usb: str
    what: str
    mac: str
    note: str


def of_usb(ports: Iterable[Any]) -> list[Plugged]:
    """Return those of pyserial's ports that may be boards: USB-Serial-JTAG, and bridges. Others are left out."""
    found = []
    for port in sorted(ports, key=lambda each: str(each.device)):
        usb = (port.vid, port.pid)
        name = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else ""
        if usb == ESPRESSIF_JTAG:
            found.append(Plugged(port.device, name, "board", _mac(port.serial_number), "ESP32-C3, C6, H2 or S3"))
        elif usb in BRIDGES:
            note = f"{BRIDGES[usb]} bridge: perhaps a board, perhaps not; used when named"
            found.append(Plugged(port.device, name, "bridge", "", note))
    return found


def _mac(serial_number: Any) -> str:
    try:
        return parse_mac(str(serial_number or "")).hex(":")
    except ValueError:
        return ""


def everything() -> list[Plugged]:
    """Return what is plugged in by USB, and the virtual boards that run."""
    virtual = [Plugged(str(uri), "", "virtual", "", "virtual board") for uri in find() if uri.scheme == "virtual"]
    return of_usb(list_ports.comports()) + virtual


@click.group()
def boards() -> None:
    """Kinds of boards, and what is plugged in."""


@boards.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_kinds(as_json: bool) -> None:
    """Name the kinds of boards that have a table."""
    kinds = [hardware.load(name) for name in hardware.names()]
    if as_json:
        click.echo(json.dumps({"boards": [{"name": each.name, "title": each.title} for each in kinds]}))
        return
    for each in kinds:
        click.echo(f"{each.name:22} {each.flash_bytes >> 20:2} MB  {each.title}")


@boards.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, as_json: bool) -> None:
    """Print the table of a kind of board; what nobody has checked is marked."""
    board = hardware.load(name)
    if as_json:
        click.echo(json.dumps(vars(board)))
        return
    for key, value in vars(board).items():
        if key in ("unsure", "power"):
            continue
        rows = value.items() if isinstance(value, dict) else ((None, value),)
        for inner, told in rows:
            full = f"{key}.{inner}" if inner else key
            mark = "  (unsure)" if full in board.unsure or key in board.unsure else ""
            click.echo(f"{full:32} {' '.join(str(told).split())}{mark}")
    for table, figures in board.power.items():
        mark = "  (unsure)" if f"power.{table}" in board.unsure else ""
        click.echo(f"{'power.' + table:32} {figures['source']}{mark}")


@boards.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def detect(as_json: bool) -> None:
    """Say what is plugged in, by USB numbers and MAC. No port is opened."""
    found = everything()
    if as_json:
        click.echo(json.dumps({"ports": [each._asdict() for each in found]}))
        return
    for each in found:
        click.echo(f"{each.port:20} {each.usb:9} {each.mac or '-':17} {each.note}")
    if not found:
        click.echo("nothing is plugged in that may be a board: `qres doctor` looks further")
