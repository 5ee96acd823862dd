"""Temperature (millidegrees Celsius) and humidity (m%) from a Sensirion SHT40, SHT41 or SHT45 over I2C.

{"driver": "sht4x", "address": 68, "take": [0, 1]}; source: Sensirion datasheet SHT4x, sections 4.4 to 4.6.
"""

import time

if False:
    from typing import Any

DIGITS = 3
_MEASURE = b"\xfd"  # high precision, 8.3 ms at most
_MEASURE_MS = 10


def crc8(data: "bytes | bytearray") -> int:
    """Sensirion's checksum (polynomial 0x31, start 0xFF): 0x92 for BE EF."""
    crc = 0xFF
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = ((crc << 1) ^ 0x131) if crc & 0x80 else crc << 1
    return crc


def decode(data: bytes) -> "tuple[int, int]":
    """(temperature, humidity) of the six bytes of a measurement; ValueError on a bad checksum."""
    if len(data) != 6 or crc8(data[:2]) != data[2] or crc8(data[3:5]) != data[5]:
        raise ValueError("SHT4x checksum")
    celsius = (175000 * (data[0] << 8 | data[1]) + 32767) // 65535 - 45000
    humidity = (125000 * (data[3] << 8 | data[4]) + 32767) // 65535 - 6000
    return celsius, max(0, min(100000, humidity))


def open(spec: "dict[str, Any]", bus: "Any") -> "Any":
    """A function that measures once."""
    i2c = bus()
    address = spec.get("address", 0x44)

    def read() -> "tuple[int, int]":
        i2c.writeto(address, _MEASURE)
        time.sleep_ms(_MEASURE_MS)
        return decode(i2c.readfrom(address, 6))

    return read
