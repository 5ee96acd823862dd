"""`qres keys`: made, shown, rotated, copied; a secret only with --reveal, a file only for its owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qres_host import cli
from qres_host.devices import Uri
from qres_host.errors import FAILURE, OK, USAGE, QresError
from qres_host.keys import key_for, parse_key
from qres_host.keystore import KeyStore, fingerprint
from qres_host.ota.bundle import public_key


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of the test."""
    found = tmp_path / "config" / "keys.json"
    monkeypatch.setenv("QRES_KEYS", str(found))
    monkeypatch.delenv("QRES_SWARM_KEY", raising=False)
    return found


def test_a_key_is_made_shown_by_fingerprint_and_kept_for_its_owner(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["keys"]) == OK and "no keys yet" in capsys.readouterr().out
    assert cli.run(["keys", "new"]) == OK and cli.run(["keys", "new", "field.2"]) == OK
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    key = KeyStore().key()
    assert key is not None and len(key) == 32 and key != KeyStore().key("field.2")
    for arguments in (["keys"], ["keys", "show"], ["keys", "list", "--json"], ["keys", "show", "--json"]):
        assert cli.run(arguments) == OK
        said = capsys.readouterr().out
        assert fingerprint(key) in said and key.hex() not in said
    assert cli.run(["keys", "show", "--reveal"]) == OK and key.hex() in capsys.readouterr().out
    assert cli.run(["keys", "new"]) == USAGE and cli.run(["keys", "new", "a b"]) == USAGE
    assert cli.run(["keys", "show", "none"]) == USAGE


def test_rotation_keeps_what_was(path: Path) -> None:
    store = KeyStore()
    first = store.add("default")
    second = store.begin_rotation("default")
    assert store.key() == first and store.begin_rotation("default") == second == KeyStore().next("default")
    store.end_rotation("default")
    store = KeyStore()
    assert (store.key(), store.next("default"), store.previous("default")) == (second, None, [first])
    store.end_rotation("default")
    assert store.key() == second
    assert cli.run(["keys", "rotate"]) == OK and KeyStore().next("default") is not None
    assert cli.run(["keys", "rotate", "--cancel"]) == OK and KeyStore().next("default") is None
    for _ in range(12):
        store.begin_rotation("default")
        store.end_rotation("default")
    assert len(store.previous("default")) == 8


def test_copies(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = KeyStore().add("default")
    copy = tmp_path / "copy.json"
    assert cli.run(["keys", "export"]) == USAGE and key.hex() not in capsys.readouterr().err
    assert cli.run(["keys", "export", "default", str(copy)]) == OK
    assert copy.stat().st_mode & 0o777 == 0o600 and json.loads(copy.read_text()) == {"swarm_key": key.hex()}
    assert cli.run(["keys", "export", "default", str(copy)]) == FAILURE
    assert cli.run(["keys", "import", "other", str(copy)]) == OK and KeyStore().key("other") == key
    assert cli.run(["keys", "remove", "other"]) == USAGE and cli.run(["keys", "remove", "other", "--yes"]) == OK
    assert KeyStore().swarms() == ["default"]


def test_commands_find_the_key_that_is_kept(path: Path) -> None:
    ports = [Uri("serial", "/dev/ttyACM0")]
    with pytest.raises(QresError):
        key_for("", ports)
    key = KeyStore().add("field")
    assert key_for("", ports) == key == parse_key("field")
    default = KeyStore().add("default")
    assert key_for("", ports) == default and key_for("field", ports) == key


@pytest.mark.parametrize("text", ["", "{", "[]", '{"swarms": {"a": {"key": "00"}}, "nodes": {}}', '{"swarms": 5}'])
def test_a_damaged_or_open_store_is_one_line(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    assert cli.run(["keys"]) == FAILURE and "is damaged" in capsys.readouterr().err
    path.chmod(0o644)
    assert cli.run(["keys"]) == FAILURE and "chmod 600" in capsys.readouterr().err


def test_the_key_that_signs_updates_is_made_once_and_goes_to_other_hosts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = KeyStore()
    store.add("default")
    assert not store.signs_updates()
    private = store.update_key()
    assert len(private) == 32 and KeyStore().update_key() == private
    capsys.readouterr()
    assert cli.run(["keys", "list", "--json"]) == OK
    said = capsys.readouterr().out
    assert json.loads(said)["update_key"] == public_key(private).hex() and private.hex() not in said
    assert cli.run(["keys", "export", "default", str(tmp_path / "copy.json")]) == OK
    monkeypatch.setenv("QRES_KEYS", str(tmp_path / "other.json"))
    assert cli.run(["keys", "import", "default", str(tmp_path / "copy.json")]) == OK
    assert KeyStore().update_key() == private
    KeyStore().sign_updates_with("11" * 32)
    KeyStore().sign_updates_with("no key")
    assert KeyStore().update_key() == private, "the one that boards believe stays"
