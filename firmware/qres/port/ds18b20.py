"""Temperature in millidegrees Celsius from a DS18B20 on a 1-Wire pin.

{"driver": "ds18b20", "pin": 4, "index": 0}
"""

import time

import ds18x20
import onewire
from machine import Pin

if False:
    from typing import Any

DIGITS = 3
_READ_SCRATCHPAD = 0xBE
_CONVERT_MS = 750  # datasheet table 2, 12 bits


def celsius_milli(scratch: "bytes | bytearray") -> int:
    """Millidegrees of a scratchpad; 1/16 K a step."""
    raw = scratch[0] | scratch[1] << 8
    if raw & 0x8000:
        raw -= 0x10000
    return (raw * 1000 + 8) >> 4


def open(spec: "dict[str, Any]", bus: "Any") -> "Any":
    """Find the sensor number `index`, by address order; OSError when it is not there."""
    wire = onewire.OneWire(Pin(spec["pin"]))
    sensors = ds18x20.DS18X20(wire)
    roms = sorted([bytes(rom) for rom in sensors.scan()])
    index = spec.get("index", 0)
    if index >= len(roms):
        raise OSError("no DS18B20")
    scratch = bytearray(9)

    def read() -> "tuple[int]":
        # The scratchpad is read here, because the frozen driver reports a bad checksum as a bare Exception.
        try:
            sensors.convert_temp()
            time.sleep_ms(_CONVERT_MS)
            wire.reset(True)
            wire.select_rom(roms[index])
            wire.writebyte(_READ_SCRATCHPAD)
            wire.readinto(scratch)
        except onewire.OneWireError:
            raise OSError("DS18B20 silent")
        if wire.crc8(scratch):
            raise ValueError("DS18B20 checksum")
        return (celsius_milli(scratch),)

    return read
