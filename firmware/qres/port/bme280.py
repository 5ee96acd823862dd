"""Temperature (millidegrees Celsius), pressure (mPa) and humidity (m%) from a Bosch BME280 or BMP280.

{"driver": "bme280", "address": 118, "take": [0, 1, 2]}, over I2C; a BMP280 has no humidity.  The integer
formulas are those of the datasheet BST-BME280-DS002, section 4.2.3, the pressure in its 64-bit form.
"""

import struct
import time

if False:
    from typing import Any

DIGITS = 3
_BME280, _BMP280 = 0x60, 0x58
_FORCED = b"\x25"  # one temperature, one pressure sample, then sleep
_MEASURE_MS = 10  # section 9.1: 9.3 ms at most with one sample of each


def calibration(low: bytes, high: "bytes | None") -> "tuple[int, ...]":
    """T1-T3, P1-P9, H1-H6 from registers 0x88 (26 bytes) and 0xE1 (7 bytes, None: no humidity)."""
    dig = struct.unpack("<HhhHhhhhhhhh", low[:24])
    if high is None:
        return dig
    h4 = (high[3] << 4 | high[4] & 15) - ((high[3] & 128) << 5)
    h5 = (high[5] << 4 | high[4] >> 4) - ((high[5] & 128) << 5)
    h2, h3 = struct.unpack("<hB", high[:3])
    return dig + (low[25], h2, h3, h4, h5, high[6] - ((high[6] & 128) << 1))


def temperature(dig: "tuple[int, ...]", adc: int) -> "tuple[int, int]":
    """(t_fine, millidegrees) of a raw temperature."""
    a = (((adc >> 3) - (dig[0] << 1)) * dig[1]) >> 11
    b = (adc >> 4) - dig[0]
    fine = a + ((((b * b) >> 12) * dig[2]) >> 14)
    return fine, (fine * 50 + 128) >> 8


def pressure(dig: "tuple[int, ...]", fine: int, adc: int) -> int:
    """Pressure in 1/256 Pa."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = dig[3:12]
    a = fine - 128000
    b = a * a * p6 + ((a * p5) << 17) + (p4 << 35)
    a = ((a * a * p3) >> 8) + ((a * p2) << 12)
    a = (((1 << 47) + a) * p1) >> 33
    if a == 0:
        raise ValueError("BME280 calibration")
    p = (((1048576 - adc) << 31) - b) * 3125 // a
    a = (p9 * (p >> 13) * (p >> 13)) >> 25
    return ((p + a + ((p8 * p) >> 19)) >> 8) + (p7 << 4)


def humidity(dig: "tuple[int, ...]", fine: int, adc: int) -> int:
    """Relative humidity in 1/1024 %."""
    h1, h2, h3, h4, h5, h6 = dig[12:18]
    v = fine - 76800
    a = ((adc << 14) - (h4 << 20) - h5 * v + 16384) >> 15
    b = (((v * h6) >> 10) * (((v * h3) >> 11) + 32768) >> 10) + 2097152
    v = a * ((b * h2 + 8192) >> 14)
    v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
    return max(0, min(419430400, v)) >> 12


def open(spec: "dict[str, Any]", bus: "Any") -> "Any":
    """Read the calibration; OSError when another chip answers.  Returns a function that measures once."""
    i2c = bus()
    address = spec.get("address", 0x76)
    chip = i2c.readfrom_mem(address, 0xD0, 1)[0]
    if chip != _BME280 and chip != _BMP280:
        raise OSError("no BME280")
    humid = chip == _BME280
    high = i2c.readfrom_mem(address, 0xE1, 7) if humid else None
    dig = calibration(i2c.readfrom_mem(address, 0x88, 26), high)

    def read() -> "tuple[int, ...]":
        if humid:
            i2c.writeto_mem(address, 0xF2, b"\x01")
        i2c.writeto_mem(address, 0xF4, _FORCED)
        time.sleep_ms(_MEASURE_MS)
        raw = i2c.readfrom_mem(address, 0xF7, 8)
        fine, milli = temperature(dig, raw[3] << 12 | raw[4] << 4 | raw[5] >> 4)
        pa = pressure(dig, fine, raw[0] << 12 | raw[1] << 4 | raw[2] >> 4)
        if not humid:
            return milli, pa * 1000 >> 8
        return milli, pa * 1000 >> 8, humidity(dig, fine, raw[6] << 8 | raw[7]) * 1000 >> 10

    return read
