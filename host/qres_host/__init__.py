"""QRES on the host: the world of files, sockets, serial ports and pages around the swarm."""

__version__ = "0.1.0"
