"""Constants as literals: what is folded, what is left alone, and that lines stay where they were."""

from __future__ import annotations

import pytest
from qres_host import deploy
from qres_host.fold import fold

TAGS = b"""from qres.compat import const

SEND = const(1)
LEAST = const(-(1 << 4))
_OWN = const(SEND + 2)
NAMES = ("a", "b")
"""


def folded(text: str, **others: bytes) -> str:
    """The module qres.user beside qres.tags, folded."""
    sources = {"qres/tags.py": TAGS, "qres/user.py": text.encode(), **{f"qres/{n}.py": t for n, t in others.items()}}
    return fold(sources)["qres/user.py"].decode()


def test_definitions_and_their_imports_drop_out() -> None:
    made = fold({"qres/tags.py": TAGS})["qres/tags.py"].decode()
    assert made == 'pass\n\n\n\n\nNAMES = ("a", "b")\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from qres.tags import SEND\nx = SEND\n", "pass\nx = 1\n"),
        ("from qres.tags import (\n    LEAST as LOW,\n    NAMES,\n)\nx = -LOW\n",
         "from qres.tags import NAMES\n\n\n\nx = -(-16)\n"),
        ("from qres import tags\nx = tags.SEND\n", "pass\nx = 1\n"),
        ("from qres import tags as t\nx = t.SEND, t.NAMES\n", "from qres import tags as t\nx = 1, t.NAMES\n"),
        ("def f():\n    from qres.tags import SEND\n    return SEND\n", "def f():\n    pass\n    return 1\n"),
        ("__all__ = [\n    'x',\n]\nx = 1\n", "\n\n\nx = 1\n"),
        ("äö = 'äö'; from qres.tags import SEND; x = ('ü', SEND)\n", "äö = 'äö'; pass; x = ('ü', 1)\n"),
    ],
)  # fmt: skip
def test_uses_become_literals(text: str, expected: str) -> None:
    assert folded(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "from qres.tags import SEND\nSEND = 5\n",
        "from qres.tags import SEND\ndef f(SEND): return SEND\n",
        "from qres.tags import SEND\nx = f'{SEND}'\n",
        "import qres.tags\nx = qres.tags.SEND\n",
        "from qres import tags\nx = [tags]\n",
        "from qres import tags\ndef f(tags): return tags.SEND\n",
    ],
)
def test_what_cannot_be_seen_through_keeps_its_constant(text: str) -> None:
    sources = {"qres/tags.py": TAGS, "qres/user.py": text.encode()}
    made = fold(sources)
    assert made["qres/user.py"] == sources["qres/user.py"]
    assert b"SEND = const(1)" in made["qres/tags.py"] and b"import const" in made["qres/tags.py"]


def test_constants_that_a_module_hands_on_are_known_too() -> None:
    text = "from qres.middle import SEND, LAST\nx = SEND + LAST\n"
    middle = b"from qres.compat import const\nfrom qres.tags import SEND\nLAST = const(SEND + 1)\n"
    assert folded(text, middle=middle) == "pass\nx = 1 + 2\n"


def test_the_firmware_keeps_its_lines_and_loses_its_constants() -> None:
    sources = deploy.read_sources(deploy.firmware_root())
    made = fold(sources)
    assert made.keys() == sources.keys()
    for path, text in sources.items():
        assert made[path].count(b"\n") == text.count(b"\n")
    left = [line for text in made.values() for line in text.split(b"\n") if b"= const(" in line]
    assert not left, left
    assert b"BOOT" not in made["qres/node.py"] and b"from qres import events" not in made["qres/node.py"]
