"""``edgekd pipeline RECIPE``: run, resume, judge, bundle."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible, undisturbed

if TYPE_CHECKING:
    from edgekd.pipeline import Control


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@options.run_dir
@options.overrides
@click.option("--from", "start", metavar="STAGE", help="Reuse all before this stage, which must be there; make it again and on.")
@click.option("--until", metavar="STAGE", help="Stop after this stage.")
@click.option("--devices", type=int, metavar="N", help="Train on N devices together: --set compute.devices=N.")
@click.option("--keep-going", is_flag=True, help="Go on after a failed gate; it still exits with 3 and leaves no bundle.")
@click.option("--smoke", is_flag=True, help="Try every stage on a handful of images, in runs/<name>-smoke; exits with 4.")
@click.option("--remeasure", is_flag=True, help="Measure again what is measured on devices.")
@options.host
@options.ssh_config
@options.reply
@click.option("--require", multiple=True, metavar="TARGET", help="Exit with 4 if this target is not measured; may be repeated.")
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Say the key of every step.")
def pipeline(
    recipe: Path,
    run_dir: Path | None,
    overrides: tuple[str, ...],
    devices: int | None,
    hosts: tuple[str, ...],
    ssh_config: Path | None,
    replies: tuple[Path, ...],
    require: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **asked: Any,
) -> None:
    """Take RECIPE through the whole chain: teacher, student, quantization, export, benchmark, bundle.

    Finished steps are reused; the same command goes on where a stopped or killed run was. Exits with 0 when every gate
    holds, 3 when one fails, 4 when one cannot be decided; other codes are errors (see the README).
    """
    from edgekd.cli.progress import ProgressLog
    from edgekd.core import InputError
    from edgekd.core.files import write_atomic, write_json
    from edgekd.pipeline import Control, Runner, Store, reach_of, requiring, run_document, store_of, to_go_on, without_hosts
    from edgekd.recipe import load
    from edgekd.report import render_html, render_terminal, screen_of

    started = time.time()
    overrides += (f"compute.devices={devices}",) if devices is not None else ()
    control = Control(**asked)
    if control.smoke and replies:
        raise InputError("a kit is not asked what a smoke run asks", where="--reply", fix="leave --smoke or --reply out")
    loaded = requiring(load(recipe, overrides), require)
    reach = reach_of(loaded, hosts, ssh_config, replies)
    folder = run_dir or options.RUNS / (loaded.name + "-smoke" * control.smoke)
    with interruptible(), ProgressLog(-1 if quiet else int(verbose)) as log:
        walk = Runner(loaded, folder, Store(store_of(folder, options.RUNS)), log, control, reach).walk()
    resume = [*_words(recipe, run_dir, overrides, require, to_go_on(walk, loaded)), *_reaching(hosts, ssh_config, replies)]
    with undisturbed():
        document = run_document(walk, loaded, folder, resume=resume, started=started)
        kept = without_hosts(document, reach)
        write_json(folder / "report.json", kept)
        write_atomic(folder / "report.html", render_html(kept, folder))
    if as_json:
        print_json(kept)
    else:
        click.echo(render_terminal(document, **screen_of(sys.stdout)))
    sys.exit(document["exit_code"])


def _words(
    recipe: Path, run_dir: Path | None, overrides: tuple[str, ...], require: tuple[str, ...], control: Control
) -> list[str]:
    """The command that goes on with this run."""
    words = ["edgekd", "pipeline", str(recipe)]
    words += ["--run-dir", str(run_dir)] if run_dir else []
    words += [word for one in overrides for word in ("--set", one)]
    words += [word for stage, flag in ((control.start, "--from"), (control.until, "--until")) if stage for word in (flag, stage)]
    flags = {"--keep-going": control.keep_going, "--smoke": control.smoke, "--remeasure": control.remeasure}
    words += [flag for flag, given in flags.items() if given]
    return words + [word for one in require for word in ("--require", one)]


def _reaching(hosts: tuple[str, ...], ssh_config: Path | None, replies: tuple[Path, ...]) -> list[str]:
    words = [word for one in hosts for word in ("--host", one)]
    words += [word for one in replies for word in ("--reply", str(one))]
    return words + (["--ssh-config", str(ssh_config)] if ssh_config else [])
