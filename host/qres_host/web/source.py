"""What the dashboard needs from the collector's view, as a protocol: neither imports the other's insides."""

from __future__ import annotations

from typing import Any, Protocol


class ViewSource(Protocol):
    """The folded state of a swarm. Every method may be called from any thread and returns JSON-ready data.

    Times are unix milliseconds of swarm time. Sample values are integers; a channel's `scale` (a decimal
    string) turns them into its `unit`. What a board has not told yet is None.
    """

    def fleet(self) -> dict[str, Any]:
        """Return every board in short form, the swarm's totals and the model they agree on."""

    def board(self, mac: str) -> dict[str, Any] | None:
        """Return one board with its telemetry; None when the MAC is unknown."""

    def series(
        self, mac: str, channel: int, start_ms: int | None, end_ms: int | None, max_points: int
    ) -> dict[str, Any] | None:
        """Return about `max_points` points of a channel between two times; None when there is no such."""

    def models(self) -> dict[str, Any]:
        """Return the history of the shared model, its weights, and who holds it."""
