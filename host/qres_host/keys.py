"""Swarm keys: where a command finds the 32 bytes that tell the swarm's frames from others', and `qres keys`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from qres_host.devices import Uri
from qres_host.errors import OK, USAGE, QresError
from qres_host.keystore import DEFAULT, KeyStore, fingerprint

KEY_VARIABLE = "QRES_SWARM_KEY"


def parse_key(text: str) -> bytes:
    """Return the swarm key, 32 bytes: 64 hex digits, a file that holds it, or the name of one that is kept here.

    A file is a board's config.json or what `qres keys export` wrote. Raises QresError (usage) for anything else.
    """
    if text.endswith(".json") or "/" in text:
        try:
            text = str(json.loads(Path(text).read_text()).get("swarm_key", ""))
        except (OSError, ValueError, AttributeError) as error:
            raise QresError(f"no swarm key in {text}", "name the config.json of a board", USAGE) from error
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32 and text and len(text) < 64:
        key = KeyStore().key(text) or b""
    if len(key) != 32:
        remedy = f"give 64 hex digits, a board's config.json or a name of `qres keys` as --key or in {KEY_VARIABLE}"
        raise QresError("a swarm key is missing or malformed", remedy, USAGE)
    return key


def find_key(given: str, near: Path) -> bytes:
    """Return the key that was given, else the one beside a capture (its `config.json`), else the one kept here."""
    beside = (near if near.is_dir() else near.parent) / "config.json"
    if not given and beside.is_file():
        return parse_key(str(beside))
    return parse_key(given or _kept())


def key_for(given: str, devices: Iterable[Uri]) -> bytes:
    """Return the key that was given, else the public one if all boards are virtual, else the one kept."""
    if not given and all(uri.scheme == "virtual" for uri in devices):
        from qres_host.virtual.specs import DEMO_KEY

        return parse_key(DEMO_KEY)
    return parse_key(given or _kept())


def _kept() -> str:
    """Return the name of the key to use when none is given: the default one, else the only one, else ""."""
    names = KeyStore().swarms()
    return DEFAULT if DEFAULT in names else names[0] if len(names) == 1 else ""


EXAMPLE = """\b
Examples:
  qres keys                         the keys that are kept here, by fingerprint
  qres keys new                     make one; `qres provision` brings it to boards
  qres keys rotate                  make the next one; `qres provision --rotate --all` changes to it
  qres keys export default key.json a copy, for another host
"""
_NAME = click.argument("name", default=DEFAULT)


@click.group(epilog=EXAMPLE, invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Swarm keys of this host. A secret is shown only with --reveal."""
    if context.invoked_subcommand is None:
        context.invoke(list_keys)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def list_keys(as_json: bool = False) -> int:
    """Show every swarm and board by fingerprint."""
    store = KeyStore()
    swarms = [_row(store, name) for name in store.swarms()]
    nodes = [
        {"mac": mac, **{k: v for k, v in sorted(facts.items()) if k != "key"}, "kept": "key" in facts}
        for mac, facts in sorted(store.nodes().items())
    ]
    if as_json:
        signer = _signer(store) if store.signs_updates() else ""
        print(json.dumps({"file": str(store.path), "swarms": swarms, "boards": nodes, "update_key": signer}))
        return OK
    for row in swarms:
        made = time.strftime("%Y-%m-%d", time.localtime(row["made_s"]))
        changing = f", changing to {row['next']}" if row["next"] else ""
        print(f"swarm {row['swarm']:<16} {row['key']}  made {made}, {row['previous']} before{changing}")
    for node in nodes:
        where = "kept here" if node["kept"] else "on the board alone"
        print(f"board {node['mac']} {node.get('name', '-'):<16} node key {node.get('node_key') or '-'} ({where})")
    if store.signs_updates():
        print(f"updates over the air are signed by {_signer(store)[:16]}...")
    if not swarms:
        print("no keys yet: make one with `qres keys new`")
    return OK


@keys.command()
@_NAME
@click.option("--reveal", is_flag=True, help="The secret itself.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(name: str, reveal: bool, as_json: bool) -> int:
    """Show the fingerprint of a swarm's key."""
    store = KeyStore()
    key = _need(store, name)
    row = {**_row(store, name), **({"secret": key.hex()} if reveal else {})}
    print(json.dumps(row) if as_json else row.get("secret", row["key"]))
    return OK


@keys.command()
@_NAME
def new(name: str) -> int:
    """Make a key for a swarm."""
    store = KeyStore()
    key = store.add(name)
    print(f"{name}: {fingerprint(key)}, kept in {store.path}")
    return OK


@keys.command()
@_NAME
@click.option("--cancel", is_flag=True, help="Forget the next key: no board has it.")
def rotate(name: str, cancel: bool) -> int:
    """Make the next key of a swarm; the present one counts until `qres provision --rotate` has changed the boards."""
    store = KeyStore()
    before = _need(store, name)
    if cancel:
        store.cancel_rotation(name)
        print(f"{name}: stays {fingerprint(before)}")
        return OK
    after = store.begin_rotation(name)
    print(f"{name}: {fingerprint(before)} -> {fingerprint(after)}; now `qres provision --rotate --all --swarm {name}`")
    return OK


@keys.command("import")
@_NAME
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--replace-update-key", "replace", is_flag=True, help="Sign updates as the other host does from now on.")
def import_key(name: str, source: Path, replace: bool) -> int:
    """Keep the key in SOURCE: a file of `qres keys export`, a board's config.json, or - for hex digits to be read.

    An export also holds the key that signs updates over the air; it is taken where there is none yet.
    """
    text = sys.stdin.readline().strip() if str(source) == "-" else f"{source.parent}/{source.name}"
    key = parse_key(text)
    store = KeyStore()
    if store.key(name) != key:
        store.add(name, key)
    print(f"{name}: {fingerprint(key)}")
    private = "" if str(source) == "-" else str(json.loads(source.read_text()).get("update_private_key", ""))
    if not store.sign_updates_with(private, replace):
        remedy = "boards believe one of the two: to sign as that host does, repeat with --replace-update-key"
        raise QresError("this host signs updates with a key of its own", remedy, USAGE)
    return OK


@keys.command()
@_NAME
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--reveal", is_flag=True, help="Print it instead of writing a file.")
def export(name: str, target: Path | None, reveal: bool) -> int:
    """Write a swarm's key to the new file TARGET, for its owner alone (mode 0600); with the one that signs updates."""
    key = _need(KeyStore(), name)
    if target is None and not reveal:
        raise QresError("an export is a secret", "name a file, or print it with --reveal", USAGE)
    store = KeyStore()
    text = json.dumps(
        {"swarm_key": key.hex(), **({"update_private_key": store.update_key().hex()} if store.signs_updates() else {})}
    )
    if target is None:
        print(text)
        return OK
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    except OSError as error:
        raise QresError(f"cannot write {target}", f"{error.strerror}; name a new file") from error
    print(f"{name}: {fingerprint(key)} in {target}, for you alone")
    return OK


@keys.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Boards that hold it can then be reached only with a copy.")
def remove(name: str, yes: bool) -> int:
    """Forget a swarm's keys."""
    store = KeyStore()
    key = _need(store, name)
    if not yes:
        raise QresError(f"{name} ({fingerprint(key)}) would be lost", "export it first, then repeat with --yes", USAGE)
    store.remove(name)
    print(f"{name}: forgotten")
    return OK


def _need(store: KeyStore, name: str) -> bytes:
    key = store.key(name)
    if key is None:
        known = ", ".join(store.swarms()) or "none yet: `qres keys new`"
        raise QresError(f"no key '{name}' here", f"there is {known}", USAGE)
    return key


def _signer(store: KeyStore) -> str:
    """Return the public key of whoever signs updates here: the `update_key` of boards."""
    from qres_host.ota.bundle import public_key

    return public_key(store.update_key()).hex()


def _row(store: KeyStore, name: str) -> dict[str, Any]:
    """Return what may be shown of a swarm's keys."""
    following = store.next(name)
    return {
        "swarm": name,
        "key": fingerprint(_need(store, name)),
        "next": fingerprint(following) if following else "",
        "previous": len(store.previous(name)),
        "made_s": store.made_s(name),
    }
