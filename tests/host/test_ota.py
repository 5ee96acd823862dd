"""Updates over the air: what boards believe, how a lossy air is survived, and that no power cut leaves half of two."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import qres
from qres.port import ota, trial
from qres_host.errors import QresError
from qres_host.ota import bundle as bundles
from qres_host.ota import job as jobs
from qres_host.ota.bundle import Bundle
from qres_host.ota.job import Job, Progress

PRIVATE = bytes(range(32))
OTHER = bytes(range(1, 33))
NEW, OLD = b"new!", b"old!"
NODE = 7
ANYTHING = 1000  # energy, permille


class _Inflate:
    """MicroPython's DeflateIO, as far as the updater uses it."""

    def __init__(self, stream: io.BytesIO, form: int, window_bits: int) -> None:
        self._stream, self._rest = stream, zlib.decompressobj(window_bits)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; OSError for what is no zlib stream, as on a board."""
        try:
            return self._rest.decompress(self._rest.unconsumed_tail or self._stream.read(), size)
        except zlib.error as error:
            raise OSError(22) from error


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board's modules, and the application that it runs."""
    monkeypatch.setitem(sys.modules, "deflate", SimpleNamespace(ZLIB=1, DeflateIO=_Inflate))
    monkeypatch.setattr(qres, "BUILD", OLD)
    monkeypatch.setattr(ota.gc, "collect", lambda: 0)  # takes most of the time where everything is loaded


def application(salt: int, files: int = 12) -> dict[str, bytes]:
    """Files of many sizes, one of them larger than a batch; half of them are the same for every `salt`."""
    rng = random.Random(salt)
    fixed = random.Random(5)
    found = {"boot.py": b"boot", "main.py": b"main %d" % salt, "qres/empty.mpy": b""}
    for k in range(files):
        source, size = (rng, 300 * k + 5) if k % 2 else (fixed, 700)
        found[f"qres/{'port/' if k % 3 else ''}m{k}.mpy"] = source.randbytes(size)
    found["qres/large.mpy"] = rng.randbytes(9000)
    found["qres/__init__.mpy"] = b"build %d" % salt
    return found


def put(root: Path, files: dict[str, bytes]) -> None:
    """Write files below a board's root."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def update(files: dict[str, bytes], build: bytes = NEW, sequence: int = 100, private: bytes = PRIVATE) -> Bundle:
    """What a host sends."""
    return bundles.make(files, build, private, sequence)


class Board:
    """A board with an application in place."""

    def __init__(self, root: Path, node: int = NODE, files: dict[str, bytes] | None = None) -> None:
        self.root, self.node = root, node
        put(root, application(0) if files is None else files)
        (root / "config.json").write_bytes(b"{}")
        self.updater = ota.Updater(bundles.public_key(PRIVATE), node, f"{root}/")

    def hear(self, payload: bytes) -> bytes | None:
        """One frame; the answer."""
        said = self.updater.hear(payload, ANYTHING)
        return said[1] if said else None

    def restart(self) -> None:
        """RAM is lost."""
        self.updater = ota.Updater(self.updater.key, self.node, f"{self.root}/")

    def boots(self, slept: bool = False) -> str:
        """A boot as main.py does it: "" or NEXT, from where it runs."""
        if not (self.root / trial.STATE).exists():
            return ""
        runs = trial.choose(slept, f"{self.root}/")
        return self.boots() if runs is None else trial.NEXT if runs else ""  # None: main.py starts anew


def offer(bundle: Bundle, nodes: bytes = b"") -> bytes:
    """The first frame."""
    head = bundle.sequence.to_bytes(4, "little") + bundle.build + len(bundle.parts[0]).to_bytes(2, "little")
    return bytes([ota.OFFER]) + bundle.name + head + nodes


def deliver(board: Board, bundle: Bundle, files: range | None = None) -> None:
    """Everything once, nothing lost."""
    board.hear(offer(bundle))
    for first, count in bundle.batches():
        if files is not None and first not in files:
            continue
        board.hear(bytes([ota.POLL]) + bundle.name + first.to_bytes(2, "little") + bytes([count, 1]))
        for index in range(first, first + count):
            for k in range(bundle.chunks(index)):
                head = bytes([ota.CHUNK]) + bundle.name + index.to_bytes(2, "little") + k.to_bytes(2, "little")
                board.hear(head + bundle.chunk(index, k))


def install(board: Board, bundle: Bundle) -> bytes | None:
    """The last frame; the answer without its head."""
    said = board.hear(bytes([ota.INSTALL]) + bundle.name)
    return said[5:] if said else None


# What a board believes


def test_an_update_is_staged_tried_confirmed_and_put_in_place(tmp_path: Path) -> None:
    board, new = Board(tmp_path), application(1)
    bundle = update(new)
    deliver(board, bundle)
    assert install(board, bundle) == bytes([ota.STAGED])
    before = {path: data for path, data in tree(tmp_path).items() if not path.startswith(trial.NEXT)}
    assert application(0).items() <= before.items(), "nothing of the application in place has changed"
    assert {p: d for p, d in tree(tmp_path / trial.NEXT).items() if p != "manifest"} == new
    assert board.boots() == trial.NEXT and board.boots(slept=True) == trial.NEXT
    trial.write(f"{tmp_path}/{trial.STATE}", {**trial.read(f"{tmp_path}/{trial.STATE}"), "state": trial.CONFIRMED})
    assert board.boots() == ""
    assert tree(tmp_path) == {**new, "config.json": b"{}", trial.DONE: b'{"failed": "", "sequence": 100}'}
    board.restart()
    older = board.hear(offer(update(application(2), b"more", 100)))
    assert older is not None and older[5] == ota.REFUSED and b"older" in older


def test_only_what_changed_is_asked_for(tmp_path: Path) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    deliver(board, bundle, range(1))
    manifest = board.updater.manifest
    assert manifest is not None
    wanted = {manifest.file(i)[0] for i, state in enumerate(board.updater.states) if not state}
    assert wanted == {path for path, data in application(1).items() if application(0).get(path) != data}


def test_a_board_that_restarts_too_often_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    deliver(board, bundle)
    install(board, bundle)
    assert [board.boots() for _ in range(trial.BOOTS + 1)] == [trial.NEXT] * trial.BOOTS + [""]
    assert "failed here" in capsys.readouterr().out
    kept = tree(tmp_path)
    assert application(0).items() <= kept.items() and trial.STATE not in kept and not (tmp_path / trial.NEXT).exists()
    said = board.hear(offer(bundle))
    assert said is not None and said[5] == ota.REFUSED and b"failed here before" in said
    assert board.hear(offer(update(application(2), b"next"))) is not None


@pytest.mark.parametrize(
    ("bundle", "energy", "why"),
    [
        (update(application(1), private=OTHER), ANYTHING, b"not signed"),
        (update(application(1), sequence=0), ANYTHING, b"older"),
        (update(application(1)), 149, b"battery low"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, bundle: Bundle, energy: int, why: bytes) -> None:
    board = Board(tmp_path)
    said = board.updater.hear(offer(bundle), energy)
    if said is None or said[1][5] == ota.READY:
        deliver(board, bundle, range(1))
        said = (0, board.hear(bytes([ota.POLL]) + bundle.name + bytes([0, 0, 1, 1])) or b"")
    assert said[1][5] == ota.REFUSED and why in said[1]
    board.restart()
    assert not (tmp_path / trial.STATE).exists()


def test_without_a_key_or_for_others_or_twice(tmp_path: Path) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    assert board.hear(offer(bundle, (NODE + 1).to_bytes(4, "little"))) is None
    said = ota.Updater(b"", NODE, f"{tmp_path}/").hear(offer(bundle), ANYTHING)
    assert said is not None and b"no update_key" in said[1]
    same = board.hear(offer(update(application(0), OLD)))
    assert same is not None and same[5:] == bytes([ota.CURRENT, 0])
    assert install(board, bundle) is None, "never offered"
    board.hear(offer(bundle))
    assert install(board, bundle) == bytes([ota.INCOMPLETE])


@pytest.mark.parametrize(
    "path",
    ["config.json", "../main.py", "qres/../config.json", "qres//x", "qres", "/qres/a", "lib/a.py", "node.key", "qres/"],
)
def test_a_signed_manifest_reaches_nothing_but_the_application(tmp_path: Path, path: str) -> None:
    board = Board(tmp_path)
    bundle = update({**application(1), path: b"x"})
    deliver(board, bundle)
    assert board.updater.manifest is None and install(board, bundle) == bytes([ota.INCOMPLETE])
    assert (tmp_path / "config.json").read_bytes() == b"{}"


def test_any_bytes_do_no_harm(tmp_path: Path) -> None:
    board, bundle, rng = Board(tmp_path), update(application(1)), random.Random(4)
    board.hear(offer(bundle))
    for _ in range(3000):
        size = rng.choice((0, 1, 4, 5, 6, 9, 10, 15, 40, 231))
        head = bytes([rng.randrange(6)]) + (bundle.name if rng.random() < 0.8 else rng.randbytes(4))
        board.hear((head + rng.randbytes(226))[:size])
        if rng.random() < 0.01:
            board.hear(offer(bundle))
    for size in range(60):
        with pytest.raises(ValueError):
            ota.Manifest((ota.MAGIC + rng.randbytes(size))[: size + 4])
    assert {p: d for p, d in tree(tmp_path).items() if p.startswith("qres")} == {
        p: d for p, d in application(0).items() if p.startswith("qres")
    }
    for _ in range(2):  # what noise had put among the chunks costs one round
        deliver(board, bundle)
    assert install(board, bundle) == bytes([ota.STAGED]), "and an honest update still comes through"


def test_a_damaged_chunk_costs_its_file_only(tmp_path: Path) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    deliver(board, bundle, range(1))
    large = bundle.paths.index("qres/large.mpy") + 1
    board.hear(bytes([ota.POLL]) + bundle.name + large.to_bytes(2, "little") + bytes([1, 1]))
    for k in range(bundle.chunks(large)):
        head = bytes([ota.CHUNK]) + bundle.name + large.to_bytes(2, "little") + k.to_bytes(2, "little")
        data = bundle.chunk(large, k)
        board.hear(head + (bytes(len(data)) if k == 3 else data))
    assert not board.updater.states[large - 1]
    deliver(board, bundle)
    assert install(board, bundle) == bytes([ota.STAGED])


def test_too_little_memory_is_told_and_an_absurd_size_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    huge = bytes([ota.OFFER]) + bundle.name + (100).to_bytes(4, "little") + NEW + b"\xff\xff"
    said = board.hear(huge)
    assert said is not None and said[5] == ota.REFUSED and b"so large" in said
    deliver(board, bundle, range(1))

    def none_left(*_: Any) -> None:
        raise MemoryError("allocating 9000 bytes")

    monkeypatch.setattr(board.updater, "_finish", none_left)
    large = bundle.paths.index("qres/large.mpy") + 1
    board.hear(bytes([ota.POLL]) + bundle.name + large.to_bytes(2, "little") + bytes([1, 1]))
    for k in range(bundle.chunks(large)):
        head = bytes([ota.CHUNK]) + bundle.name + large.to_bytes(2, "little") + k.to_bytes(2, "little")
        said = board.hear(head + bundle.chunk(large, k))
    assert said is not None and said[5] == ota.INCOMPLETE and not board.updater.buffers


def test_two_that_failed_do_not_take_turns(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for sequence, build in ((100, b"bad1"), (101, b"bad2"), (100, b"bad1"), (101, b"bad2")):
        bundle = update(application(sequence), build, sequence)
        deliver(board, bundle)
        said = install(board, bundle)
        if said is None:  # never accepted
            break
        assert [board.boots() for _ in range(trial.BOOTS + 1)][-1] == ""
        board.restart()
    assert (sequence, said) == (100, None)


def test_a_rollback_that_was_cut_off_is_never_run(tmp_path: Path) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    deliver(board, bundle)
    install(board, bundle)
    for missing in ("main.py", "qres/__init__.mpy"):
        shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{missing[:4]}"))
    half = tmp_path.with_name(f"{tmp_path.name}-main")
    (half / trial.NEXT / "main.py").unlink()
    assert Board(half, files={}).boots(slept=True) == "" and not (half / trial.NEXT).exists()
    half = tmp_path.with_name(f"{tmp_path.name}-qres")
    shutil.rmtree(half / trial.NEXT / "qres")
    assert Board(half, files={}).boots() == "" and tree(half)["main.py"] == application(0)["main.py"]


def test_a_full_flash_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, bundle = Board(tmp_path), update(application(1))
    deliver(board, bundle, range(1))

    def full(*_: Any) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(ota, "_unpack", full)
    deliver(board, bundle)
    said = board.hear(bytes([ota.POLL]) + bundle.name + bytes([1, 0, 1, 1]))
    assert said is not None and said[5] == ota.REFUSED and b"flash" in said


# Jobs


def test_a_job_survives_and_is_one_process_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert jobs.load() is None and jobs.load_progress() is None and not jobs.drop()
    job = Job(update(application(1)), [1, 2], "abcd")
    jobs.save(job)
    assert jobs.load() == job
    jobs.save_progress(Progress("aa", "bb", [{"node": 1, "stage": "updated", "why": "", "done": 1.0, "heard_s": 5}]))
    told = jobs.load_progress()
    assert told is not None and told.boards[0]["node"] == 1
    with jobs.held() as mine, jobs.held() as second:
        assert mine and not second
    (jobs.folder() / "job.json").write_text("torn")
    assert jobs.load() is None and jobs.drop()


def test_what_no_board_could_take_is_refused_here() -> None:
    with pytest.raises(QresError, match="too large"):
        update({"qres/x.mpy": bytes(1 << 17)})
    with pytest.raises(QresError, match="too many files"):
        update({f"qres/{'n' * 40}{k}.mpy": b"" for k in range(300)})
    bundle = update(application(1))
    assert bundle.name == hashlib.sha256(zlib.decompress(bundle.parts[0])).digest()[:4]
    spread = [k for first, count in bundle.batches() for k in range(first, first + count)]
    assert spread == list(range(len(bundle.parts)))
