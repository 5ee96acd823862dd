"""QRES: a sensor swarm on ESP32-C6 boards.  The integer-only core; `qres.node` is its door."""

VERSION = "0.1.0"
# What is put on a board says both of itself (qres_host/application.py).
BUILD = b"\0\0\0\0"  # hash of the application
KERNELS = 0  # 0 bytecode; 1 machine code; 2 bytecode, because the machine code failed its test on this board
