"""The command line. One file a command; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import click

from edgekd import __version__
from edgekd.cli.screen import errors_on_screen, mend_streams, quiet_when_unread
from edgekd.core.nearest import did_you_mean

# Modules of this folder, in the order of --help; each holds a click command of its own name.
COMMANDS = (
    "pipeline",
    "check",
    "sweep",
    "kit",
    "compare",
    "report",
    "recipes",
    "devices",
    "bench",
    "build",
    "inspect",
    "parity",
    "doctor",
    "schema",
    "predict",
    "bundle",
)


class _Commands(click.Group):
    """Imports a command's module when it is asked for, and ends every failure with a screen and an exit code of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"edgekd.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command '{args[0]}'{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with quiet_when_unread():
            return super().invoke(ctx)

    def main(self, args: Any = None, prog_name: str | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Always ends in SystemExit."""
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        mend_streams()
        with errors_on_screen(as_json="--json" in words):
            code = super().main(words, "edgekd", *rest, **extra)
            sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="edgekd %(version)s")
def main() -> None:
    """One recipe in, one device-proven student out.

    The exit code says how it ended: 0 passed, 2 bad input, 3 a gate failed, 4 inconclusive, 5 this machine lacks
    something, 6 a device failed, 7 a file is not what it was, 8 something is locked, 1 a bug in edgekd.
    """
