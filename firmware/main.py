"""Starts QRES after boot, unless somebody wants the REPL: see qres/port/start.py, which a deploy compiles.

An update that is under way comes first (qres/port/trial.py): it is tried from /next, with its own boot.py and main.py.
"""

import os
import sys

_trial = False
if sys.path[0] != "/next":
    try:
        os.stat("/update")
    except OSError:
        pass
    else:
        import machine

        sys.path.append("/next")  # where the package is while it changes places
        import qres.port.trial

        try:
            _trial = qres.port.trial.choose(machine.reset_cause() == machine.DEEPSLEEP_RESET)
            sys.path.pop()
        except OSError as _error:
            print("/update:", _error)
        for _name in list(sys.modules):
            if _name.split(".")[0] == "qres":
                del sys.modules[_name]
        del qres
if _trial:
    sys.path.insert(0, "/next")
    try:
        for _name in ("boot.py", "main.py"):
            with open("/next/" + _name) as _file:
                exec(_file.read())
    except Exception as _error:  # whatever it is, a board that has no cable must come back from it
        sys.print_exception(_error)
        machine.reset()
else:
    import qres.port.start

    _config = qres.port.start.configuration()
    sys.modules.pop("qres.port.start")  # used once: its memory is free again when the node runs
    del qres.port.start
    if _config is not None:
        from qres import run

        run.main(_config)
