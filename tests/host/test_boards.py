"""The files boards/*.toml and their loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qres.config import POWER, load
from qres_host import hardware
from qres_host.errors import USAGE, QresError


@pytest.mark.parametrize("name", hardware.names())
def test_each_board_is_valid_and_named_as_its_file(name: str) -> None:
    board = hardware.load(name)
    assert board.name == name
    assert set(board.power) == {"esp32c6", "seed"}


@pytest.mark.parametrize("name", hardware.names())
@pytest.mark.parametrize("table", ["esp32c6", "seed"])
def test_a_node_accepts_what_each_board_puts_into_the_configuration(name: str, table: str) -> None:
    settings = hardware.load(name).settings(table)
    swarm = {"swarm_key": "00" * 32, "channels": [{"name": "t", "unit": "degC", "scale": "0.1"}]}
    full = load({**json.loads(json.dumps(settings)), **swarm})
    assert full["power"] == settings["power"]


def test_the_default_power_of_a_node_is_the_generic_boards() -> None:
    assert hardware.load("generic-esp32c6").settings()["power"] == POWER


def test_the_seeds_power_is_the_architectures() -> None:
    for name in hardware.names():
        seed = hardware.load(name).power["seed"]
        assert (seed["sleep_uw"], seed["radio_uw"], seed["cpu_uw"]) == (35_000, 230_000, 120_000)


def test_settings_name_pins_as_the_port_reads_them() -> None:
    settings = hardware.load("xiao-esp32c6").settings()
    assert settings["board"] == {
        "name": "xiao-esp32c6",
        "button": 9,
        "i2c": {"sda": 22, "scl": 23},
        "watchdog_ms": 120000,
        "boot_window_ms": 2000,
    }
    assert (settings["battery_adc"], settings["battery_divider_permille"]) == (0, 500)
    assert "battery_adc" not in hardware.load("generic-esp32c6").settings()


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (hardware.folder() / "xiao-esp32c6.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("led = 15", "led = 99", "'pins.led' must be an integer from 0 to 30"),
        ("led = 15", "led = true", "'pins.led' must be an integer from 0 to 30"),
        ("led = 15", "lamp = 15", "unknown key 'pins.lamp': allowed here: led, led_power"),
        ('chip = "esp32c6"', 'chip = "esp8266"', "'chip' must be one of esp32c6, virtual"),
        ('chip = "esp32c6"', "chip = 6", "'chip' must be text"),
        ("i2c_sda = 22", "", "'pins.i2c_sda' must be given together with pins.i2c_scl"),
        ("cpu_uw = 75900", "", "'power.esp32c6.cpu_uw' is missing"),
        ("cpu_uw = 75900", "cpu_uw = 75.9", "'power.esp32c6.cpu_uw' must be an integer"),
        ("[power.esp32c6]", "[power.other]", "'power.esp32c6' is missing"),
        ("watchdog_ms = 120000", "", "'port.watchdog_ms' is missing"),
        ('sensors = ["mcu"]', 'sensors = ["eye"]', "'sensors' must be a list of adc, bme280"),
        ('sensors = ["mcu"]', "sensors = 1", "'sensors' must be a list of text"),
        ('unsure = ["image.url"', 'unsure = ["image.colour"', "'unsure' must be a list of keys of this file: name"),
        ("offset = 0", "offset = -1", "'image.offset' must be an integer from 0 to"),
        ("[pins]", "colour = 3\n[pins]", "unknown key 'colour'"),
        ("[pins]", "[pins", "is not TOML"),
    ],
)
def test_an_error_names_file_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(QresError) as caught:
        hardware.load(_changed(tmp_path, old, new))
    line = caught.value.line()
    assert line.startswith("mine.toml") and says in line
    assert caught.value.exit_code == USAGE


def test_a_board_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(QresError, match="no board 'esp9000'") as caught:
        hardware.load("esp9000")
    assert "xiao-esp32c6" in caught.value.remedy
    with pytest.raises(QresError, match="cannot read"):
        hardware.load(tmp_path / "none.toml")
    (tmp_path / "raw.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(QresError, match="cannot read"):
        hardware.load(tmp_path / "raw.toml")


def test_an_unknown_power_table_lists_the_known_ones() -> None:
    with pytest.raises(QresError, match="has no power table 'sun'") as caught:
        hardware.load("virtual").settings("sun")
    assert "esp32c6, seed" in caught.value.remedy
