"""Captures: what was stored is read back, whatever happens to the tail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qres_host.capture import CaptureReader, CaptureWriter, Record, pack_record, segments, started_ms
from qres_host.errors import QresError

RECORDS = [
    (0, "virtual://a", b"first"),
    (7, "serial:///dev/ttyACM0", b"\0\1\2" * 9),
    (7, "b", b""),
    (9, "b", b"last"),
]


def write(folder: Path, segment_bytes: int = 1 << 20) -> None:
    """Store RECORDS in `folder`."""
    writer = CaptureWriter(folder, segment_bytes)
    for record in RECORDS:
        writer.append(*record)
    writer.close()


def test_records_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path)
    reader = CaptureReader(tmp_path)
    assert list(reader) == RECORDS == list(CaptureReader(segments(tmp_path)[0]))
    assert reader.damaged_bytes == 0
    assert abs(started_ms(segments(tmp_path)[0]) - time.time() * 1000) < 600_000


def test_segments_rotate_by_size_and_keep_the_order(tmp_path: Path) -> None:
    write(tmp_path, segment_bytes=60)
    assert len(segments(tmp_path)) > 1
    assert list(CaptureReader(tmp_path)) == RECORDS


def test_a_power_cut_at_every_byte_loses_only_the_tail(tmp_path: Path) -> None:
    write(tmp_path)
    whole = segments(tmp_path)[0].read_bytes()
    ends = [16]
    for record in RECORDS:
        ends.append(ends[-1] + len(pack_record(*record)))
    assert ends[-1] == len(whole)
    cut_file = tmp_path / "cut" / "00000000.qcap"
    cut_file.parent.mkdir()
    for cut in range(len(whole) + 1):
        cut_file.write_bytes(whole[:cut])
        reader = CaptureReader(cut_file.parent)
        kept = sum(end <= cut for end in ends[1:])
        assert list(reader) == RECORDS[:kept]
        assert reader.damaged_bytes == (cut - ends[kept] if cut > 16 else 0)


def test_an_arrival_that_no_database_can_hold_is_damage(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path)
    writer.extend([Record(2**63 - 1, "a", b"1"), Record(2**63, "a", b"2"), Record(5, "a", b"3")])
    writer.close()
    reader = CaptureReader(tmp_path)
    assert [record.data for record in reader] == [b"1"] and reader.damaged_bytes > 0


def test_a_flipped_byte_is_never_read_as_data(tmp_path: Path) -> None:
    write(tmp_path)
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    for at in range(16, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        read = list(CaptureReader(tmp_path))
        assert read == RECORDS[: len(read)] and len(read) < len(RECORDS)


def test_a_capture_is_continued_in_a_new_segment_and_time_goes_on(tmp_path: Path) -> None:
    write(tmp_path)
    with open(segments(tmp_path)[0], "ab") as file:
        file.write(b"half a rec")
    writer = CaptureWriter(tmp_path)
    assert writer.now_ms() >= 10
    writer.append(writer.now_ms(), "c", b"more")
    writer.close()
    reader = CaptureReader(tmp_path)
    assert [r.data for r in reader] == [r[2] for r in RECORDS] + [b"more"]
    assert reader.damaged_bytes == 10


def test_a_killed_writer_keeps_every_record_that_it_stored(tmp_path: Path) -> None:
    program = (
        "import sys; from qres_host.capture import CaptureWriter\n"
        "w = CaptureWriter(sys.argv[1])\n"
        "for i in range(10**9):\n"
        "    w.append(i, 'd', b'x' * 50)\n"
        "    print(i, flush=True)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdout is not None
    for _ in range(200):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = list(CaptureReader(tmp_path))
    assert kept[: last + 1] == [Record(i, "d", b"x" * 50) for i in range(last + 1)]


def test_what_is_no_capture_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a capture")
    for wrong in (tmp_path, tmp_path / "notes.txt", tmp_path / "absent"):
        with pytest.raises(QresError) as error:
            CaptureReader(wrong)
        assert error.value.remedy and "\n" not in error.value.line()
    with pytest.raises(QresError):
        CaptureWriter("/proc/no/such/folder")
