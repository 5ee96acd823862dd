"""`qres provision`: name, role, keys and configuration of boards, over their cables.

Each board is read; then its change is staged beside what it has, checked there, and switched. In a rotation all boards
are switched only when every one has checked its own, and when one fails those that were switched go back, so a swarm
is never split between two keys.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from qres.config import ConfigError, load

from qres_host import boardfiles, hardware
from qres_host.boardfiles import State
from qres_host.devices import Device, Uri, require
from qres_host.errors import OK, PARTIAL, USAGE, QresError
from qres_host.keys import parse_key
from qres_host.keystore import DEFAULT, KeyStore, fingerprint
from qres_host.ota.bundle import public_key
from qres_host.repl import Repl
from qres_host.talk import parse

REPL_S = 20.0
PROVISIONED, UNCHANGED, WOULD, RESTORED, FAILED = "provisioned", "unchanged", "would change", "restored", "failed"


@dataclass
class Wish:
    """What boards shall be.

    `key` goes to boards that have none, and when `insist` also to those whose key has the fingerprint `present`. None:
    the key of `swarm` in the store, made when a board needs it. `update_key`: of this host, for boards that have none
    and whose swarm key is new or one of `known`, fingerprints of the keys that are kept here: a board of others is not
    taken over in passing.
    """

    changes: dict[str, Any]
    swarm: str = DEFAULT
    key: bytes | None = None
    insist: bool = False
    present: str = ""
    name: str = ""
    node_key: str = "board"
    new_node_key: bool = False
    update_key: str = ""
    known: frozenset[str] = frozenset()


@dataclass
class Work:
    """One board on its way: `outcome` as the constants above, `error` in one line when it failed."""

    uri: Uri
    repl: Repl | None = None
    state: State | None = None
    config: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    node_key: str = ""
    switched: bool = False
    outcome: str = ""
    error: str = ""

    @property
    def key(self) -> str:
        """The fingerprint of the swarm key that the board has when all went well."""
        if "swarm_key" in self.config:
            return fingerprint(bytes.fromhex(self.config["swarm_key"]))
        return self.state.key if self.state else ""

    def fail(self, error: QresError) -> None:
        """It failed, for good."""
        self.outcome, self.error = FAILED, error.line()

    def row(self) -> dict[str, Any]:
        """Return what may be told of it."""
        state, name = self.state, self.config.get("name", "")
        return {
            "device": str(self.uri),
            "mac": state.mac if state else "",
            "name": name,
            "role": self.config.get("role", ""),
            "key": self.key,
            "node_key": self.node_key,
            "changed": self.changed,
            "outcome": self.outcome,
            "error": self.error,
        }


def plan(state: State, wish: Wish) -> tuple[dict[str, Any], list[str]]:
    """Return the configuration that a board shall have, without a key that it has, and the names of what changes.

    Raises QresError when a board cannot run with it, or holds another key than it should.
    """
    fresh_key = wish.key is not None and (wish.insist or not state.key) and fingerprint(wish.key) != state.key
    if fresh_key and state.key != wish.present and (state.key or wish.present):
        there, wanted = state.key or "none", wish.present or "none"
        raise QresError(f"it holds the key {there}, not {wanted}", "to take it over: --rotate --from THAT_KEY")
    name = {"name": wish.name.replace("{mac}", state.mac.replace(":", "")[-4:])} if wish.name else {}
    ours = wish.update_key and not state.config.get("update_key") and (fresh_key or state.key in wish.known)
    update = {"update_key": wish.update_key} if ours else {}
    config = {**state.config, **update, **wish.changes, **name}
    config = {key: value for key, value in config.items() if value is not None}
    changed = sorted(k for k in {*config, *state.config} if config.get(k) != state.config.get(k))
    if fresh_key and wish.key is not None:
        config["swarm_key"] = wish.key.hex()
        changed.append("swarm_key")
    try:
        load({**config, "swarm_key": "0" * 64})
    except ConfigError as error:
        remedy = "give it by --set, or a whole configuration by --config"
        raise QresError(f"the configuration would not do: {error}", remedy, USAGE) from error
    if not state.key and not fresh_key:
        raise QresError("it has no swarm key", "make one with `qres keys new`", USAGE)
    return config, changed


class Provision:
    """One run over some boards. `say` is told of each step: (device, what)."""

    def __init__(self, uris: list[Uri], wish: Wish, say: Callable[[str, str], None] = lambda *_: None) -> None:
        self.works = [Work(uri) for uri in uris]
        self.wish = wish
        self._say = say

    def run(self, dry: bool, together: bool) -> None:
        """Provision the boards. `together`: all or none. Nothing is written when `dry`."""
        try:
            self._each(self._read)
            if dry:
                for work in self._alive():
                    work.outcome = WOULD if self._wants(work) else UNCHANGED
                return
            if together and len(self._alive()) < len(self.works):
                return
            self._each(self._stage)
            if together and len(self._alive()) < len(self.works):
                self._each(self._restore)
                return
            self._each(self._switch)
            if together and len(self._alive()) < len(self.works):
                self._each(self._restore)
                return
            self._each(self._finish)
        finally:
            for work in self.works:
                if work.repl is not None:
                    work.repl.reset()

    def _alive(self) -> list[Work]:
        return [work for work in self.works if work.outcome != FAILED]

    def _each(self, step: Callable[[Work], None]) -> None:
        for work in self._alive():
            try:
                step(work)
            except QresError as error:
                work.fail(error)
                self._give_back(work)

    def _give_back(self, work: Work) -> None:
        """A board that failed under way gets its old configuration, if it can be reached."""
        if work.repl is None or work.state is None or not (work.changed or work.switched):
            return
        try:
            boardfiles.undo(self._again(work), not work.state.present)
            work.error += "; its old configuration is in place"
        except QresError:
            work.error += "; not reached again: it holds its old or its new configuration, run the same command again"

    def _again(self, work: Work) -> Repl:
        """Return a REPL that answers: a cable may have been put back."""
        assert work.repl is not None
        try:
            work.repl.run("pass")
        except QresError:
            work.repl.close()
            work.repl = Repl(_path(work.uri), REPL_S)
        return work.repl

    def _read(self, work: Work) -> None:
        self._say(str(work.uri), "reading")
        work.repl = Repl(_path(work.uri), REPL_S)
        work.state = boardfiles.read_state(work.repl)
        work.node_key = work.state.node_key
        if not work.state.key and self.wish.key is None:
            self.wish.key = KeyStore().key(self.wish.swarm) or KeyStore().add(self.wish.swarm)
        work.config, work.changed = plan(work.state, self.wish)

    def _wants(self, work: Work) -> bool:
        return bool(work.changed) or not work.node_key or self.wish.new_node_key

    def _stage(self, work: Work) -> None:
        assert work.repl is not None and work.state is not None
        if work.changed:
            self._say(str(work.uri), f"staging {', '.join(work.changed)}")
            boardfiles.stage(work.repl, work.config, work.state.key)

    def _switch(self, work: Work) -> None:
        assert work.repl is not None and work.state is not None
        if not work.changed:
            return
        self._say(str(work.uri), "switching")
        work.switched = True
        if boardfiles.switch(work.repl) != work.key:
            raise QresError("the board holds another key than it was given", "run the command again")

    def _restore(self, work: Work) -> None:
        assert work.state is not None
        if work.changed:
            boardfiles.undo(self._again(work), not work.state.present)
        work.outcome = RESTORED

    def _finish(self, work: Work) -> None:
        assert work.repl is not None and work.state is not None
        boardfiles.clean(work.repl)
        work.outcome = PROVISIONED if self._wants(work) else UNCHANGED
        if not work.node_key or self.wish.new_node_key:
            self._make_node_key(work)
        KeyStore().know(work.state.mac, name=str(work.config.get("name", "")), node_key=work.node_key)

    def _make_node_key(self, work: Work) -> None:
        """A key of the board's own: made there, or here and kept here."""
        assert work.repl is not None and work.state is not None
        if self.wish.node_key == "board":
            work.node_key = boardfiles.make_node_key(work.repl)
            return
        key = os.urandom(32)
        KeyStore().know(work.state.mac, key=key.hex(), node_key=fingerprint(key))  # before the board has it
        work.repl.put({boardfiles.NODE_KEY: key})
        work.node_key = fingerprint(key)


def _path(uri: Uri) -> str:
    """Return where a board's port is now. Raises QresError when it is away."""
    return Device(uri).path()


EXAMPLE = """\b
Examples:
  qres provision --board xiao-esp32c6 --config swarm.json --name north
  qres provision --all --set period_ms=30000 --dry-run
  qres provision --rotate --all               every board gets the swarm's next key, or none does
"""


@click.command(epilog=EXAMPLE)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@click.option("--all", "everyone", is_flag=True, help="Every board that is present.")
@click.option("--swarm", help=f"Whose key, by its name in `qres keys`; boards without one get that of {DEFAULT}.")
@click.option("--name", default="", help="Of the board; {mac} stands for the end of its address.")
@click.option("--role", type=click.Choice(["sentinel", "scheduled", "on-demand"]), help="One sentinel a swarm.")
@click.option("--board", default="", help="Kind of board: its pins and power table.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Entries of config.json, as a file.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One entry; null takes it out.")
@click.option("--rotate", is_flag=True, help="Change to the swarm's next key, all boards or none.")
@click.option("--from", "from_key", default="", help="With --rotate: the key that boards hold now, if not the swarm's.")
@click.option(
    "--node-key", type=click.Choice(["board", "host"]), default="board", show_default=True, help="Who makes it."
)
@click.option("--new-node-key", is_flag=True, help="Another one, where there is one.")
@click.option("--dry-run", is_flag=True, help="Read the boards, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def provision(
    devices: tuple[str, ...],
    everyone: bool,
    swarm: str | None,
    name: str,
    role: str | None,
    board: str,
    config_path: Path | None,
    pairs: tuple[str, ...],
    rotate: bool,
    from_key: str,
    node_key: str,
    new_node_key: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Give boards their name, role, keys and configuration. DEVICEs are ports, URIs or MACs.

    A board that runs is interrupted and restarted. What it holds counts on where nothing else is said.
    """
    uris = _chosen(devices, everyone, name)
    changes = _changes(board, config_path, pairs, role)
    wish = Wish(changes, swarm or DEFAULT, name=name, node_key=node_key, new_node_key=new_node_key)
    if not dry_run:  # which makes nothing
        wish.update_key = public_key(KeyStore().update_key()).hex()
        wish.known = KeyStore().fingerprints()
    _choose_key(wish, swarm, rotate, from_key, dry_run)
    run = Provision(uris, wish, (lambda *_: None) if as_json else lambda uri, what: click.echo(f"{uri}: {what}"))
    run.run(dry_run, rotate)
    done = all(work.outcome in (PROVISIONED, UNCHANGED) for work in run.works)
    if rotate and done and not dry_run:
        KeyStore().end_rotation(wish.swarm)
    _report(run.works, as_json)
    return OK if done or (dry_run and all(work.outcome != FAILED for work in run.works)) else PARTIAL


def _chosen(devices: tuple[str, ...], everyone: bool, name: str) -> list[Uri]:
    """Return the boards that were named. Raises QresError (usage) when that is unclear."""
    uris = [uri for uri in require(devices) if uri.scheme in ("serial", "usb", "virtual")]
    if not devices and not everyone and len(uris) > 1:
        raise QresError(f"{len(uris)} boards are here", "name some, or give --all", USAGE)
    if name and len(uris) > 1 and "{mac}" not in name:
        raise QresError("several boards cannot have one name", "write {mac} into it, for the end of the address", USAGE)
    return uris


def _changes(board: str, config_path: Path | None, pairs: tuple[str, ...], role: str | None) -> dict[str, Any]:
    """Return the entries to change, the most particular ones last."""
    found: dict[str, Any] = hardware.load(board).settings() if board else {}
    if config_path is not None:
        try:
            given = json.loads(config_path.read_text(encoding="utf-8"))
            found.update(given)
        except (OSError, ValueError, TypeError) as error:
            raise QresError(f"cannot read {config_path}", "name a JSON object", USAGE) from error
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise QresError(f"cannot read --set {pair}", "write KEY=VALUE", USAGE)
        found.update([parse(f"set {key} {value}").argument])
    if role:
        found["role"] = role
    return found


def _choose_key(wish: Wish, swarm: str | None, rotate: bool, from_key: str, dry: bool) -> None:
    """Decide which key the boards shall have, and which one they must hold now."""
    given = wish.changes.pop("swarm_key", None)
    store = KeyStore()
    present = store.key(wish.swarm)
    if rotate:
        if present is None:
            raise QresError(f"no key '{wish.swarm}' here", "make one with `qres keys new`", USAGE)
        wish.key = store.next(wish.swarm) or (os.urandom(32) if dry else store.begin_rotation(wish.swarm))
        wish.insist, wish.present = True, fingerprint(parse_key(from_key) if from_key else present)
    elif from_key:
        raise QresError("--from is for --rotate", "give both", USAGE)
    elif given is not None:
        wish.key, wish.insist = parse_key(str(given)), True
    elif swarm is not None:
        if present is None:
            raise QresError(f"no key '{wish.swarm}' here", f"make one with `qres keys new {wish.swarm}`", USAGE)
        wish.key, wish.insist = present, True
    elif present is None and dry:
        wish.key = os.urandom(32)  # stands for the one that would be made


def _report(works: list[Work], as_json: bool) -> None:
    """Tell what became of each board, and of boards that were left out."""
    rows = [work.row() for work in works]
    here = {row["mac"] for row in rows}
    absent = sorted(mac for mac in KeyStore().nodes() if mac not in here)
    if as_json:
        print(json.dumps({"boards": rows, "absent": absent}))
        return
    for row in rows:
        who = f"{row['device']} {row['mac']} {row['name']}".strip()
        what = ", ".join(row["changed"]) or "nothing"
        said = row["error"] or f"{what}; swarm key {row['key']}, node key {row['node_key'] or 'to be made'}"
        print(f"{who}: {row['outcome'] or 'left alone'}: {said}")
    if absent and "swarm_key" in {key for row in rows for key in row["changed"]}:
        print(f"not here, so with their old key: {', '.join(absent)}")
