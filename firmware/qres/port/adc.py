"""A voltage at an analogue pin, in calibrated microvolts: {"driver": "adc", "pin": 0, "num": 1, "den": 1}.

The channel's value is microvolts x num / den, so `den` 1000 gives millivolts.
"""

from machine import ADC, Pin

if False:
    from typing import Any

DIGITS = None


def read_uv(pin: int) -> int:
    """Microvolts at `pin`, over the whole range of the converter."""
    return ADC(Pin(pin), atten=ADC.ATTN_11DB).read_uv()


def open(spec: "dict[str, Any]", bus: "Any") -> "Any":
    """A function that reads the pin once."""
    num = spec.get("num", 1)
    den = spec.get("den", 1)
    return lambda: (read_uv(spec["pin"]) * num // den,)
