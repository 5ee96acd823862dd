"""Measurements beside peers, on the same data in the same run, every round trip verified: `qres bench`."""
