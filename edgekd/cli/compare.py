"""``edgekd compare RUN RUN``: what changed, and whether it is more than noise."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json


@click.command()
@click.argument("a", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("b", metavar="RUN", type=click.Path(path_type=Path))
@options.as_json
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Say what is different in the second RUN, and which measurements differ by more than noise.

    Accuracies are paired image by image, latencies compared by their rounds; INCONCLUSIVE where the numbers cannot tell. Runs
    on other images are not compared. One run a side says nothing about another seed: edgekd sweep does.
    """
    from edgekd.report import compared, read, render_comparison, screen_of

    document = compared(read(a), read(b))
    if as_json:
        print_json(document)
    else:
        click.echo(render_comparison(document, **screen_of(sys.stdout)))
