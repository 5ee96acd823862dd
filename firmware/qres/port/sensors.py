"""All sensors of a board as one row of integers, one per channel.

A driver is a module of this package with `open(spec, bus) -> read`: `spec` is the sensor's entry in the
configuration, `bus()` gives the board's I2C bus, `read()` returns a tuple of ints and raises OSError or
ValueError.  `DIGITS` says how many decimals the ints carry; None: they are the channel's own steps already.
"""

if False:
    from typing import Any


def parse_scale(scale: str) -> "tuple[int, int]":
    """The decimal `scale` as (mantissa, digits): "0.25" is (25, 2).  Raises ValueError."""
    whole, _, part = scale.partition(".")
    mantissa = int(whole + part)
    if mantissa <= 0:
        raise ValueError("scale must be positive")
    return mantissa, len(part)


def rescale(value: int, digits: int, scale: "tuple[int, int]") -> int:
    """`value` x 10^-digits in steps of `scale`, rounded half up."""
    mantissa, scale_digits = scale
    top = value * 10**scale_digits
    bottom = mantissa * 10**digits
    return (2 * top + bottom) // (2 * bottom)


class Sensors:
    """The sensors that a configuration names, each driver imported when it is named."""

    def __init__(self, config: "dict[str, Any]", i2c: "dict[str, int] | None") -> None:
        """Find every sensor's driver; one that does not exist is told, and its channels stay empty."""
        self._pins = i2c or {}  # scl, sda, freq of the bus
        self._i2c: "Any" = None
        self._scales = [parse_scale(str(c.get("scale", "1"))) for c in config["channels"]]
        self._open: "list[Any]" = []  # [driver module or None, spec, read function or None]
        for spec in config.get("sensors", ()):
            name = spec["driver"]
            driver: "Any" = None
            try:
                driver = __import__("qres.port." + name, None, None, ("DIGITS",))
            except ImportError:
                print("no sensor driver", name)
            self._open.append([driver, spec, None])

    def _bus(self) -> "Any":
        """The I2C bus, opened once."""
        if self._i2c is None:
            from machine import I2C, Pin

            pins = self._pins
            self._i2c = I2C(0, scl=Pin(pins["scl"]), sda=Pin(pins["sda"]), freq=pins.get("freq", 100000))
        return self._i2c

    def read(self) -> "tuple[int | None, ...]":
        """One value per channel; a sensor that fails gives None in all of its channels."""
        row: "list[int | None]" = []
        for sensor in self._open:
            driver, spec, _ = sensor
            values = self._values(sensor)
            for i in spec.get("take") or (0,):  # which of the driver's values are channels, in this order
                at = len(row)
                if i >= len(values) or at >= len(self._scales):
                    row.append(None)
                elif driver.DIGITS is None:
                    row.append(values[i])
                else:
                    row.append(rescale(values[i], driver.DIGITS, self._scales[at]))
        missing = len(self._scales) - len(row)
        return tuple(row[: len(self._scales)] + [None] * missing)

    def _values(self, sensor: "list[Any]") -> "tuple[int, ...]":
        """What one sensor says now; () when it fails, and it is opened anew next time."""
        driver, spec, read = sensor
        if driver is None:
            return ()
        try:
            if read is None:
                read = sensor[2] = driver.open(spec, self._bus)
            values: "tuple[int, ...]" = read()
            return values
        except (OSError, ValueError, KeyError):
            sensor[2] = None
            return ()
