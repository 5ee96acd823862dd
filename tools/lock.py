"""Pins requirements*.txt, with checksums, from pyproject.toml (`make lock`).

No address of a package index gets into the files, whatever this machine is configured to use.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETS = (
    # extras, file, with the run-time dependencies
    (("dev", "fast", "plot", "bench"), "requirements.txt", True),
    (("node",), "requirements-node.txt", False),
    (("stubs",), "requirements-stubs.txt", False),
)
FLAGS = (
    *("--quiet", "--no-config", "--upgrade", "--strip-extras", "--generate-hashes", "--allow-unsafe"),
    *("--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
)


def extra(name: str) -> list[str]:
    """The requirements that pyproject.toml lists under the optional set `name`."""
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as source:
        listed = tomllib.load(source)["project"]["optional-dependencies"][name]
    return [str(line) for line in listed]


def main() -> None:
    """Write all files of SETS with a pip-compile that lives in a throw-away environment."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *extra("lock")], check=True)
        for names, target, whole in SETS:
            source = Path(folder) / "extra.in"
            source.write_text("\n".join(line for name in names for line in extra(name)) + "\n")
            what = [*(f"--extra={name}" for name in names), "pyproject.toml"] if whole else [str(source)]
            command = [python, "-m", "piptools", "compile", *FLAGS, "-o", target, *what]
            subprocess.run(command, cwd=ROOT, check=True)
            print(f"{target} written", file=sys.stderr)


if __name__ == "__main__":
    main()
