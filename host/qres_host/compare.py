"""Boards that are unlike the others of their role: tests for outliers over what each tells of itself."""

from __future__ import annotations

from collections.abc import Mapping

from qres.outliers import SIZE_MAX, generalized_esd

LEAST = 5
"""Boards of a role from which they are compared."""
SAMPLES = 50
"""Samples from which a board's own rates mean something."""

# name: (of, per, times, how far from the middle counts at all): the rate `of` x times / `per`
RATES: dict[str, tuple[str, str, int, int]] = {
    "energy": ("spent_mj", "uptime_s", 1000, 50),  # uW
    "radio time": ("radio_ms", "uptime_s", 1, 10),  # permille
    "spikes": ("spikes", "samples", 1000, 20),  # permille
    "missing values": ("missing", "samples", 1000, 20),  # permille
    "refused frames": ("rejected", "heard", 1000, 50),  # permille
}


def outlying(told: Mapping[int, Mapping[str, object]]) -> dict[int, list[str]]:
    """For each board that stands out, the names of RATES in which it does; `told` is the last telemetry of each.

    Boards of a role are compared, from LEAST to SIZE_MAX of them. The generalised ESD test (alpha = 0.01) looks for up
    to a quarter of them, so that several alike do not hide each other.
    """
    found: dict[int, list[str]] = {}
    roles = {board: values.get("role") for board, values in told.items() if _number(values, "samples") >= SAMPLES}
    for role in dict.fromkeys(roles.values()):
        boards = [board for board in sorted(roles) if roles[board] == role]
        if not LEAST <= len(boards) <= SIZE_MAX:
            continue
        for name, (of, per, times, least) in RATES.items():
            rates = [_number(told[b], of) * times // max(_number(told[b], per), 1) for b in boards]
            middle = sorted(rates)[len(rates) // 2]
            for i in generalized_esd(rates, len(boards) // 4):
                if abs(rates[i] - middle) >= least:
                    found.setdefault(boards[i], []).append(name)
    return found


def _number(values: Mapping[str, object], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0
