"""The `qres` command: a table of commands, each imported only when it is asked for.

Adding a command is one line in `COMMANDS` and a click command in the named module.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from qres_host import __version__
from qres_host.errors import FAILURE, INTERRUPTED, OK, USAGE, QresError

# name: (module:attribute, one-line help). The help stands here so that `qres --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "compress": ("qres_host.archive.commands:compress", "Compress a table, sound or anything into an archive."),
    "decompress": ("qres_host.archive.commands:decompress", "Turn an archive back into what it came from."),
    "inspect": ("qres_host.archive.look:inspect", "Show what an archive holds."),
    "verify": ("qres_host.archive.look:verify", "Check every block of an archive."),
    "cat": ("qres_host.archive.look:cat", "Print rows of an archive by time, number or column."),
    "build": ("qres_host.build:build", "Write what is put on a board into a folder."),
    "boards": ("qres_host.plugged:boards", "Kinds of boards, and what is plugged in."),
    "doctor": ("qres_host.doctor:doctor", "Say what is in the way of boards: permissions, programs, cables."),
    "flash": ("qres_host.flash.cli:flash", "Put MicroPython and QRES on boards, many at once."),
    "deploy": ("qres_host.deploy_cli:command", "Bring the application alone to boards that run MicroPython."),
    "predict": ("qres_host.predict_command:predict", "Predict a recording as the boards do, and show the error."),
    "detect": ("qres_host.detect_cli:detect", "Judge the rows of a table: score, alarm, regime, picture."),
    "demo": ("qres_host.demo:demo", "Run a swarm of virtual boards and show it live."),
    "serve": ("qres_host.web.cli:serve", "Show the swarm in the browser."),
    "virtual": ("qres_host.virtual.cli:virtual", "Run boards without hardware."),
    "bench": ("qres_host.bench.cli:bench", "Measure beside peers, every round trip verified."),
    "provision": ("qres_host.provision:provision", "Give boards their name, role, keys and configuration."),
    "ota": ("qres_host.ota.cli:update", "Update boards over the air, through the gateway."),
    "keys": ("qres_host.keys:keys", "Make, show, rotate and copy swarm keys."),
    "monitor": ("qres_host.monitor:monitor", "Watch the boards live in the terminal."),
    "replay": (
        "qres_host.replay:replay",
        "Replay a capture into a database, or a board's trace bit for bit.",
    ),
}

UNTIL_CTRL_C = ("demo", "monitor", "serve", "virtual")  # commands that Ctrl-C is meant to end

EXAMPLE = """\b
Examples:
  qres virtual start --boards 4    boards without hardware, one port each
  qres monitor                     watch every board that is present
  qres replay capture/ --db x.db   rebuild the database from what was captured
"""


class LazyGroup(click.Group):
    """A click group whose commands come from a table such as `COMMANDS` and cost no import until one runs."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]] = COMMANDS, **kwargs: Any) -> None:
        """Arguments besides `table` are those of click's group."""
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return the command `name`, or None when there is no such command."""
        if name not in self.table:
            return None
        module, _, attribute = self.table[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list from the table, so that help is quick."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table[name][1]) for name in sorted(self.table)])


@click.command(
    cls=LazyGroup,
    epilog=EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="qres")
def qres() -> None:
    """QRES: a swarm of small boards that send only what their shared model did not expect."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors of a user are one line on stderr."""
    try:
        result = qres.main(args=arguments, prog_name="qres", standalone_mode=False)
        return result if isinstance(result, int) else OK
    except QresError as error:
        _complain(error.line())
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "qres"
        _complain(f"{error.format_message().rstrip('.')}: see `{where} --help`")
        return USAGE
    except click.ClickException as error:
        _complain(error.format_message())
        return FAILURE
    except (KeyboardInterrupt, click.Abort):
        named = sys.argv[1:] if arguments is None else arguments
        return OK if named and named[0] in UNTIL_CTRL_C else INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) went away: that is its right. Keep the interpreter's
        # own flush at exit from complaining about the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _complain(line: str) -> None:
    print(f"qres: {line}", file=sys.stderr)


def main() -> None:
    """Entry point of the `qres` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
