"""Telemetry that is checked at once and decoded later: the same verdict and values as the boards' own decoder."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from qres import packet, telemetry
from qres.packet import PacketError
from qres_host.records import Samples
from qres_host.told import Watch, read
from qres_host.view import View
from traffic import CHANNELS, telling, together

MAC = "02:00:00:00:00:05"
ZERO: dict[str, int | bytes] = {name: 0 if kind == "uint" else bytes(int(kind[5:])) for name, kind in telemetry.FIELDS}
BYTE = st.integers(0, 255)

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
    (row,) = read([payload])
    return expected, telemetry.unpack(payload) if row[0] >= 0 else None


def watching() -> View:
    """Return a view that knows the channels of the board at MAC."""
    view = View()
    view.register(MAC, channels=CHANNELS)
    return view


def charges(view: View, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Return what the chart of the board shows of its battery."""
    chart = view.series(MAC, 0, start_ms, end_ms, 100)
    assert chart is not None
    return list(zip(chart["energy"]["t"], chart["energy"]["battery_permille"], strict=True))


def shown(view: View) -> dict[str, Any]:
    """Return the board as the dashboards show it."""
    board = view.board(MAC)
    assert board is not None
    return board


@settings(max_examples=300, deadline=None)
@given(VALUES, st.data())
def test_good_and_damaged_telemetry_is_judged_alike(values: dict[str, int | bytes], data: st.DataObject) -> None:
    payload = telemetry.pack(values)
    assert both(payload) == (values, values)
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


def damaged(payload: bytes, cut: int, place: int, flip: int) -> bytes:
    """Return telemetry that lost its end or has another byte; as it was where `place` is beyond it."""
    hurt = bytearray(payload[: max(len(payload) - cut, 0)])
    if place < len(hurt):
        hurt[place] ^= flip
    return bytes(hurt)


DAMAGED = st.builds(damaged, VALUES.map(telemetry.pack), st.sampled_from((0, 0, 0, 1, 30)), st.integers(0, 200), BYTE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(DAMAGED, st.binary(max_size=40), st.just(b"")), max_size=12))
@example([b"\xff" * 40] * 3)
@example([telemetry.pack(ZERO), b"\xff" * 9, telemetry.pack(ZERO)])
@example([telemetry.pack(ZERO)[:-1] + b"\xff" * 9 + b"\1", telemetry.pack(ZERO)[:-1] + b"\xff" * 8 + b"\1"])
@example([telemetry.pack(ZERO | {"mac": b"\xff" * 6, "model": b"\xff" * 4})] * 2)
def test_among_others_each_is_judged_as_alone_and_gives_what_is_watched(payloads: list[bytes]) -> None:
    for payload, row in zip(payloads, read(payloads), strict=True):
        watched = Watch._make(row.tolist())
        try:
            values = telemetry.unpack(payload)
        except PacketError:
            assert set(watched) == {-1}
            continue
        assert (watched.raw("mac"), watched.raw("model")) == (values["mac"], values["model"])
        assert watched[1:-1] == tuple(values[name] for name in Watch._fields[1:-1])


def test_a_board_shows_its_newest_telemetry_and_every_change_of_charge() -> None:
    said = [
        telling(5, 1000 * i, battery_permille=900 - i // 3, samples=i, regime=1, role=1, epoch=2 + i // 4)
        for i in range(9)
    ]
    for size in (1, 2, 5, 9):  # however many come together
        view = watching()
        for at in range(0, 9, size):
            view.fold([together(said[at : at + size])])
        assert charges(view, 0, 9000) == [(0, 900), (2000, 900), (3000, 899), (5000, 899), (6000, 898), (8000, 898)]
        assert [each["epoch"] for each in view.models()["history"]] == [2, 3, 4]
        board = shown(view)
        assert (board["telemetry"]["samples"], board["role"], board["regime"]) == (8, "sentinel", "PreStorm")
        assert (board["packets"], board["last_seen_ms"], board["epoch"]) == (9, 8000, 4)


def test_a_role_that_has_no_name_and_an_epoch_without_a_model_change_nothing() -> None:
    view = watching()
    view.fold([together([telling(5, 1000, role=2, epoch=3, model=b"abcd")])])
    view.fold([together([telling(5, 2000, role=3, epoch=0, model=b"efgh")])])
    board = shown(view)
    assert (board["role"], board["epoch"], board["model_hash"]) == ("on-demand", 0, b"efgh".hex())
    assert [(each["epoch"], each["hash"]) for each in view.models()["history"]] == [(3, b"abcd".hex())]


def test_frames_are_counted_by_their_bytes_and_those_with_samples_apart() -> None:
    view, said = watching(), telling(5, 2000)
    view.fold([together([said, said._replace(lost=2, swarm_ms=1500)])])
    assert (shown(view)["lost"], shown(view)["last_seen_ms"]) == (2, 2000)
    data = said._replace(kind=packet.DATA, told=None, size=200, lost=3, swarm_ms=1000)
    view.fold([together([data])])
    view.fold([together([data._replace(kind=packet.ALERT, size=30)])])
    board = shown(view)
    assert (board["packets"], board["bytes_air"], board["bytes_data"]) == (4, 2 * said.size + 230, 200)
    assert (board["lost"], board["last_seen_ms"]) == (3, 2000)


def test_what_samples_said_of_the_regime_holds_until_the_next_telemetry() -> None:
    view = watching()
    view.fold([together([telling(5, 1000, regime=1)])])
    view.fold([Samples(5, 0, 1000, 2, [(1,)], [(None,)], [0], (0, True))])
    assert shown(view)["regime"] == "Storm"
    view.fold([together([telling(5, 2000, regime=1)])])
    assert shown(view)["regime"] == "PreStorm"


def test_a_window_shows_the_charge_also_where_nothing_changed_in_it() -> None:
    view = watching()
    for i in range(40):
        view.fold([together([telling(5, 1000 * i, battery_permille=900 if i < 30 else 800)])])
    assert charges(view, 0, 39_000) == [(0, 900), (29_000, 900), (30_000, 800), (39_000, 800)]
    assert charges(view, 5_000, 9_000) == [(5_000, 900), (9_000, 900)]
    assert charges(view, 20_000, 35_000) == [(20_000, 900), (29_000, 900), (30_000, 800), (35_000, 800)]
    assert charges(view, 40_000, 50_000) == []
    view.fold([together([telling(5, 38_500, battery_permille=800)])])  # late, by another gateway
    assert charges(view, 39_000, 39_000) == [(39_000, 800)]
