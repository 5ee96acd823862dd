"""Starts QRES after boot, unless somebody wants the REPL: see qres/port/start.py, which a deploy compiles.

An update that is under way comes first (qres/port/trial.py): it is tried from /next, with its own boot.py and main.py.
Whatever it does, the board must come back from it without a cable.
"""

import os
import sys

_trial: "bool | None" = False
if sys.path[0] != "/next":
    try:
        os.stat("/update")
    except OSError:
        pass
    else:
        import machine

        sys.path.append("/next")  # where the package is while it changes places
        try:
            import qres.port.trial

            _trial = qres.port.trial.choose(machine.reset_cause() == machine.DEEPSLEEP_RESET)
            sys.path.pop()
        except Exception as _error:
            sys.print_exception(_error)
        if _trial is None:  # what is in place now has a main.py of its own
            machine.reset()
        for _name in list(sys.modules):
            if _name.split(".")[0] == "qres":
                del sys.modules[_name]
if _trial:
    machine.WDT(timeout=120000)  # fed by the update's port: one that hangs, or waits for nobody, starts again
    sys.path.insert(0, "/next")
    try:
        for _name in ("boot.py", "main.py"):
            with open("/next/" + _name) as _file:
                exec(_file.read())
    except Exception as _error:
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
