"""Streams: what a gateway reports becomes records; forgeries, replays and damage are counted, never accepted."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from qres import packet
from qres_host.coverage import Coverage
from qres_host.records import Found, Frames, Model, Rejected, Samples
from qres_host.sender import WINDOW, Sender
from qres_host.streams import HELD_MAX, Streams
from qres_host.view import View
from qres_host.wire import RADIO, Deframer, Run, Text, encode_frame
from traffic import KEY, PERIOD_MS, T0_MS, Swarm, mac_of, telling, truth


def records(streams: Streams, data: bytes) -> list[Found]:
    """Return what comes of the bytes of a port."""
    return streams.feed(0, "port", Deframer().runs(data))


def radio(payload: bytes) -> list[Run | Text]:
    """Return what a deframer makes of what a gateway heard."""
    return Deframer().runs(encode_frame(RADIO, 0, payload))


def samples_of(found: list[Found]) -> dict[tuple[int, int], tuple[int | None, ...]]:
    """Return the samples among records by node and index; each must come once."""
    known: dict[tuple[int, int], tuple[int | None, ...]] = {}
    for r in found:
        if isinstance(r, Samples):
            for i, values in enumerate(r.steps):
                assert (r.node, r.first + i) not in known
                known[r.node, r.first + i] = values
    return known


def test_every_sample_is_rebuilt_and_the_streams_are_exact() -> None:
    swarm, streams = Swarm(), Streams(KEY)
    first = swarm.index
    found = records(streams, b"".join(swarm.rounds(8)))
    known = samples_of(found)
    for board in range(3):
        node = packet.node_id(mac_of(board))
        assert streams.coverage(node).exact and streams.lost(node) == 0
        assert all(known[node, i] == truth(board, i) for i in range(first, swarm.index))
    assert sum(told is not None for r in found if isinstance(r, Frames) for told in r.told) == 24
    assert len({r.hash for r in found if isinstance(r, Model)}) == 8
    assert any(any(r.spikes) for r in found if isinstance(r, Samples))
    assert streams.rejected == 0


def test_a_lost_packet_is_a_gap_and_the_rest_decodes() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    records(streams, swarm.announce())
    start = swarm.index
    for lost in (False, True, False):
        frame = swarm.data(0, 10, swarm.model)
        swarm.index += 10
        if not lost:
            records(streams, swarm.radio(frame))
    node = packet.node_id(mac_of(0))
    coverage = streams.coverage(node)
    assert coverage.gaps() == [(start + 10, start + 20)] and not coverage.exact and coverage.missing == 10
    assert streams.lost(node) == 1


def test_frames_in_any_order_by_two_gateways_count_once() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    records(streams, swarm.announce())
    frames = []
    for _ in range(6):
        frames.append(swarm.data(0, 5))
        swarm.index += 5
    found: list[Found] = []
    for i in (1, 0, 3, 2, 5, 4, 0, 5):
        found += records(streams, swarm.radio(frames[i]))
    node = packet.node_id(mac_of(0))
    assert len(samples_of(found)) == 30 and streams.coverage(node).exact
    assert (streams.duplicates, streams.rejected, streams.lost(node)) == (2, 0, 0)


def test_forged_replayed_and_damaged_frames_are_refused() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    node = packet.node_id(mac_of(0))
    forged = packet.seal(bytes(32), packet.DATA, node, 7, 1, b"\0" * 20)
    old = swarm.frame(0, packet.ALERT, packet.pack_alert(1, 100, 1), session=6)
    new = swarm.frame(0, packet.ALERT, packet.pack_alert(1, 100, 1), session=7)
    ancient = packet.seal(KEY, packet.ALERT, node, 7, 5, packet.pack_alert(1, 1, 1))
    late = packet.seal(KEY, packet.ALERT, node, 7, 5 + WINDOW, packet.pack_alert(1, 1, 1))
    nonsense = packet.seal(KEY, packet.DATA, node, 7, 6 + WINDOW, b"\xff" * 30)
    reasons = []
    for frame in (forged, new, old, late, ancient, nonsense, b"short"):
        reasons += [r.reason for r in records(streams, swarm.radio(frame)) if isinstance(r, Rejected)]
    assert reasons == ["bad tag", "replay", "replay", "undecodable", "malformed"]
    assert streams.rejected == 5 and streams.accepted == 3


def test_a_packet_whose_model_is_unknown_waits_for_it() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    announcement = swarm.announce()
    data = swarm.data(0, 8, swarm.model)
    assert samples_of(records(streams, swarm.radio(data))) == {} and streams.held == 1
    found = records(streams, announcement)
    assert len(samples_of(found)) == 8 and streams.held == 0


def test_what_waits_is_bounded_and_what_waits_in_vain_is_counted() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    swarm.announce()
    for _ in range(HELD_MAX + 5):
        records(streams, swarm.radio(swarm.data(0, 1, swarm.model)))
    assert streams.held == HELD_MAX and streams.held_lost == 5


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 7), st.binary(max_size=260))
def test_any_payload_is_a_record_or_a_refusal(kind: int, payload: bytes) -> None:
    streams = Streams(KEY)
    for r in records(streams, encode_frame(kind, 0, payload)):
        assert not isinstance(r, Frames)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.binary(max_size=232))
def test_any_content_under_a_valid_tag_never_raises(kind: int, payload: bytes) -> None:
    frame = bytes(8) + b"\0" + packet.seal(KEY, kind, 5, 1, 1, payload)
    found = Streams(KEY).feed(0, "port", radio(frame))
    assert isinstance(found[0], Frames)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 255), st.booleans())
def test_a_frame_is_malformed_where_the_boards_parser_says_so(body: bytes, first: int, plain: bool) -> None:
    frame = (bytes([packet.VERSION << 4 | first & 15]) if plain else bytes([first])) + body
    try:
        packet.parse(frame)
    except packet.PacketError:
        reason = "malformed"
    else:
        reason = "bad tag"
    (found,) = Streams(KEY).feed(0, "port", radio(bytes(9) + frame))
    assert isinstance(found, Rejected) and found.reason == reason


def test_a_gateway_with_an_absurd_clock_is_refused() -> None:
    frame = packet.seal(KEY, packet.ALERT, 5, 1, 1, packet.pack_alert(1, 1, 1))
    for swarm_ms, record in ((2**47 - 1, Frames), (2**47, Rejected), (2**64 - 1, Rejected)):
        head = swarm_ms.to_bytes(8, "little") + b"\0"
        assert isinstance(Streams(KEY).feed(0, "port", radio(head + frame))[0], record)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.just(1), st.just(1), st.integers(-WINDOW - 2, WINDOW + 2)), min_size=1, max_size=60))
def test_a_sender_counts_each_frame_once_and_what_is_missing(jumps: list[int]) -> None:
    sender, seen, top = Sender(), set[int](), 0
    counter = 5000
    for jump in jumps:
        counter = max(counter + jump, 1)
        wanted = "replay" if seen and counter <= top - WINDOW else "again" if counter in seen else ""
        assert sender.accept(3, counter) == wanted
        if not wanted:
            seen.add(counter)
            top = max(top, counter)
        assert (sender.accepted, sender.lost) == (len(seen), max(seen) - min(seen) + 1 - len(seen))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12))
def test_runs_of_counters_are_accepted_as_one_by_one(runs: list[tuple[int, int, int]]) -> None:
    together, alone = Sender(), Sender()
    for session, counter, count in runs:
        said = [(verdict, lost) for n, verdict, lost in together.accept_run(session, counter, count) for _ in range(n)]
        assert said == [(alone.accept(session, counter + i), alone.lost) for i in range(count)]
        assert (together.accepted, together.top) == (alone.accepted, alone.top)


FRAME = st.tuples(
    st.integers(0, 2),  # device
    st.integers(1, 3),  # node
    st.sampled_from((1, 1, 1, 2, 2**15, 2**16 - 1)),  # session
    st.one_of(st.integers(1, 6), st.sampled_from((65_535, 65_536, 65_537, packet.COUNTER_MAX))),
    st.sampled_from((packet.TELEMETRY, packet.TELEMETRY, packet.TELEMETRY, packet.ALERT, packet.DATA, packet.PULL)),
    st.sampled_from(("", "", "", "", "", "", "tag", "node", "clock", "short", "content")),  # what is wrong with it
)


def heard(i: int, frame: tuple[int, int, int, int, int, str]) -> tuple[int, str, list[Run | Text]]:
    """Return the `i`-th frame as a chunk: arrival, device, what its deframer found."""
    device, node, session, counter, kind, wrong = frame
    body = telling(node, role=i // 9, epoch=i // 5, battery_permille=900 + i // 7, samples=i).told or b""
    if kind != packet.TELEMETRY:
        body = packet.pack_alert(1, i, 1)
    if wrong == "content":
        body = body[:-1]
    number = 2**31 + node if wrong == "node" else node
    sealed = packet.seal(bytes(32) if wrong == "tag" else KEY, kind, number, session, counter, body)
    head = (2**50 if wrong == "clock" else T0_MS + i * 7 % 11).to_bytes(8, "little") + bytes([i % 256])
    return i, f"port{device}", radio(head + (sealed[:9] if wrong == "short" else sealed))


def apart(found: list[Found]) -> list[object]:
    """Return records with the frames one by one, and what a view follows of each."""
    out: list[object] = []
    for record in found:
        if isinstance(record, Frames):
            out += zip(record.packets(), record.watched.tolist(), strict=True)
        else:
            out.append(record)
    return out


@settings(max_examples=120, deadline=None)
@given(st.lists(FRAME, min_size=1, max_size=40), st.integers(1, 40))
def test_frames_judged_together_are_judged_as_one_by_one(frames: list[Any], size: int) -> None:
    chunks = [heard(i, frame) for i, frame in enumerate(frames)]
    together, alone = Streams(KEY), Streams(KEY)
    views = [View(clock=lambda: 1), View(clock=lambda: 1)]
    found: list[Found] = []
    for at in range(0, len(chunks), size):
        found += together.feed_all(chunks[at : at + size])
    single = [record for chunk in chunks for record in alone.feed(*chunk)]
    assert apart(found) == apart(single)
    for p in (p for record in found if isinstance(record, Frames) for p in record.packets()):
        _, _, (run,) = chunks[p.arrival_ms]
        assert isinstance(run, Run)
        (payload,) = run.payloads
        rssi_dbm = int.from_bytes(payload[8:9], "little", signed=True)
        assert (p.device, p.swarm_ms, p.rssi_dbm) == (
            chunks[p.arrival_ms][1],
            int.from_bytes(payload[:8], "little"),
            rssi_dbm,
        )
        assert (p.kind, p.node, p.session, p.counter) == packet.parse(payload[9:])[:4]
        whole = p.kind == packet.TELEMETRY and frames[p.arrival_ms][-1] != "content"
        assert p.size == len(payload) - 9 and p.told == (payload[19:-8] if whole else None)
    for view, records_of in zip(views, (found, single), strict=True):
        view.fold(records_of)
    assert [view.fleet() | {"version": 0} for view in views] == [views[0].fleet() | {"version": 0}] * 2
    assert [view.models() for view in views] == [views[0].models()] * 2
    for name in ("accepted", "duplicates", "rejected", "held"):
        assert getattr(together, name) == getattr(alone, name)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=14))
def test_coverage_is_a_set_of_indexes(parts: list[tuple[int, int]]) -> None:
    coverage, known = Coverage(), set()
    for start, length in parts:
        added = {i for low, high in coverage.add(start, start + length) for i in range(low, high)}
        assert added == set(range(start, start + length)) - known
        known |= added
    low, high = coverage.span
    assert (low, high) == (min(known), max(known) + 1)
    assert coverage.missing == high - low - len(known)
    assert coverage.exact == (coverage.missing == 0)
    assert {i for a, b in coverage.gaps() for i in range(a, b)} == set(range(low, high)) - known


def test_times_follow_from_the_index() -> None:
    swarm, streams = Swarm(1), Streams(KEY)
    found = records(streams, swarm.radio(swarm.data(0, 4)))
    (samples,) = [r for r in found if isinstance(r, Samples)]
    assert samples.first * samples.period_ms == swarm.now_ms() and samples.period_ms == PERIOD_MS
