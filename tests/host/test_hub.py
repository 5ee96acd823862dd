"""The hub: radio, clocks, batteries, sleep and reboots, with small programs on real MicroPython machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from qres_host.virtual.battery import MAH_NC, RADIO, Battery, PowerTable
from qres_host.virtual.board import BoardSpec
from qres_host.virtual.clock import MILLION, BoardClock, Pacer
from qres_host.virtual.hub import Hub
from qres_host.virtual.playback import make_weather
from qres_host.virtual.radio import Air, airtime_us, rssi_dbm

HOUR_US = 3_600_000_000
SLEEPER = b"""
import machine, time, os, struct
rtc = machine.RTC().memory()
n = struct.unpack("<I", rtc)[0] + 1 if rtc else 1
try:
    value = machine.ADC(machine.Pin(0)).read_uv()
except OSError:
    value = None
print(n, machine.reset_cause(), value, machine.ADC(30).read_uv() > 3300000, os.urandom(2).hex(), time.gmtime()[3])
machine.RTC().memory(struct.pack("<I", n))
machine.deepsleep(3600000 - time.time_ns() // 1000000 % 3600000)
"""
TALKER = b"""
import espnow, network, time, machine
w = network.WLAN(network.WLAN.IF_STA); w.active(True)
e = espnow.ESPNow(); e.active(True); e.add_peer(b"\\xff" * 6)
for n in range(5):
    e.send(b"\\xff" * 6, bytes([n]) * 40)
    end = time.ticks_add(time.ticks_ms(), 1000)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        mac, frame = e.recv(time.ticks_diff(end, time.ticks_ms()))
        if frame:
            print(time.ticks_ms(), mac[5], frame[0], len(frame), e.peers_table[mac][0])
w.active(False)
machine.deepsleep()
"""


def specs(program: bytes, count: int, **changes: object) -> list[BoardSpec]:
    recordings = make_weather(count, ("temp",))
    return [
        BoardSpec(f"b{k}", bytes((2, 0, 0, 0, 0, k)), None, "vm", recordings[k], files={"main.py": program}, **changes)  # type: ignore[arg-type]
        for k in range(count)
    ]


class Run:
    """A hub and everything that entered its digest."""

    def __init__(self, folder: Path, boards: list[BoardSpec], links: Path | None = None, **settings: object) -> None:
        folder.mkdir()
        self.log: list[tuple[int, int, str, bytes]] = []
        self.hub = Hub(boards, folder, start_us=1_357_020_000_000_000, links=links, **settings)  # type: ignore[arg-type]
        self.hub.log = lambda *entry: self.log.append(entry)

    def hours(self, count: float) -> None:
        self.hub.run_until(self.hub.start_us + int(count * HOUR_US))

    def said(self, board: int) -> list[str]:
        text = b"".join(data for _, index, what, data in self.log if index == board and what == "said")
        return text.decode().splitlines()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.hub.close()


def test_deep_sleep_keeps_rtc_memory_and_time(tmp_path: Path, runs: list[Run]) -> None:
    runs.append(Run(tmp_path / "a", specs(SLEEPER, 1, drift_ppm=0)))
    runs[0].hours(3.5)
    lines = [line.split() for line in runs[0].said(0)]
    assert [line[:4] + line[5:] for line in lines] == [
        ["1", "1", "39", "True", "6"],
        ["2", "4", "39", "True", "7"],
        ["3", "4", "39", "True", "8"],
        ["4", "4", "44", "True", "9"],
    ]
    assert len({line[4] for line in lines}) == 4, "entropy differs between boots"
    status = runs[0].hub.status()["boards"][0]
    assert (status["state"], status["boots"]) == ("asleep", 4)
    assert status["asleep_ms"] > 3.4 * 3_600_000
    assert status["awake_ms"] == 4 * 418


def test_same_seed_same_digest_whatever_the_processors_do(tmp_path: Path, runs: list[Run]) -> None:
    for name in ("a", "b"):
        runs.append(Run(tmp_path / name, specs(TALKER, 4), seed=5, loss=0.2))
        runs[-1].hours(0.1)
    runs.append(Run(tmp_path / "c", specs(TALKER, 4), seed=6, loss=0.2))
    runs[-1].hours(0.1)
    digests = [run.hub.digest() for run in runs]
    assert digests[0] == digests[1] != digests[2]
    counters = runs[0].hub.status()["radio"]
    assert counters["sent"] == 20
    assert counters["lost"] > 0
    assert any(line.endswith("40 -40") for line in runs[0].said(0))


def test_a_killed_machine_boots_again_as_after_the_watchdog(tmp_path: Path, runs: list[Run]) -> None:
    runs.append(Run(tmp_path / "a", specs(SLEEPER, 2, drift_ppm=0)))
    runs[0].hours(1.5)
    runs[0].hub.kill(0)
    runs[0].hours(1.6)
    assert runs[0].said(0)[-1].split()[:2] == ["1", "3"], "RTC memory is lost, the cause is the watchdog"
    assert runs[0].hub.status()["boards"][0]["kills"] == 1
    assert runs[0].said(1)[-1].split()[:2] == ["2", "4"]


def test_a_machine_that_dies_is_counted_and_boots_again(tmp_path: Path, runs: list[Run]) -> None:
    waiting = b"import time, machine\nprint(machine.reset_cause())\nwhile True: time.sleep_ms(60000)\n"
    runs.append(Run(tmp_path / "a", specs(waiting, 1)))
    runs[0].hours(0.1)
    board = runs[0].hub.boards[0]
    board._nursery.kill(board._machine.number)  # type: ignore[attr-defined]
    while not runs[0].hub.status()["boards"][0]["crashes"]:
        runs[0].hub._turn()
    runs[0].hub.run_until(runs[0].hub.now_us + 60_000_000)
    assert runs[0].said(0) == ["1", "3"]


def test_resets_watchdog_and_storage(tmp_path: Path, runs: list[Run]) -> None:
    program = b"""
import machine, esp32, time
store = esp32.NVS("t")
try:
    n = store.get_i32("n") + 1
except OSError:
    n = 1
store.set_i32("n", n)
store.commit()
print(n, machine.reset_cause(), machine.RTC().memory())
machine.RTC().memory(b"kept")
if n == 1: machine.soft_reset()
if n == 2: machine.reset()
if n == 3:
    machine.WDT(timeout=5000)
    time.sleep_ms(60000)
if n == 4: raise SystemExit
open("note", "w").write("x")
machine.deepsleep()
"""
    runs.append(Run(tmp_path / "a", specs(program, 1)))
    runs[0].hours(0.1)
    assert runs[0].said(0) == ["1 1 b''", "2 5 b'kept'", "3 2 b''", "4 3 b''", "5 5 b'kept'"]
    assert runs[0].hub.status()["boards"][0]["state"] == "asleep"


def test_a_program_that_never_stops_falling_over_is_given_up(tmp_path: Path, runs: list[Run]) -> None:
    program = b"import uctypes\nuctypes.bytes_at(1, 4)\n"  # a segmentation fault
    runs.append(Run(tmp_path / "a", specs(program, 1)))
    runs[0].hours(0.1)
    status = runs[0].hub.status()["boards"][0]
    assert (status["state"], status["crashes"]) == ("dead", 6)


def test_output_that_nobody_reads_does_not_stop_a_board(tmp_path: Path, runs: list[Run]) -> None:
    program = b"import machine\nfor n in range(300): print('x' * 1000)\nmachine.deepsleep()\n"
    (tmp_path / "links").mkdir()
    runs.append(Run(tmp_path / "a", specs(program, 1), links=tmp_path / "links"))
    runs[0].hours(0.1)
    status = runs[0].hub.status()["boards"][0]
    assert status["state"] == "asleep"
    assert 300 * 1001 - 100_000 < status["serial_dropped_bytes"] < 300 * 1001


# The radio alone


class Bench:
    """Stations on a line, ten metres apart, with a small scheduler."""

    def __init__(self, count: int, **settings: float) -> None:
        self.events: list[tuple[int, int, int, object]] = []
        self.got: list[tuple[int, int, int, bytes]] = []
        self.now = 0
        places = [(10.0 * k, 0.0) for k in range(count)]
        self.air = Air(places, 1, self.at, self.deliver, **settings)  # type: ignore[arg-type]
        for station in range(count):
            self.air.switch(station, True, 0)

    def at(self, instant: int, station: int, call: object) -> None:
        self.events.append((instant, station, len(self.events), call))

    def deliver(self, receiver: int, sender: int, frame: bytes, rssi: int) -> None:
        self.got.append((self.now, receiver, sender, frame))

    def run(self) -> None:
        while self.events:
            self.events.sort(key=lambda event: event[:3])
            self.now, _, _, call = self.events.pop(0)
            call()  # type: ignore[operator]


def test_airtime_and_strength_of_a_frame() -> None:
    assert airtime_us(250) == 192 + 8 * 293
    assert airtime_us(0) == 536
    assert (rssi_dbm(0.1), rssi_dbm(1), rssi_dbm(10), rssi_dbm(1e6)) == (-40, -40, -67, -97)


def test_frames_arrive_in_range_after_airtime_and_delay() -> None:
    bench = Bench(3, range_m=15, delay_us=700)
    assert bench.air.send(0, b"x" * 100, 0)
    bench.run()
    ((instant, receiver, sender, frame),) = bench.got
    assert (receiver, sender, frame) == (1, 0, b"x" * 100)
    assert airtime_us(100) + 750 <= instant <= airtime_us(100) + 750 + 31 * 20


def test_frames_that_are_too_long_or_sent_with_the_radio_off_are_refused() -> None:
    bench = Bench(2)
    assert not bench.air.send(0, b"x" * 251, 0)
    assert not bench.air.send(0, b"", 0)
    bench.air.switch(0, False, 0)
    assert not bench.air.send(0, b"x", 0)
    assert bench.air.counters.refused == 3


def test_stations_that_hear_each_other_take_turns_and_hidden_ones_collide() -> None:
    near = Bench(3)
    far = Bench(3, range_m=15)  # 0 and 2 do not hear each other, 1 hears both
    for bench in (near, far):
        for n in range(50):
            bench.air.send(0, bytes([n]) * 200, 0)
            bench.air.send(2, bytes([n]) * 200, 0)
        bench.run()
    heard = [len([1 for _, receiver, _, _ in bench.got if receiver == 1]) for bench in (near, far)]
    assert heard[0] >= 90, "same backoff slots collide now and then"
    assert heard[1] <= 10
    assert far.air.counters.collided >= 90


def test_loss_is_drawn_per_receiver_and_repeats() -> None:
    runs = []
    for _ in range(2):
        bench = Bench(4, loss=0.3)
        for n in range(200):
            bench.air.send(0, bytes([n]), 0)
        bench.run()
        runs.append(bench.got)
        assert 120 < bench.air.counters.lost < 240
    assert runs[0] == runs[1]
    assert len({tuple(n for _, who, _, n in runs[0] if who == k) for k in (1, 2, 3)}) == 3


def test_a_receiver_that_was_off_during_a_frame_gets_nothing() -> None:
    bench = Bench(2)
    bench.air.switch(1, False, 0)
    bench.air.send(0, b"x", 0)
    bench.run()
    assert bench.got == []
    assert bench.air.counters.unheard == 1


# Clocks and batteries


def test_local_time_runs_both_ways() -> None:
    rng = Random(1)
    for _ in range(500):
        clock = BoardClock(10**15, rng.randint(-5000, 5000), rng.randint(-(10**9), 10**9))
        true = 10**15 + rng.randrange(10**13)
        local = clock.local_us(true)
        first = clock.true_us(local)
        assert first <= true and clock.local_us(first) >= local > clock.local_us(first - 1)


def test_pacer_is_never_late_for_long() -> None:
    pacer = Pacer(1e9)
    assert pacer.wait_s(0, 0) == 0.0
    assert Pacer(0).wait_s(10**18, 0) == 0.0
    slow = Pacer(1.0)
    assert 3.0 < slow.wait_s(5 * MILLION, 0) <= 5.0


def test_battery_accounts_for_states_and_boots() -> None:
    battery = Battery(1, table=PowerTable((7, 180, 27_000, 78_000), 200_000, 1000))
    battery.enter(RADIO, 1_000_000)  # a second at 27 mA
    battery.enter(RADIO, 2_000_000)  # a second at 78 mA
    battery.booted()
    battery.sent(1000)
    assert battery.used_nc == 27_000_000 + 78_000_000 + 1000 + 200_000
    assert battery.millivolts() == 3300 + 900 * (MAH_NC - battery.used_nc) // MAH_NC
    battery.enter(RADIO, 10**12)
    assert battery.millivolts() == 3300
    assert Battery(0).millivolts() == 5000
