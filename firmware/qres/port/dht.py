"""Temperature (millidegrees Celsius) and humidity (m%) from a DHT22 or DHT11.

{"driver": "dht", "pin": 4, "model": 22, "take": [0, 1]}
"""

from machine import Pin, dht_readinto

if False:
    from typing import Any

DIGITS = 3


def decode(buf: "bytes | bytearray", model: int) -> "tuple[int, int]":
    """(temperature, humidity) of the five bytes of a DHT; ValueError on a bad checksum."""
    if sum(buf[:4]) & 255 != buf[4]:
        raise ValueError("DHT checksum")
    if model == 11:
        return buf[2] * 1000, buf[0] * 1000
    celsius = ((buf[2] & 127) << 8 | buf[3]) * 100
    return -celsius if buf[2] & 128 else celsius, (buf[0] << 8 | buf[1]) * 100


def open(spec: "dict[str, Any]", bus: "Any") -> "Any":
    """A function that reads the sensor; OSError when it does not answer."""
    buf = bytearray(5)
    pin = Pin(spec["pin"])
    model = spec.get("model", 22)

    def read() -> "tuple[int, int]":
        # What the frozen dht module calls; that module reports a bad checksum as a bare Exception.
        dht_readinto(pin, buf)
        return decode(buf, model)

    return read
