"""`qres compress`, `decompress`, `inspect`, `verify`, `cat`: as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from qres_host import archive, cli, errors

TEXT = "time,temp [degC]\n" + "".join(
    f"2024-05-01T{i // 60:02}:{i % 60:02}:00,{20 + i % 7 / 4:.2f}\n" for i in range(600)
)


def qres(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `qres` as a user does."""
    command = [sys.executable, "-m", "qres_host.cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment(), timeout=120, check=False)


def environment() -> dict[str, str]:
    """The environment of a user."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "120"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table and its archive, which is the current one."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TEXT)
    assert cli.run(["compress", "t.csv", "t.qres"]) == 0
    return tmp_path


def test_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["decompress", "t.qres", "back.csv"]) == 0
    assert Path("back.csv").read_text() == TEXT
    assert capsys.readouterr().out == "back.csv: 600 rows, 15,617 bytes of csv\n"
    assert cli.run(["compress", "--json", "--force", "--level", "fast", "t.csv", "t.qres"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["input_bytes"], summary["stored_as"]) == (15617, "csv")
    assert summary["output_bytes"] == Path("t.qres").stat().st_size
    assert sorted(os.listdir()) == ["back.csv", "t.csv", "t.qres"]


def test_other_formats(folder: Path) -> None:
    assert cli.run(["decompress", "--format", "npz", "t.qres", "t.npz"]) == 0
    table = np.load("t.npz")
    assert table["time"].dtype == np.dtype("M8[s]") and table["temp [degC]"][3] == 20.75
    Path("n.csv").write_text("a,b\n1,2.5\n3,4.5\n" * 1)
    assert cli.run(["compress", "--append", "n.csv", "n.qres"]) == 0
    assert cli.run(["decompress", "--format", "npy", "n.qres", "n.npy"]) == 0
    assert np.load("n.npy").tolist() == [[1, 2.5], [3, 4.5]]
    np.save("m.npy", np.array([[1, 2], [3, 4]], "i2"))
    assert cli.run(["compress", "--append", "m.npy", "m.qres"]) == 0
    assert cli.run(["decompress", "--format", "csv", "m.qres", "m.csv"]) == 0
    assert Path("m.csv").read_text() == "c1,c2\n1,2\n3,4\n"


def test_pipes() -> None:
    packed = qres("compress", "--level", "fast", "-", "-", stdin=TEXT.encode())
    assert packed.returncode == 0 and packed.stderr.startswith(b"standard input: 15,617 -> ")
    assert qres("decompress", "-", "-", stdin=packed.stdout).stdout == TEXT.encode()
    assert qres("verify", "-", stdin=packed.stdout).stdout == b"whole: 600 rows in 1 block\n"
    assert qres("cat", "-", "--rows", "599:", stdin=packed.stdout).stdout.splitlines()[1:] == [
        b"2024-05-01T09:59:00,21.00"
    ]
    noise = os.urandom(1000)
    packed = qres("compress", "-", "-", stdin=noise)
    assert len(packed.stdout) <= 1064 and qres("decompress", "-", "-", stdin=packed.stdout).stdout == noise
    assert qres("cat", "-", stdin=packed.stdout).stdout == noise


def test_a_part_by_time_row_and_column(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def cat(*options: str) -> list[bytes]:
        assert cli.run(["cat", "t.qres", *options]) == 0
        return capfdbinary.readouterr().out.splitlines()

    capfdbinary.readouterr()
    assert cat("--start", "2024-05-01T01:00", "--end", "2024-05-01T01:03")[1:] == [
        b"2024-05-01T01:00:00,21.00",
        b"2024-05-01T01:01:00,21.25",
        b"2024-05-01T01:02:00,21.50",
    ]
    assert cat("--rows", "2", "--columns", "temp [degC]") == [b"temp [degC]", b"20.50"]
    assert cat("--rows", "0:1", "--json") == [b'{"time": "2024-05-01T00:00:00", "temp [degC]": 20.0}']
    assert cat("--start", "2030-01-01") == [b"time,temp [degC]"]
    assert b"".join(line + b"\n" for line in cat()) == TEXT.encode()


def test_what_an_archive_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.run(["inspect", "t.qres"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "archive   t.qres, format 1, from csv, exact"
    assert lines[1] == "rows      600 in 1 block"
    assert lines[3:6] == [
        "time      2024-05-01T00:00:00 to 2024-05-01T09:59:00",
        "          every 60 s",
        "complete  yes",
    ]
    assert lines[-1].split() == ["temp", "[degC]", "decimal", "2", "degC"]
    assert cli.run(["inspect", "t.qres", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["time"]["regular"] and about["time"]["period"] == 60 and about["columns"][1]["decimals"] == 2


def test_append_grows_an_archive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = TEXT.splitlines(keepends=True)
    for i in range(0, 600, 200):
        Path("part.csv").write_text("".join([head, *rows[i : i + 200]]))
        assert cli.run(["compress", "--append", "part.csv", "grown.qres"]) == 0
    assert cli.run(["decompress", "grown.qres", "grown.csv"]) == 0
    assert Path("grown.csv").read_text() == TEXT
    for other, reason in (
        ("a,b\n1,2\n", "column 'time' where"),
        ("time\n1\n", "2 columns, the input 1"),
        ("x", "bytes"),
    ):
        Path("other.csv" if "," in other or "\n" in other else "other").write_text(other)
        name = "other.csv" if "\n" in other else "other"
        before = Path("grown.qres").read_bytes()
        capsys.readouterr()
        assert cli.run(["compress", "--append", name, "grown.qres"]) == errors.USAGE
        assert reason in capsys.readouterr().err or name == "other"
        assert Path("grown.qres").read_bytes() == before
    Path("rest.csv").write_text("2024-05-01T10:00:00,19.75\n")  # rows without a header continue it too
    assert cli.run(["compress", "--append", "rest.csv", "grown.qres"]) == 0
    assert cli.run(["decompress", "--force", "grown.qres", "grown.csv"]) == 0
    assert Path("grown.csv").read_text() == TEXT + "2024-05-01T10:00:00,19.75\n"


def test_a_cut_archive_gives_what_is_whole_and_exit_code_4(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.csv").write_text("time,temp [degC]\n2024-05-02T00:00:00,1.00\n")
    assert cli.run(["compress", "--append", "more.csv", "t.qres"]) == 0
    data = Path("t.qres").read_bytes()
    Path("cut.qres").write_bytes(data[:-30])
    capsys.readouterr()
    assert cli.run(["verify", "cut.qres"]) == errors.PARTIAL
    assert capsys.readouterr().out.startswith("cut: 600 rows are whole, ")
    assert cli.run(["decompress", "cut.qres", "cut.csv"]) == errors.PARTIAL
    assert "600 rows" in capsys.readouterr().err
    assert Path("cut.csv").read_text() == TEXT
    assert cli.run(["inspect", "cut.qres"]) == errors.PARTIAL
    assert cli.run(["compress", "--append", "more.csv", "cut.qres"]) == 0
    assert "torn record" in capsys.readouterr().err
    assert cli.run(["verify", "cut.qres"]) == 0


def test_damage_is_told_with_what_is_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(Path("t.qres").read_bytes())
    data[len(data) // 2] ^= 4
    Path("hurt.qres").write_bytes(data)
    capsys.readouterr()
    assert cli.run(["verify", "hurt.qres"]) == errors.FAILURE
    assert "the rows before 0 are whole" in capsys.readouterr().err
    assert cli.run(["decompress", "hurt.qres", "hurt.csv"]) == errors.FAILURE
    assert not Path("hurt.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["compress", "t.csv", "t.qres"], errors.USAGE, "t.qres exists already"),
        (["compress", "--force", "t.csv", "/dev/null"], errors.USAGE, "/dev/null is no plain file"),
        (["compress", "absent.csv", "x"], errors.FAILURE, "cannot read absent.csv"),
        (["compress", ".", "x"], errors.USAGE, "is a folder"),
        (["compress", "t.csv", "absent/x"], errors.USAGE, "absent is no folder: make it first"),
        (["compress", "ragged.csv", "x"], errors.FAILURE, "line 3 has 1 cells, the first line 2"),
        (["compress", "--as", "wav", "t.csv", "x"], errors.FAILURE, "no RIFF file"),
        (["compress", "--mode", "bounded", "t.csv", "x"], errors.USAGE, "either --eps or --eps-percent"),
        (["compress", "--eps", "1", "t.csv", "x"], errors.USAGE, "mode exact takes no limit"),
        (["compress", "--mode", "bounded", "--eps", "-1", "t.csv", "x"], errors.USAGE, "-1 is no limit"),
        (["compress", "--mode", "bounded", "--eps", "1e400", "t.csv", "x"], errors.USAGE, "1e400 is no limit"),
        (["compress", "--mode", "bounded", "--eps", "x", "t.csv", "x"], errors.USAGE, "x is no limit"),
        (["compress", "--mode", "silent", "--threshold", "1", "--as", "bytes", "t.csv", "x"], errors.USAGE, "no table"),
        (
            ["compress", "--append", "--mode", "silent", "--threshold", "1", "t.csv", "t.qres"],
            errors.USAGE,
            "keeps the",
        ),
        (["compress", "--append", "t.csv", "-"], errors.USAGE, "a pipe cannot"),
        (["compress", "--append", "t.csv", "t.csv"], errors.FAILURE, "no QRES archive"),
        (["decompress", "t.csv", "x"], errors.FAILURE, "no QRES archive"),
        (["decompress", "t.qres", "t.csv"], errors.USAGE, "t.csv exists already"),
        (["decompress", "--format", "wav", "t.qres", "x"], errors.USAGE, "holds no sound"),
        (["decompress", "--format", "raw", "t.qres", "x"], errors.USAGE, "cannot become raw"),
        (["decompress", "--format", "npy", "t.qres", "x"], errors.USAGE, "only columns of numbers"),
        (["cat", "t.qres", "--start", "noon"], errors.USAGE, "'noon' is no time"),
        (["cat", "t.qres", "--columns", "x"], errors.USAGE, "no column 'x', there are time, temp"),
        (["cat", "t.qres", "--rows", "a:b"], errors.USAGE, "names no rows"),
        (["inspect", "absent"], errors.FAILURE, "cannot read absent"),
        (["verify", "t.csv"], errors.FAILURE, "no QRES archive"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    folder: Path, arguments: list[str], code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ragged.csv").write_text("a,b\n1,2\n3\n")
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    capsys.readouterr()
    assert cli.run(arguments) == code
    told = capsys.readouterr()
    assert reason in told.err and told.err.startswith("qres: ") and told.err.count("\n") == 1
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_half_file_and_fails(how: signal.Signals, tmp_path: Path) -> None:
    rows = np.arange(3_000_000)
    np.savetxt(tmp_path / "big.csv", rows, fmt="%d", header="x", comments="")
    command = [sys.executable, "-m", "qres_host.cli", "compress", "big.csv", "big.qres"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(os.listdir(tmp_path)) < 2:
        time.sleep(0.005)
    process.send_signal(how)
    told = process.communicate(timeout=60)[1]
    if process.returncode:  # else it was quicker than the signal
        assert process.returncode == errors.INTERRUPTED
        assert told == "qres: interrupted: nothing was changed\n" and os.listdir(tmp_path) == ["big.csv"]


def test_a_named_pipe_is_read_like_standard_input(folder: Path) -> None:
    os.mkfifo("pipe")
    feeder = threading.Thread(target=lambda: Path("pipe").write_bytes(Path("t.csv").read_bytes()))
    feeder.start()
    assert cli.run(["compress", "pipe", "piped.qres"]) == 0
    feeder.join()
    assert cli.run(["decompress", "piped.qres", "piped.csv"]) == 0
    assert Path("piped.csv").read_bytes() == Path("t.csv").read_bytes()


def test_a_full_disk_is_told_with_its_remedy(folder: Path) -> None:
    command = [sys.executable, "-m", "qres_host.cli", "decompress", "t.qres", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == errors.FAILURE
    assert done.stderr == "qres: No space left on device: make room, or write elsewhere\n"


def test_a_table_can_be_followed_while_it_grows(folder: Path) -> None:
    with archive.open("t.qres") as before:
        assert cli.run(["compress", "--append", "t.csv", "t.qres"]) == 0
        assert before.read()["time"].shape == (600,)
    with archive.open("t.qres") as after:
        assert after.rows == 1200 and not after.ordered


def test_bytes_are_appended_to_bytes_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("log").write_bytes(b"1,2\n3,4\n" * 50)
    assert cli.run(["compress", "--as", "bytes", "log", "log.qres"]) == 0
    assert cli.run(["compress", "--append", "log", "log.qres"]) == 0
    assert cli.run(["compress", "--append", "t.csv", "log.qres"]) == errors.USAGE
    assert "the archive holds bytes, the input is a table" in capsys.readouterr().err
    assert cli.run(["decompress", "log.qres", "log.back"]) == 0
    assert Path("log.back").read_bytes() == b"1,2\n3,4\n" * 100
