"""Virtual boards: MicroPython machines and in-process nodes that share one radio, clock and set of sensors."""
