"""What programs may ask of archives, and what the disk may refuse: nothing half done stays."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qres_host import archive


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    archive.write(tmp_path / "x.qres", {"x": [1, 2]})
    os.chmod(tmp_path / "x.qres", 0o600)
    archive.write(tmp_path / "x.qres", {"x": [1, 2, 3]})
    assert (tmp_path / "x.qres").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_archive_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: a write is refused in the middle of a block."""
    rng = np.random.default_rng(6)
    archive.write(tmp_path / "x.qres", {"x": rng.integers(0, 1 << 30, 5000)}, "fast")
    before = (tmp_path / "x.qres").read_bytes()
    more = {"x": rng.integers(0, 1 << 30, 200_000)}
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 300_000, limits[1]))
        with pytest.raises(OSError, match="too large"):
            archive.append(tmp_path / "x.qres", more, "fast")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "x.qres").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"level": "bset"}, "no level 'bset': fast or best"),
        ({"mode": "lossy", "limit": 1}, "mode 'lossy'"),
        ({"limit": 5}, "exact takes none"),
        ({"mode": "bounded"}, "need one"),
        ({"mode": "bounded", "limit": -1}, "below zero"),
        ({"units": {"y": "m"}}, "'y', which is no column"),
        ({"time": "y"}, "no column 'y'"),
    ],
)
def test_what_a_program_cannot_mean_is_refused(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        archive.write(tmp_path / "x.qres", {"x": [1, 2]}, **options)
    with pytest.raises(ValueError, match="no text"):
        archive.write(tmp_path / "x.qres", {5: [1, 2]})  # type: ignore[dict-item]
    assert not (tmp_path / "x.qres").exists()
    archive.write(tmp_path / "x.qres", {"x": [1, 2]})
    with archive.open(tmp_path / "x.qres") as found, pytest.raises(ValueError, match=r"\['x'\]"):
        found.read(columns="x")
