"""``edgekd report RUN``: print or write the report of a run; it measures and changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgekd.cli.screen import print_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as one HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's JSON document instead of the table.")
def report(run: Path, html: Path | None, as_json: bool) -> None:
    """Show what the pipeline did in folder RUN: every step, measurement, gate and verdict.

    Exits with 0 also for a run that failed: showing it succeeded.
    """
    from edgekd.core.files import write_atomic
    from edgekd.report import read, render_html, render_terminal, screen_of

    document = read(run)
    if html is not None:
        write_atomic(html, render_html(document, run))
    if as_json:
        plain = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
        print_json(plain)
    elif html is None:
        click.echo(render_terminal(document, **screen_of(sys.stdout)))
    else:
        click.echo(f"{html} written", err=True)
