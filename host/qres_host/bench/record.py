"""What any bench keeps of a run: one JSON file, with the versions that its figures depend on."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import qres

import qres_host
from qres_host import __version__
from qres_host.bench.coder import version
from qres_host.errors import USAGE, QresError

VERSION = 1


def start(packages: Iterable[str]) -> dict[str, Any]:
    """A run that has measured nothing yet, on this machine with these packages; a bench adds lists of rows.

    `complete`: it was not ended early. `source_changed`: its rows are of different sources. `skipped`: see
    sheet.skipped_sheet.
    """
    found = environment(packages)
    return {"version": VERSION, "complete": False, "source_changed": False, "environment": found, "skipped": []}


def finish(results: dict[str, Any]) -> None:
    """Note that all was measured, and whether the sources changed meanwhile."""
    results["source_changed"] |= source_hash() != results["environment"]["source"]
    results["complete"] = True


def environment(packages: Iterable[str]) -> dict[str, str]:
    """What the figures depend on besides the data; of packages those that are installed."""
    found = {
        "qres": __version__,
        "source": source_hash(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": _cpu(),
    }
    return found | {name: version(name) for name in packages if version(name)}


def source_hash() -> str:
    """Eight digits that name the sources of `qres` and `qres_host`: whoever has other files gets another name."""
    digest = hashlib.sha256()
    for package in (qres, qres_host):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def warnings(results: Any) -> list[str]:
    """Why these results are not those of one whole run."""
    lines = [] if results["complete"] else ["incomplete: the run was ended early"]
    if results["source_changed"]:
        lines.append("mixed: the sources changed during the run, so rows of different versions stand side by side")
    return lines


def rounded(value: Any) -> Any:
    """`value` with its floats at five significant digits, so that files are short and differ only where it matters."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def save(results: Any, path: Path) -> None:
    """Write a results file, one row a line; QresError when the folder cannot be written."""
    parts = []
    for key, value in rounded(dict(results)).items():
        body = json.dumps(value)
        if isinstance(value, list) and value:
            body = "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
        parts.append(f' "{key}": {body}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise QresError(f"cannot write {path}", error.strerror or str(error), USAGE) from error


def load(path: Path) -> Any:
    """Read a results file; QresError when it is none of this version."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != VERSION:
            raise ValueError(f"version {found['version']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QresError(f"{path} holds no results ({error})", "write it with `qres bench ... --out DIR`") from error
    return found
