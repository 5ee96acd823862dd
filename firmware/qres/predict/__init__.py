"""Predictors of the next row of values, one file each; `make` imports only the one that is named.

Contract of a predictor of `channels` channels; a row holds an int32 or None (missing) for each, in sensor steps:

- `predict() -> list`: the next value of each channel, int32; pure, so calling it twice changes nothing;
- `update(row)`: learn from the row that came, which is left as it is; what is missing teaches nothing;
- `weights() -> list` and `set_weights(list)`: all that it learned and that can be handed on, Q16.16;
- `linear`: its linear layer over each channel's own past, a `qres.predict.linear.Linear`.  It learns as if it were
  alone, because its weights are what the swarm shares and judges;
- `WIRE_ID`, its number in files of weights, and `STATE`, what a snapshot holds.
"""

if False:
    from typing import Any

NAMES = ("linear", "lstm", "mix", "persistence", "rls", "taaf")


def make(name: str, channels: int, order: int, rate: int) -> "Any":
    """A fresh predictor: `order` lags (1 to 16), learning `rate` (Q10, 0 to 512).  ValueError for what cannot be."""
    if name not in NAMES:
        raise ValueError("unknown predictor " + name)
    return __import__("qres.predict." + name, None, None, ("make",)).make(channels, order, rate)
