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


def folder(text: str) -> Callable[[Command], Command]:
    """--run-dir with this help."""
    return click.option("--run-dir", type=_Folder(path_type=Path), help=text)


run_dir = folder("Folder of the run; the same folder resumes it.  [default: runs/<name>]")
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="a.b.c=v", help="Change one value of the recipe; may be repeated."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, on success and on failure.")
