"""Predictors, one file each; `make` imports only the one that the configuration names.

Contract of a predictor: `predict() -> value`, `update(actual)`, `weights() -> list`, `set_weights(list)`, `WIRE_ID`,
`STATE` (what a snapshot holds), `last`, `count`, `rate` and `d` (the last changes).  Values are int32 at the sensor's
resolution, weights are Q16.16.
"""

if False:
    from typing import Any

NAMES = ("persistence", "linear")


def make(name: str, order: int, rate: int) -> "Any":
    """A fresh predictor; `order` lags and learning `rate` (Q10) where it has them.  ValueError for an unknown name."""
    if name == "persistence":
        from qres.predict.persistence import Persistence

        return Persistence(order)
    if name == "linear":
        from qres.predict.linear import Linear

        return Linear(order, rate)
    raise ValueError("unknown predictor " + name)
