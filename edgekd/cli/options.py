"""Options that more than one command takes, and what they stand for when they are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

RUNS = Path("runs")
Command = TypeVar("Command", bound=Callable[..., Any])


class _Folder(click.Path):
    """A path; "" is none, though Python takes it for the current folder: --run-dir "$UNSET" would write there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class _Program(click.Path):
    """A program's name or path, never a word that could be an option."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip() or str(value).startswith("-"):
            self.fail(f"{value!r} is no program", param, ctx)
        return str(value)


def folder(text: str) -> Callable[[Command], Command]:
    """--run-dir with this help."""
    return click.option("--run-dir", type=_Folder(path_type=Path), help=text)


run_dir = folder("Folder of the run; the same folder resumes it.  [default: runs/<name>]")
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="a.b.c=v", help="Change one value of the recipe; may be repeated."
)
host = click.option(
    "--host", "hosts", multiple=True, metavar="NAME=DEST",
    help="Where a target's device is: [user@]host[:port], or a name of your ssh config; may be repeated.",
)  # fmt: skip
ssh_config = click.option(
    "--ssh-config", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Use this configuration of ssh instead of your own.",
)  # fmt: skip
reply = click.option(
    "--reply", "replies", multiple=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="What a kit wrote on its device, in place of reaching it; may be repeated.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, on success and on failure.")
target = click.option(
    "--target",
    "device",
    required=True,
    metavar="DEVICE",
    help="A device of edgekd devices: local-cpu, linux, jetson-orin-nano-8gb …",
)
one_host = click.option(
    "--host", "hosts", multiple=True, metavar="DEST", help="Where it is: [user@]host[:port], or a name of your ssh config."
)
python = click.option(
    "--python", type=_Program(), default="python3", show_default=True, metavar="PROGRAM", help="The Python to use there."
)
precision = click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "int8+fp16"]),
    help="Of TensorRT's engine.  [default: what the file is]",
)
clocks = click.option(
    "--lock-clocks",
    "clocks",
    flag_value="lock",
    default="as-is",
    help="Lock a Jetson's clocks while it is timed, then put them back.",
)


def said(quiet: bool) -> Callable[[str], None]:
    """What progress of a few words is told with: a line on stderr each."""
    return lambda text: None if quiet else click.echo(text, err=True)
