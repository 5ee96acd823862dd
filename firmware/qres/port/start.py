"""What main.py asks first: whether to run, and with which configuration.

Three ways to the REPL instead: the BOOT button, or Ctrl-C, in the first two seconds after power-on or reset; a file
/stay_awake; Ctrl-C at any later time.  A wake from deep sleep does not wait, but looks at button and file.
"""

import json
import os
import time

import machine

if False:
    from typing import Any

_WINDOW_MS = 2000
_BUTTON = 9  # BOOT on every ESP32-C6 board
_STEP_MS = 50


def configuration() -> "dict[str, Any] | None":
    """What /config.json says; None, with the reason said, when the board is to stay at the REPL."""
    config = _load()
    if config is None:
        return None
    try:
        if _stay_awake(config):
            print("Staying awake at the REPL; a reset starts QRES.")
            return None
    except KeyboardInterrupt:
        return None
    return config


def _load() -> "dict[str, Any] | None":
    """/config.json, or None after saying what is wrong with it."""
    try:
        with open("/config.json") as file:
            config = json.load(file)
    except OSError:
        print("No /config.json: write one with `qres provision`.")
        return None
    except ValueError:
        config = None
    if not isinstance(config, dict):
        print("/config.json is not a JSON object: write it again with `qres provision`.")
        return None
    return config


def _stay_awake(config: "dict[str, Any]") -> bool:
    """Whether somebody wants the REPL."""
    if "stay_awake" in os.listdir("/"):
        return True
    board = config.get("board")
    if not isinstance(board, dict):
        board = {}
    number = board.get("button", _BUTTON)
    pin = None if number is None else machine.Pin(number, machine.Pin.IN, machine.Pin.PULL_UP)
    left = 0 if machine.reset_cause() == machine.DEEPSLEEP_RESET else board.get("boot_window_ms", _WINDOW_MS)
    while True:
        if pin is not None and pin.value() == 0:
            return True
        if left <= 0:
            return False
        time.sleep_ms(_STEP_MS)
        left -= _STEP_MS
