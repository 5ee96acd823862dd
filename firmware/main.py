"""Starts QRES after boot, unless somebody wants the REPL: see qres/port/start.py, which a deploy compiles."""

import sys

import qres.port.start

_config = qres.port.start.configuration()
sys.modules.pop("qres.port.start")  # used once: its memory is free again when the node runs
del qres.port.start
if _config is not None:
    from qres import run

    run.main(_config)
