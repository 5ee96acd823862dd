"""QRES: a sensor swarm on ESP32-C6 boards.  The integer-only core; `qres.node` is its door."""

VERSION = "0.1.0"
