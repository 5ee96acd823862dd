"""The port: everything that a node's loop needs from a platform.

`qres.run.Driver` works with any object that has these methods.  `qres.port.esp32.Port` is the chip, the
simulator brings another.  Nothing here runs on a board: the module is for type checkers and readers.
"""

from typing import Any, Protocol


class Storage(Protocol):
    """Files that survive a power cut: what `qres.snapshot.Slots` writes to."""

    def read(self, name: str) -> "bytes | None":
        """The content of file `name`; None when there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Replace file `name`, so that a power cut leaves the old content or the new.  Raises OSError."""


class Port(Storage, Protocol):
    """One board: clock, radio, sensors, sleep, memory, serial line."""

    def now_ms(self) -> int:
        """The board's clock in ms of Unix time; runs on through sleep and resets, not through power-off."""

    def wait(self, until_ms: int, kind: int) -> "tuple[Any, ...]":
        """Wait as a SLEEP action (until_ms, kind) says and return the event that ended it.

        Gives a PACKET or COMMAND event, or TIMER when until_ms has passed (at once when it already has).
        DEEP does not return: the board boots again at until_ms, one ms from now at the earliest.
        """

    def radio(self, on: int) -> None:
        """Switch the radio on (1) or off (0); no effect when it is so already."""

    def send(self, frame: bytes) -> bool:
        """Broadcast a frame of 1 to 250 bytes; False when the radio is off or refused it."""

    def sense(self) -> "tuple[int | None, ...]":
        """Read every sensor: one int per channel at the channel's scale, None where a sensor failed."""

    def power(self) -> "tuple[int, int]":
        """(battery_permille 0 to 1000, battery_mv); (-1, -1) without a battery."""

    def report(self, kind: int, payload: "bytes | bytearray") -> None:
        """Write one frame (events.WIRE_*), payload of at most 2,048 bytes, to the serial line."""

    def stage(self, driver: "Any", payload: bytes) -> None:
        """Let what updates the board hear the payload of an OTA frame; no effect where nothing can be updated."""

    def load_rtc(self) -> bytes:
        """What save_rtc() kept through deep sleep; b"" when there is nothing."""

    def save_rtc(self, blob: bytes) -> None:
        """Keep at most 2,048 bytes through deep sleep."""

    def reset_cause(self) -> int:
        """Why the board booted: events.POWER_ON, DEEP_SLEEP, WATCHDOG or SOFT."""

    def seed(self) -> int:
        """A random number, 0 to 2^30 - 1, from the platform's source of entropy."""

    def mac(self) -> bytes:
        """The six bytes of the board's address."""

    def build(self) -> bytes:
        """What runs: four bytes that identify the application, and one as qres.KERNELS."""

    def session(self, fresh: bool) -> int:
        """The boot counter (u16) in memory that survives power-off; counted up first when `fresh`."""

    def traceback(self, error: BaseException) -> str:
        """The error's traceback as text."""

    def text(self, line: str) -> None:
        """Print a line for a person at the serial line."""

    def release(self) -> None:
        """Hand the board to the REPL: radio off, watchdog fed in the background."""

    def reset(self, after_ms: int) -> None:
        """Feed the watchdog, wait `after_ms` (a KeyboardInterrupt ends it) and reset the board."""
