"""Instructions of the chip's machine code, counted elsewhere (tools/ has the emulator's drivers), read from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NotRequired, TypedDict

from qres_host.errors import USAGE, QresError


class ChipRow(TypedDict):
    """RV32 instructions of one piece of work, a sample or a call; `helpers`: calls of the runtime, not counted."""

    coder: str
    instructions: float
    helpers: NotRequired[float]


def chip_rows(path: Path) -> list[ChipRow]:
    """The rows {"coder": what was run, "instructions", perhaps "helpers"} of a file; QresError for another file."""
    rows: list[ChipRow] = []
    try:
        for row in json.loads(path.read_text(encoding="utf-8")):
            rows.append({"coder": str(row["coder"]), "instructions": float(row["instructions"])})
            if "helpers" in row:
                rows[-1]["helpers"] = float(row["helpers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QresError(
            f"{path} holds no instruction counts ({error})", "give [{coder, instructions}]", USAGE
        ) from error
    return rows
