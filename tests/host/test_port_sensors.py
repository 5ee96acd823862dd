"""Sensor drivers: formulas against their datasheets, failures as missing values."""

from __future__ import annotations

from typing import Any

import pytest
from port_fakes import Board, load

TEMPERATURE = {"name": "t", "unit": "degC", "scale": "0.01"}
HUMIDITY = {"name": "h", "unit": "%", "scale": "0.1"}
PRESSURE = {"name": "p", "unit": "hPa", "scale": "1"}
RAW = {"name": "x", "unit": "-", "scale": "1"}
I2C = {"watchdog_ms": 0, "i2c": {"scl": 7, "sda": 6}}

# BMP280 datasheet BST-BMP280-DS001, section 3.12: calibration, raw values and what comes out.
T1_TO_P9 = (27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
RAW_T, RAW_P = 519888, 415148


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A chip with nothing connected; the drivers are imported on it."""
    board = Board()
    board.port = load(board, monkeypatch)  # type: ignore[attr-defined]
    return board


def port_of(board: Board, channels: list[dict[str, str]], *sensors: dict[str, Any]) -> Any:
    """A port with these sensors."""
    return board.port.Port(  # type: ignore[attr-defined]
        {"channels": channels, "sensors": list(sensors), "board": I2C}
    )


def test_the_scale_of_a_channel_is_a_decimal(board: Board) -> None:
    from qres.port.sensors import parse_scale, rescale

    assert [parse_scale(s) for s in ("1", "0.1", "0.25", "5", "10")] == [
        (1, 0),
        (1, 1),
        (25, 2),
        (5, 0),
        (10, 0),
    ]
    for bad in ("0", "-1", "x", "", "1e3"):
        with pytest.raises(ValueError, match=r"."):
            parse_scale(bad)
    assert [rescale(v, 3, (1, 1)) for v in (21_449, 21_450, -21_449, -21_450, -21_451, 0)] == [
        214,
        215,
        -214,
        -214,
        -215,
        0,
    ]
    assert rescale(21_500, 3, (25, 2)) == 86
    assert rescale(7, 0, (1, 2)) == 700


def test_an_analogue_pin_gives_its_microvolts_as_they_are(board: Board) -> None:
    port = port_of(board, [RAW, RAW], {"driver": "adc", "pin": 0}, {"driver": "adc", "pin": 1, "den": 1000})
    board.uv = {0: -2_000_000_000, 1: 1_234_567}
    assert port.sense() == (-2_000_000_000, 1234)
    del board.uv[0]
    assert port.sense() == (None, 1234)
    board.uv[0] = 5
    assert port.sense() == (5, 1234)


def test_channels_without_a_sensor_are_missing_and_sensors_without_a_channel_are_left_out(
    board: Board,
) -> None:
    board.uv = {0: 1, 1: 2}
    first, second = {"driver": "adc", "pin": 0}, {"driver": "adc", "pin": 1}
    assert port_of(board, [RAW, RAW]).sense() == (None, None)
    assert port_of(board, [RAW, RAW, RAW], first).sense() == (1, None, None)
    assert port_of(board, [RAW], first, second).sense() == (1,)


def test_a_driver_that_does_not_exist_is_told_and_leaves_its_channel_empty(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.uv = {1: 2}
    port = port_of(board, [RAW, RAW], {"driver": "crystal"}, {"driver": "adc", "pin": 1})
    assert port.sense() == (None, 2)
    assert "crystal" in capsys.readouterr().out


def test_an_incomplete_entry_leaves_its_channel_empty(board: Board) -> None:
    assert port_of(board, [RAW], {"driver": "adc"}).sense() == (None,)
    assert port_of(board, [RAW], {"driver": "sht4x"}).sense() == (None,)


def test_the_chips_own_temperature(board: Board) -> None:
    assert port_of(board, [TEMPERATURE], {"driver": "mcu"}).sense() == (3100,)


# DS18B20


@pytest.mark.parametrize(
    ("raw", "milli"),  # datasheet, table 1
    [(0x07D0, 125_000), (0x0550, 85_000), (0x0191, 25_063), (0x00A2, 10_125), (0x0008, 500), (0, 0),
     (0xFFF8, -500), (0xFF5E, -10_125), (0xFE6F, -25_062), (0xFC90, -55_000)],
)  # fmt: skip
def test_ds18b20_codes_of_the_datasheet(board: Board, raw: int, milli: int) -> None:
    from qres.port.ds18b20 import celsius_milli

    assert celsius_milli(raw.to_bytes(2, "little")) == milli


def _scratch(raw: int) -> bytes:
    body = raw.to_bytes(2, "little") + b"\x4b\x46\x7f\xff\x0c\x10"
    return body + bytes([sum(body) & 255])


def test_ds18b20_by_index_and_its_failures(board: Board) -> None:
    sensors = [{"driver": "ds18b20", "pin": 4, "index": i} for i in (0, 1, 2)]
    port = port_of(board, [TEMPERATURE] * 3, *sensors)
    assert port.sense() == (None, None, None)
    board.i2c["onewire"] = {b"\x28bbbbbbb": _scratch(0x0191), b"\x28aaaaaaa": _scratch(0x0550)}
    assert port.sense() == (8500, 2506, None)
    board.i2c["onewire"][b"\x28aaaaaaa"] = _scratch(0x0550)[:8] + b"\x00"
    assert port.sense() == (None, 2506, None)
    board.i2c["onewire"] = {}
    assert port.sense() == (None, None, None)


# DHT


def test_dht22_and_dht11(board: Board) -> None:
    channels = [TEMPERATURE, HUMIDITY]
    port = port_of(board, channels, {"driver": "dht", "pin": 4, "take": [0, 1]})
    assert port.sense() == (None, None)
    board.i2c["dht"] = bytes([0x02, 0x8C, 0x01, 0x5F, 0xEE])  # the example of the AM2302 datasheet
    assert port.sense() == (3510, 652)
    board.i2c["dht"] = bytes([0x02, 0x8C, 0x80, 0x65, 0x73])
    assert port.sense() == (-1010, 652)
    board.i2c["dht"] = bytes([0x02, 0x8C, 0x01, 0x5F, 0xEF])
    assert port.sense() == (None, None)
    board.i2c["dht"] = bytes([53, 0, 24, 0, 77])
    assert port_of(board, channels, {"driver": "dht", "pin": 4, "model": 11, "take": [0, 1]}).sense() == (
        2400,
        530,
    )


# SHT4x


class Sht4x:
    """Answers one measurement command with `answer`."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked = b""

    def write(self, data: bytes) -> None:
        self.asked = data

    def read(self, count: int) -> bytes:
        assert self.asked == b"\xfd" and count == 6
        return self.answer


def _sht4x(raw_t: int, raw_h: int) -> bytes:
    from qres.port.sht4x import crc8

    t, h = raw_t.to_bytes(2, "big"), raw_h.to_bytes(2, "big")
    return t + bytes([crc8(t)]) + h + bytes([crc8(h)])


def test_sht4x_checksum_of_the_datasheet(board: Board) -> None:
    from qres.port.sht4x import crc8

    assert crc8(b"\xbe\xef") == 0x92


def test_sht4x_is_the_datasheets_formula_at_every_code(board: Board) -> None:
    from qres.port.sht4x import decode

    for raw in range(0, 65536, 97):
        celsius, humidity = decode(_sht4x(raw, raw))
        assert abs(celsius - 1000 * (-45 + 175 * raw / 65535)) <= 0.5
        assert abs(humidity - 1000 * min(100, max(0, -6 + 125 * raw / 65535))) <= 0.5
    assert decode(_sht4x(0, 0)) == (-45_000, 0)
    assert decode(_sht4x(65535, 65535)) == (130_000, 100_000)


def test_sht4x_on_the_bus(board: Board) -> None:
    port = port_of(board, [TEMPERATURE, HUMIDITY], {"driver": "sht4x", "take": [0, 1]})
    assert port.sense() == (None, None)
    chip = board.i2c[0x44] = Sht4x(_sht4x(0x6666, 0x8000))
    assert port.sense() == (2500, 565)
    chip.answer = chip.answer[:5] + bytes([chip.answer[5] ^ 1])
    assert port.sense() == (None, None)
    chip.answer = chip.answer[:4]
    assert port.sense() == (None, None)
    assert ("i2c", 7, 6, 100000) in board.calls


# BME280


def test_bme280_gives_the_datasheets_example(board: Board) -> None:
    from qres.port import bme280

    fine, milli = bme280.temperature(T1_TO_P9, RAW_T)
    assert (fine, (fine * 5 + 128) >> 8) == (128422, 2508)
    assert milli == 25_082
    # The figure prints 25767236 (100653.27 Pa), computed in floating point with an unrounded t_fine; its
    # published integer formula gives 0.01 Pa less, within what the figure's footnote allows.
    assert bme280.pressure(T1_TO_P9, fine, RAW_P) == 25767233
    assert abs(bme280.pressure(T1_TO_P9, fine, RAW_P) - 25767236) <= 3


def _humidity_double(dig: tuple[int, ...], fine: int, adc: int) -> float:
    """The floating-point formula of the datasheet BST-BME280-DS002, appendix 8.1."""
    h1, h2, h3, h4, h5, h6 = dig[12:18]
    h = fine - 76800.0
    h = (adc - (h4 * 64.0 + h5 / 16384.0 * h)) * (
        h2 / 65536.0 * (1.0 + h6 / 67108864.0 * h * (1.0 + h3 / 67108864.0 * h))
    )
    return min(100.0, max(0.0, h * (1.0 - h1 * h / 524288.0)))


def test_bme280_humidity_follows_the_floating_point_formula(board: Board) -> None:
    from qres.port import bme280

    dig = (*T1_TO_P9, 75, 362, 0, 315, 50, 30)
    for fine in range(-20_000, 250_000, 7_001):
        for adc in range(15_000, 50_000, 1_777):
            assert abs(bme280.humidity(dig, fine, adc) / 1024 - _humidity_double(dig, fine, adc)) < 0.08


def test_bme280_calibration_takes_signs_and_nibbles(board: Board) -> None:
    from qres.port import bme280

    low = bytes(range(24)) + b"\x00\x4b"
    dig = bme280.calibration(low, bytes([0x6A, 0x01, 0x00, 0x80, 0x2F, 0xFF, 0x9E]))
    assert dig[12:] == (75, 362, 0, -2033, -14, -98)
    assert len(bme280.calibration(low, None)) == 12


class Bme280:
    """Registers of a chip that holds the datasheet's example."""

    def __init__(self, chip_id: int) -> None:
        low = b"".join(v.to_bytes(2, "little", signed=v < 0) for v in T1_TO_P9) + b"\x00\x4b"
        raw = (RAW_P << 4).to_bytes(3, "big") + (RAW_T << 4).to_bytes(3, "big") + (30_000).to_bytes(2, "big")
        high = bytes([0x6A, 0x01, 0x00, 0x13, 0x2B, 0x03, 0x1E])
        self.registers = {0xD0: bytes([chip_id]), 0x88: low, 0xE1: high, 0xF7: raw, 0xF2: b"", 0xF4: b""}


def test_bme280_on_the_bus(board: Board) -> None:
    channels = [TEMPERATURE, PRESSURE, HUMIDITY]
    port = port_of(board, channels, {"driver": "bme280", "take": [0, 1, 2]})
    assert port.sense() == (None, None, None)
    board.i2c[0x76] = Bme280(0x60)
    celsius, pascal, humidity = port.sense()
    assert (celsius, pascal) == (2508, 100653)
    assert 300 < humidity < 700
    assert board.i2c[0x76].registers[0xF2] == b"\x01" and board.i2c[0x76].registers[0xF4] == b"\x25"
    del board.i2c[0x76]
    assert port.sense() == (None, None, None)


def test_a_bmp280_has_no_humidity_and_another_chip_is_refused(board: Board) -> None:
    channels = [TEMPERATURE, PRESSURE, HUMIDITY]
    spec = {"driver": "bme280", "address": 0x77, "take": [0, 1, 2]}
    board.i2c[0x77] = Bme280(0x58)
    assert port_of(board, channels, spec).sense() == (2508, 100653, None)
    board.i2c[0x77] = Bme280(0x55)
    assert port_of(board, channels, spec).sense() == (None, None, None)
