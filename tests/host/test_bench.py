"""The coders of the bench: every peer gives back what it got, also where that is hard; streams and skip reasons."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from qres_host.bench import (
    bounded,
    jit,
    measure,
    ours,
    packets,
    packets_ours,
    packets_peers,
    process,
    seed,
    segments,
    streams,
)
from qres_host.bench import coder as coders
from qres_host.bench.peers import flac, general, pco, peers, rice, xor
from qres_host.errors import QresError

MOST, LEAST = 2**31 - 1, -(2**31)
RANDOM = np.random.default_rng(7)
COLUMNS: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {
    "one": np.array([3]),
    "two": np.array([0, -1]),
    "least": np.array([LEAST]),
    "constant": np.full(300, 7),
    "zeros": np.zeros(70, np.int64),
    "extremes": np.array([MOST, LEAST, MOST, LEAST, 0, -1, 1]),
    "random": RANDOM.integers(LEAST, MOST + 1, 400),
    "walk": np.cumsum(RANDOM.integers(-3, 4, 1000)),
    "outliers": np.concatenate([np.zeros(200, np.int64), [MOST, LEAST], np.zeros(200, np.int64)]),
    "16 bits": np.array([-32768, 32767, 0, 32767]),
}
PEERS = [*peers()[0], seed.packing()]
FORMS = [(peer.name, form) for peer in PEERS for form in peer.forms]


def column(name: str) -> coders.Ints:
    """One of COLUMNS as the coders take it."""
    return COLUMNS[name].astype(np.int32)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("form", [form for _, form in FORMS], ids=[f"{peer} {form.name}" for peer, form in FORMS])
def test_peers_give_back_what_they_got(form: coders.Form, name: str) -> None:
    x = column(name)
    found = form.decode(form.encode(x), x.shape)
    assert found.dtype == np.int32 and np.array_equal(found, x)


def test_the_smallest_form_is_taken_column_by_column() -> None:
    general_coder = next(peer for peer in PEERS if peer.name == "zlib-9")
    x = np.stack([column("walk"), RANDOM.permutation(np.arange(1000)).astype(np.int32)], axis=1)
    packed = measure.pack(general_coder, x)
    for each in packed:
        assert len(each.data) == min(len(form.encode(each.part)) for form in general_coder.forms)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("line", segments.LINES, ids=lambda line: line.name)
@pytest.mark.parametrize("eps", [0, 1, 50])
def test_segments_keep_within_the_bound(line: segments.Line, name: str, eps: int) -> None:
    x = column(name)
    found = line.decode(line.encode(x, eps), len(x))
    assert np.abs(found.astype(np.int64) - x).max() <= eps


def test_segments_are_fewer_for_a_wider_bound() -> None:
    x = column("walk")
    for line in segments.LINES:
        assert len(line.encode(x, 20)) < len(line.encode(x, 2))


@pytest.mark.parametrize("code", [rice.DELTA, rice.FIXED], ids=lambda code: code.name)
def test_rice_takes_about_the_bits_that_it_needs(code: rice.Code) -> None:
    x = np.cumsum(RANDOM.geometric(0.3, 4000) * RANDOM.choice([-1, 1], 4000)).astype(np.int32)
    d = np.diff(x)
    _, counts = np.unique(d, return_counts=True)
    entropy = -(counts / len(d) * np.log2(counts / len(d))).sum()
    assert 8 * len(rice.as_form(code, "").encode(x)) < len(x) * entropy * 1.1


def test_missing_values_are_held() -> None:
    x = np.array([[0, 5], [1, 0], [0, 0], [2, 7]], np.int32)
    gone = np.array([[True, False], [False, True], [True, True], [False, False]])
    assert streams.held(x, gone).tolist() == [[1, 5], [1, 5], [1, 5], [2, 7]]


def test_the_carried_weather_is_three_streams() -> None:
    found = streams.carried()
    assert [stream.name for stream in found] == ["weather_ewr", "weather_jfk", "weather_lga"]
    assert all(stream.x.dtype == np.int32 and stream.x.shape == (8760, 8) for stream in found)


def test_folders_of_recordings(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(6).reshape(3, 2))
    np.save(tmp_path / "b.npy", np.array([0.5, -1.25, 3.0]))
    (tmp_path / "c.csv").write_text("date,v,w\n2020-01-01,1.5,2.009000062942505\n2020-01-02,-2,0.1\n")
    found = {stream.name: stream.x.tolist() for stream in streams.load(tmp_path)}
    assert found == {"a": [[0, 1], [2, 3], [4, 5]], "b": [[50], [-125], [300]], "c": [[15, 2009], [-20, 100]]}


@pytest.mark.parametrize("text", ["v\n", "v\nx\n", "v,w\n1,2\n3\n", "v\n1\nnan\n", "v\n99999999999\n"])
def test_unusable_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(QresError, match=r"bad\.csv is not usable"):
        streams.load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QresError, match="no recordings"):
        streams.load(tmp_path)


def test_what_is_absent_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(ours, "COMPILED", False)
    found = [*pco.coders(), *flac.coders(), *general.coders(), *xor.coders(), *ours.coders()]
    reasons = {each.name: each.reason for each in found if isinstance(each, coders.Skipped)}
    assert set(reasons) == {
        *("pcodec-8", "pcodec-12", "FLAC -8ep", "brotli-11", "zstd-19", "Gorilla", "Chimp", "qres fast, no Numba")
    }
    assert "qres-swarm[bench]" in reasons["pcodec-12"] and "apt install flac" in reasons["FLAC -8ep"]
    assert [s.name for s in bounded.lossy_coders()[1]] == ["SZ3"]
    assert [s.name for s in packets_peers.alone()[1]] == ["brotli-11 in packets", "pcodec-12 in packets"]


def test_compiled_loops_can_be_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "COMPILED", False)
    assert jit.jit(column) is column


def test_bounds_are_whole_steps_and_at_least_one() -> None:
    x = np.array([[0, 0], [5000, 10]], np.int32)
    assert bounded.bounds(x, 0.001).tolist() == [5, 1]


def wide_board() -> list[packets.Board]:
    """The boards of a stream with two channels that are easy and hard to code."""
    x = np.stack([np.cumsum(RANDOM.integers(-2, 3, 900)), RANDOM.integers(LEAST, MOST, 900)], axis=1).astype(np.int32)
    return packets.boards([streams.Stream("s_1", x), streams.Stream("s_2", x + 1)])


def test_boards_learn_from_earlier_time_and_from_each_other() -> None:
    one, other = wide_board()
    assert len(one.earlier) == one.first == 270 and len(one.x) == 630
    assert np.array_equal(one.others[0], other.earlier)


def test_more_channels_than_a_board_has_are_boards_of_one() -> None:
    x = np.arange(1600, dtype=np.int32).reshape(100, 16)
    found = packets.boards([streams.Stream("s", x)])
    assert len(found) == 16 and found[3].x.shape == (70, 1) and len(found[3].others) == 15


@pytest.mark.parametrize("name, alone", packets_peers.alone()[0], ids=[name for name, _ in packets_peers.alone()[0]])
def test_stateless_packets_fit_and_hold_every_step(name: str, alone: packets.Alone) -> None:
    board = wide_board()[0]
    sent = list(packets.stateless(name, alone).pack(board))
    assert sum(each.steps for each in sent) == len(board.x)
    assert all(each.code <= packets.PAYLOAD_MAX - packets.HEAD_MAX for each in sent)


def test_a_packet_is_filled_as_far_as_it_goes() -> None:
    alone = dict(packets_peers.alone()[0])["delta+Rice"]
    x = np.cumsum(RANDOM.integers(-9, 10, (600, 1)), axis=0).astype(np.int32)
    for guess in (1, 60, 250):
        steps, _ = packets.fill(x, 100, alone, guess)
        assert len(alone.encode(x[:steps])) <= 100 < len(alone.encode(x[: steps + 1]))


@pytest.mark.parametrize("packer", packets_ours.packers(), ids=lambda packer: f"{packer.name} {packer.state}")
def test_our_packets_hold_every_step(packer: packets.Packer) -> None:
    board = wide_board()[0]
    sent = list(packer.pack(board))
    assert sum(each.steps for each in sent) == len(board.x)
    assert all(each.code + each.head <= packets.PAYLOAD_MAX for each in sent)


def test_a_coder_that_lies_is_found_out() -> None:
    lying = coders.Coder("x", (coders.Form("x", lambda x: b"", lambda data, shape: np.ones(shape, np.int32)),))
    row = next(measure.run(lying, [streams.Stream("s", np.zeros((9, 1), np.int32))], 0.1))
    assert "differs" in row["error"]


def test_a_process_that_breaks_off_is_an_error_of_its_rows() -> None:
    def crash(x: coders.Ints) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    breaking = coders.Coder("x", (coders.Form("x", crash, lambda data, shape: np.zeros(shape, np.int32)),))
    rows = list(measure.run(breaking, [streams.Stream(n, np.zeros((9, 1), np.int32)) for n in "ab"], 0.1))
    assert [row["stream"] for row in rows] == ["a", "b"] and all("ended" in row["error"] for row in rows)


def test_coders_run_on_one_core() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot bind a process to a core")
    assert list(process.apart(lambda: iter([len(os.sched_getaffinity(0))]))) == [1]


def test_a_measured_row_is_whole() -> None:
    peer = next(peer for peer in PEERS if peer.name == "zlib-9")
    row = next(measure.run(peer, [streams.Stream("s", column("walk")[:, None])], 0.1))
    assert row["bits"] == pytest.approx(8 * row["bytes"] / 1000)
    assert row["encode_mb_s"] > 0 and row["decode_mb_s"] > 0 and row["repeats"] >= 1


def test_the_published_figure_has_its_signals_and_its_packing() -> None:
    sine, walk = seed.streams()
    form = seed.packing().forms[0]
    assert sine.x.shape == walk.x.shape == (20_000, 1) and sine.x.max() == 100
    assert 80_000 / len(form.encode(walk.x[:, 0])) == pytest.approx(3.55, abs=0.01)
