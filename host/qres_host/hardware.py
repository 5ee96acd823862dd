"""Kinds of boards: the files boards/*.toml, checked, and what they put into a board's configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qres_host.errors import USAGE, QresError

CHIPS = ("esp32c6", "virtual")
BYTECODE = "bytecode"
ARCHITECTURES = (BYTECODE, "rv32imc")
POWER_KEYS = ("sleep_uw", "cpu_uw", "radio_uw", "boot_uj", "tx_byte_nj")
# Ranges are inclusive. GPIO 0 to 30 exist on the ESP32-C6.
_PIN = (0, 30)
_OFFSET = (0, 1 << 24)
_Schema = Mapping[str, type | tuple[int, int]]
_TOP: _Schema = {
    "name": str,
    "title": str,
    "chip": str,
    "arch": str,
    "flash_bytes": (1 << 20, 1 << 27),
    "notes": str,
    "source": str,
    "sensors": list,
    "unsure": list,
    "image": dict,
    "pins": dict,
    "port": dict,
    "power": dict,
}
_PINS: _Schema = {
    "led": _PIN,
    "led_power": _PIN,
    "rgb": _PIN,
    "rgb_power": _PIN,
    "button": _PIN,
    "i2c_sda": _PIN,
    "i2c_scl": _PIN,
    "battery_adc": _PIN,
    "battery_divider_permille": (1, 1000),
    "usb_sense": _PIN,
    "antenna_select": _PIN,
    "antenna_power": _PIN,
}
_IMAGE: _Schema = {"name": str, "url": str, "sha256": str, "offset": _OFFSET}
_IMAGE_NEEDS = ("name", "offset")
_PORT: _Schema = {"watchdog_ms": (0, 3_600_000), "boot_window_ms": (0, 60_000)}
_POWER: _Schema = {"source": str, **dict.fromkeys(POWER_KEYS, (0, 1 << 40))}
_WORDS: dict[type, str] = {str: "text", dict: "a table", list: "a list of text"}


@dataclass(frozen=True)
class Hardware:
    """One kind of board. `arch`: what its kernels are compiled to, see `qres_host.deploy`.

    `pins`, `port` and `power` hold the tables of its file, in integers; `image` what MicroPython it gets. `source` says
    where the pins come from, `sensors` names the drivers of what is on the board itself, and `unsure` the keys that
    nobody has checked on one.
    """

    name: str
    title: str
    chip: str
    arch: str
    flash_bytes: int
    notes: str
    source: str
    sensors: list[str]
    unsure: list[str]
    image: dict[str, Any]
    pins: dict[str, int]
    port: dict[str, int]
    power: dict[str, dict[str, Any]]

    def settings(self, table: str = "esp32c6") -> dict[str, Any]:
        """Return the part of /config.json that this kind of board decides, with power table `table`.

        Raises QresError when there is no such table.
        """
        if table not in self.power:
            remedy = f"choose one of {', '.join(self.power)}"
            raise QresError(f"{self.name} has no power table '{table}'", remedy, USAGE)
        pins = self.pins
        board: dict[str, Any] = {"name": self.name, "button": pins.get("button"), **self.port}
        if "i2c_sda" in pins:
            board["i2c"] = {"sda": pins["i2c_sda"], "scl": pins["i2c_scl"]}
        found: dict[str, Any] = {"board": board, "power": {key: self.power[table][key] for key in POWER_KEYS}}
        found.update({key: value for key, value in pins.items() if key.startswith("battery_")})
        return found


def folder() -> Path:
    """Return the folder of the board files: of the checkout, else of the installed package."""
    here = Path(__file__).resolve().parent
    checkout = here.parent.parent / "boards"
    return checkout if (checkout / "virtual.toml").is_file() else here / "data" / "boards"


def names() -> list[str]:
    """Return the names of all boards known, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def load(board: str | Path) -> Hardware:
    """Return the board of that name, or of that file when `board` ends in .toml. Raises QresError."""
    path = Path(board) if str(board).endswith(".toml") else folder() / f"{board}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if not str(board).endswith(".toml"):
            remedy = f"choose one of {', '.join(names())} or name a .toml"
            raise QresError(f"no board '{board}'", remedy, USAGE) from error
        raise QresError(f"cannot read {path}", str(error), USAGE) from error
    try:
        return _hardware(path.name, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise QresError(f"{path.name} is not TOML", str(error), USAGE) from error


def _hardware(file: str, found: dict[str, Any]) -> Hardware:
    _check(file, "", found, _TOP, tuple(_TOP))
    if found["chip"] not in CHIPS:
        raise _wrong(file, "chip", f"one of {', '.join(CHIPS)}")
    if found["arch"] not in ARCHITECTURES:
        raise _wrong(file, "arch", f"one of {', '.join(ARCHITECTURES)}")
    _check(file, "pins.", found["pins"], _PINS, ())
    if ("i2c_sda" in found["pins"]) != ("i2c_scl" in found["pins"]):
        raise _wrong(file, "pins.i2c_sda", "given together with pins.i2c_scl")
    _check(file, "port.", found["port"], _PORT, tuple(_PORT))
    _check(file, "image.", found["image"], _IMAGE, _IMAGE_NEEDS)
    if "esp32c6" not in found["power"]:
        raise QresError(f"{file}: 'power.esp32c6' is missing", "add this table", USAGE)
    for name, table in found["power"].items():
        if not isinstance(table, dict):
            raise _wrong(file, f"power.{name}", "a table")
        _check(file, f"power.{name}.", table, _POWER, tuple(_POWER))
    _check_lists(file, found)
    return Hardware(**found)


def _check_lists(file: str, found: dict[str, Any]) -> None:
    """Raise QresError unless `sensors` names drivers and `unsure` keys of the file, as table.key where in a table."""
    drivers = sensor_drivers()
    if any(name not in drivers for name in found["sensors"]):
        raise _wrong(file, "sensors", f"a list of {', '.join(drivers)}")
    keys = list(found)
    for name, table in found.items():
        keys += [f"{name}.{key}" for key in table] if isinstance(table, dict) else []
    if any(key not in keys for key in found["unsure"]):
        raise _wrong(file, "unsure", f"a list of keys of this file: {', '.join(keys)}")


def sensor_drivers() -> list[str]:
    """Return the names of the sensor drivers that the firmware has."""
    from qres_host.deploy import firmware_root

    folder = firmware_root() / "qres" / "port"
    return sorted(path.stem for path in folder.glob("*.py") if "\nDIGITS = " in path.read_text(encoding="utf-8"))


def _check(file: str, where: str, table: dict[str, Any], schema: _Schema, needed: tuple[str, ...]) -> None:
    """Raise QresError, which names file, key and what is allowed, unless `table` follows `schema`."""
    for key, value in table.items():
        if key not in schema:
            remedy = f"allowed here: {', '.join(schema)}"
            raise QresError(f"{file}: unknown key '{where}{key}'", remedy, USAGE)
        rule = schema[key]
        if isinstance(rule, type):
            if not isinstance(value, rule):
                raise _wrong(file, where + key, _WORDS[rule])
        elif isinstance(value, bool) or not isinstance(value, int) or not rule[0] <= value <= rule[1]:
            raise _wrong(file, where + key, f"an integer from {rule[0]} to {rule[1]}")
    for key in needed:
        if key not in table:
            raise QresError(f"{file}: '{where}{key}' is missing", "add this key", USAGE)


def _wrong(file: str, key: str, allowed: str) -> QresError:
    return QresError(f"{file}: '{key}' must be {allowed}", "correct the file", USAGE)
