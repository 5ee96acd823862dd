"""Tables of what parts of the firmware take of a board's memory, which tools/ram.py measures."""

from __future__ import annotations

from typing import Any

from qres_host.bench.sheet import Sheet

BUDGET = 90 * 1024
LARGEST = 16  # modules shown


def sheets(found: Any) -> list[Sheet]:
    """The tables of docs/memory.md."""
    default = found["boards"][0]
    rows = []
    for row in found["boards"]:
        total = row["bytecode"] + row["machine_code"]
        change = total - default["bytecode"] - default["machine_code"]
        cells = (row["board"], f"{row['bytecode']:,}", f"{row['machine_code']:,}", f"{total:,}")
        rows.append((*cells, f"{change:+,}" if row is not default else "-"))
    boards_note = (
        f"Bytes after boot. The budget of the default board is {BUDGET:,}, as bytecode, which is what the machine "
        "runs. On a chip machine code comes on top."
    )
    modules = [(row["what"], f"{row['bytes']:,}", f"{row['machine_code']:,}") for row in found["modules"][:LARGEST]]
    return [
        Sheet("boards", "Whole boards", boards_note, ("board", "bytecode", "machine code", "sum", "change"), rows),
        Sheet(
            "parts",
            "Parts that are loaded when they are needed",
            "Bytes that a booted default board takes more when it has loaded the part, with what that needs.",
            ("part", "module", "bytes"),
            [(row["part"], f"`{row['module']}`", f"{row['bytes']:,}") for row in found["parts"]],
        ),
        Sheet(
            "modules",
            "What the default board is made of",
            "The largest, in bytes; machine code: what it takes beyond the bytecode of the same module.",
            ("what", "bytes", "machine code"),
            modules,
        ),
    ]
