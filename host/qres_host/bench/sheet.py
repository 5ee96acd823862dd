"""Tables and goals of benches: plain strings, for the terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

NONE = "-"


class Sheet(NamedTuple):
    """A table: `name` for programs, `title` and `note` for people, the first column left, the others right."""

    name: str
    title: str
    note: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Goal(NamedTuple):
    """One goal: `value` must be at least (or at most) `target`; None when it was not measured."""

    name: str
    target: float
    value: float | None
    unit: str
    at_least: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None when it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def verdict(self) -> str:
        """`met`, `missed by ...` or `not measured`."""
        if self.value is None:
            return "not measured"
        return "met" if self.met else f"missed by {abs(self.value - self.target):.3g} {self.unit}".rstrip()


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, or a dash."""
    return NONE if value is None else f"{value:,.{digits}f}"


def goal_sheet(goals: Iterable[Goal]) -> Sheet:
    """What was wanted, what was measured."""
    rows = []
    for goal in goals:
        sign, note = "≥" if goal.at_least else "≤", f" ({goal.note})" if goal.note else ""
        measured = NONE if goal.value is None else f"{goal.value:,.4g} {goal.unit}".rstrip()
        rows.append((goal.name, f"{sign} {goal.target:,g} {goal.unit}".rstrip(), measured, goal.verdict() + note))
    return Sheet("goals", "Goals", "", ("goal", "wanted", "measured", "verdict"), rows)


def skipped_sheet(skipped: Iterable[dict[str, str]], what: str) -> Sheet:
    """What did not run, and why; rows {`what`: its name, "reason": why}."""
    rows = [(row[what], row["reason"]) for row in skipped]
    return Sheet("skipped", "Skipped", "", (what, "reason"), rows)
