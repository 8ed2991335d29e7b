"""``edgekd report RUN``: print or write the report of a run; it measures and changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as one HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's JSON document instead of the table.")
def report(run: Path, html: Path | None, as_json: bool) -> None:
    """Show what the pipeline did in folder RUN: every step, measurement, gate and verdict.

    Exits with 0 also for a run that failed: showing it succeeded.
    """
    from edgekd.cli.json_errors import json_errors, print_json
    from edgekd.core.files import write_atomic
    from edgekd.report import read, render_html, render_terminal, screen_of

    with json_errors(as_json):
        document = read(run)
        if html is not None:
            write_atomic(html, render_html(document, run))
    if as_json:
        print_json(document.model_dump(mode="json", by_alias=True, exclude_unset=True))
    elif html is None:
        click.echo(render_terminal(document, **screen_of(sys.stdout)))
    else:
        click.echo(f"{html} written", err=True)
