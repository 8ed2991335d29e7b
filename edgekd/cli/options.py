"""Options that more than one command takes, and what they stand for when they are left out."""

from __future__ import annotations

from pathlib import Path

import click

RUNS = Path("runs")

run_dir = click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Folder of the run; the same folder resumes it.  [default: runs/<name>]"
)
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="a.b.c=v", help="Change one value of the recipe; may be repeated."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, on success and on failure.")
