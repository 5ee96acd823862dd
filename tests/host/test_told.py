"""Telemetry that is checked at once and decoded later: the same verdict and values as the boards' own decoder."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from qres import telemetry
from qres.packet import PacketError
from qres_host.history import History
from qres_host.told import read
from traffic import telling, together

NUMBER = st.one_of(st.integers(0, 200), st.integers(0, 2**63 - 1))
VALUES = st.fixed_dictionaries(
    {name: NUMBER if kind == "uint" else st.binary(min_size=int(kind[5:]), max_size=int(kind[5:]))
     for name, kind in telemetry.FIELDS}
)  # fmt: skip


def both(payload: bytes) -> tuple[object, object]:
    """Return what the boards' decoder and ours say; None for no telemetry."""
    try:
        expected: object = telemetry.unpack(payload)
    except PacketError:
        expected = None
    (found,), _ = read([payload])
    return expected, telemetry.unpack(found) if found is not None else None


@settings(max_examples=300, deadline=None)
@given(VALUES, st.data())
def test_good_and_damaged_telemetry_is_judged_alike(values: dict[str, int | bytes], data: st.DataObject) -> None:
    payload = telemetry.pack(values)
    assert both(payload) == (values, values)
    assert read([payload])[0] == [payload] and payload[:6] == values["mac"]
    hurt = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        hurt[data.draw(st.integers(0, len(hurt) - 1))] ^= data.draw(st.integers(0, 255))
    for wrong in (bytes(hurt), bytes(hurt[: data.draw(st.integers(0, len(hurt)))]), payload + b"\0"):
        expected, got = both(wrong)
        assert expected == got


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from((0, 1, 10, 127, 128, 255)), max_size=232).map(bytes))
@example(bytes(30) + b"\xff" * 8 + b"\1" + bytes(2))
@example(bytes(10) + b"\xff" * 9 + b"\1" + bytes(22))
@example(b"\n" * 32)
def test_hostile_bytes_are_judged_alike(payload: bytes) -> None:
    expected, got = both(payload)
    assert expected == got


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES)
def test_what_a_view_follows_is_in_what_is_watched(one: dict[str, int | bytes], other: dict[str, int | bytes]) -> None:
    _, (a, b) = read([telemetry.pack(one), telemetry.pack(other)])
    names = ("mac", "role", "regime", "battery_permille", "epoch", "model")
    assert (a == b) <= all(one[name] == other[name] for name in names)


def test_a_board_shows_its_newest_telemetry_and_every_change_of_charge() -> None:
    said = [
        telling(5, 1000 * i, battery_permille=900 - i // 3, samples=i, regime=1, role=1, epoch=2 + i // 4)
        for i in range(9)
    ]
    for size in (1, 2, 5, 9):  # however many come together
        board, models = History(5, 3_600_000), []
        for at in range(0, 9, size):
            models += board.frames(together(said[at : at + size]), range(len(said[at : at + size])))
        assert [epoch for epoch, _ in models] == [2, 2, 3, 3, 4]  # again where the charge is another
        assert board.battery(0, 9000) == ([0, 2000, 3000, 5000, 6000, 8000], [900, 900, 899, 899, 898, 898])
        assert (board.number("samples"), board.told_at_ms, board.role) == (8, 8000, "sentinel")
        assert (board.mac, board.packets, board.last_seen_ms) == ("02:00:00:00:00:05", 9, 8000)
        board.regime, board.role = 2, "scheduled"  # as samples and a HELLO may say
        last = telling(5, 9000, battery_permille=898, samples=9, regime=1, role=1, epoch=4)
        assert not board.frames(together([last]), [0])
        assert (board.regime, board.role, board.told["samples"]) == (1, "sentinel", 9)


def test_a_window_shows_the_charge_also_where_nothing_changed_in_it() -> None:
    board = History(5, 3_600_000)
    for i in range(40):
        board.frames(together([telling(5, 1000 * i, battery_permille=900 if i < 30 else 800)]), [0])
    assert board.battery(0, 39_000) == ([0, 29_000, 30_000, 39_000], [900, 900, 800, 800])
    assert board.battery(5_000, 9_000) == ([5_000, 9_000], [900, 900])
    assert board.battery(20_000, 35_000) == ([20_000, 29_000, 30_000, 35_000], [900, 900, 800, 800])
    assert board.battery(40_000, 50_000) == ([], []) and History(6, 1).battery(0, 9) == ([], [])
    board.frames(together([telling(5, 38_500, battery_permille=800)]), [0])  # late, by another gateway
    assert board.battery(39_000, 39_000) == ([39_000], [800])
