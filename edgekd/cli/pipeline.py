"""``edgekd pipeline RECIPE``: run, resume, judge, bundle."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from edgekd.cli.screen import print_json
from edgekd.core import Interrupted

DEFAULT_RUNS = Path("runs")


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Folder of the run; the same folder resumes it.  [default: runs/<name>]"
)
@click.option("--set", "overrides", multiple=True, metavar="a.b.c=v", help="Change one value of the recipe; may be repeated.")
@click.option("--until", metavar="STAGE", help="Stop after this stage.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table, on success and on failure.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Say the key of every step.")
def pipeline(
    recipe: Path, run_dir: Path | None, overrides: tuple[str, ...], until: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Take RECIPE through the whole chain: teacher, student, quantization, export, benchmark, bundle.

    Finished steps are reused; the same command goes on where a stopped or killed run was. Exits with 0 when every gate
    holds, 3 when one fails, 4 when one cannot be decided; other codes are errors (see the README).
    """
    from edgekd.cli.progress import ProgressLog
    from edgekd.core.files import write_atomic, write_json
    from edgekd.pipeline import Runner, Store, run_document, run_verdict, store_of
    from edgekd.recipe import load
    from edgekd.report import render_html, render_terminal, screen_of

    started = time.time()
    loaded = load(recipe, overrides)
    folder = run_dir or DEFAULT_RUNS / loaded.name
    with interruptible(), ProgressLog(-1 if quiet else int(verbose)) as log:
        walk = Runner(loaded, folder, Store(store_of(folder, DEFAULT_RUNS)), log, until).walk()
    done_as_asked = walk.error is None and run_verdict(walk, loaded)[0] is None
    resume = _words(recipe, run_dir, overrides, None if done_as_asked else until)
    document = run_document(walk, loaded, folder, resume=resume, started=started)
    write_json(folder / "report.json", document)
    write_atomic(folder / "report.html", render_html(document, folder))
    if as_json:
        print_json(document)
    else:
        click.echo(render_terminal(document, **screen_of(sys.stdout)))
    sys.exit(document["exit_code"])


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP raise Interrupted, so that a report is written on every way out."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _words(recipe: Path, run_dir: Path | None, overrides: tuple[str, ...], until: str | None) -> list[str]:
    """The command that goes on with this run."""
    words = ["edgekd", "pipeline", str(recipe)]
    words += ["--run-dir", str(run_dir)] if run_dir else []
    words += [word for one in overrides for word in ("--set", one)]
    return words + (["--until", until] if until else [])
