"""Runs at every boot, before main.py.

A watchdog outlives a soft reset and cannot be stopped: whoever comes to the REPL that way must not be
thrown out.
"""

import machine

if machine.reset_cause() == machine.SOFT_RESET:
    import json

    try:
        with open("/config.json") as _file:
            _config = json.load(_file)
    except (OSError, ValueError):
        _config = None
    if isinstance(_config, dict):
        try:
            from qres.port.esp32 import WATCHDOG_MS, arm_watchdog, board_of
        except ImportError:
            pass  # main.py is about to put the application in place
        else:
            _ms = board_of(_config).get("watchdog_ms", WATCHDOG_MS)
            if _ms:
                arm_watchdog(_ms)
