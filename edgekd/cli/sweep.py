"""``edgekd sweep RECIPE --vary …``: methods × seeds, a table with intervals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible

if TYPE_CHECKING:
    from edgekd.pipeline import Sweep


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--vary", multiple=True, metavar="KEY=V,V", help="Every one of these values; several keys: all combinations; seed: repeats."
)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME:K=V…",
    help='One more: "no feedback: distill.method=ffkd distill.feedback_every=0".',
)
@click.option("--baseline", metavar="ARM", help="Compare with this arm.  [default: the first]")
@click.option("--matched", multiple=True, metavar="ARM,ARM", help="Also these, trained for as long as the dearest arm takes.")
@click.option(
    "--until", metavar="STAGE", default="distill", show_default=True, help="Take every arm through the chain up to this stage."
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="So many runs at once, cores shared.")
@options.overrides
@options.folder("Folder of the sweep.  [default: runs/<name>-sweep-<digest of the arms>]")
@click.option("--dry-run", is_flag=True, help="Check every arm and say what is there and what would be made; make nothing.")
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def sweep(recipe: Path, run_dir: Path | None, jobs: int, dry_run: bool, as_json: bool, quiet: bool, **asked: Any) -> None:
    """Compare trainings of RECIPE: each combination of the --vary values (an arm), with each seed.

    \b
    edgekd sweep my.yaml --vary distill.method=label,kd,sld --vary seed=0,1,2 --baseline kd

    One teacher serves all. The table gives test accuracy with its error over seeds, the paired difference to the baseline with
    its interval, and what the training cost. Finished steps are reused; the same command goes on where a stopped one was.
    Exits with 0 when every run was measured, else with the code of the first error.
    """
    from edgekd.cli.progress import ProgressLog
    from edgekd.pipeline import Asked, Sweep
    from edgekd.report import render_sweep, screen_of

    made = Sweep(Asked(recipe, **asked), run_dir, options.RUNS, ["edgekd", *_typed()])
    if dry_run:
        made.require_own_folder()
        _show(made, as_json)
        return
    with interruptible(), ProgressLog(-1 if quiet else 0) as log:
        log({"event": "note", "text": _count(made)})
        document = made.run(jobs, lambda event: None if _is_old(event) else log(event))
    if as_json:
        print_json(document)
    else:
        click.echo(render_sweep(document, **screen_of(sys.stdout)))
    sys.exit(document["exit_code"])


def _typed() -> list[str]:
    return [word for word in sys.argv[1:] if word not in ("--json", "-q", "--quiet")]


def _is_old(event: Mapping[str, Any]) -> bool:
    """What was reused is counted before, and not told run by run."""
    return bool(event["event"] == "end" and event["row"].status == "cached")


def _count(made: Sweep) -> str:
    """5 arms × 3 seeds: teacher 1 cached; distill 6 cached, 9 to do."""
    runs = made.prospects(made.arms)
    counts: dict[str, Counter[str]] = {}
    teachers = {one.teacher: one.steps[0].status for one in runs}
    for one in runs:
        for step in one.steps[2:]:
            counts.setdefault(step.name, Counter())[step.status] += 1
    said = [("teacher", Counter(teachers.values())), *counts.items()]
    rest = "; ".join(f"{name} " + ", ".join(f"{n} {status}" for status, n in count.items()) for name, count in said)
    seeds = len(made.arms[0].recipes)
    more = f" (+ {len(made.to_match)} matched in time)" if made.to_match else ""
    return f"{len(made.arms)} arm{'s' * (len(made.arms) > 1)}{more} × {seeds} seed{'s' * (seeds > 1)}: {rest}"


def _show(made: Sweep, as_json: bool) -> None:
    from edgekd.core.printable import printable

    runs = made.prospects(made.arms)
    if as_json:
        listed = [{"arm": one.arm.name, "seed": one.seed, "changes": list(one.arm.changes), "left_out": list(one.arm.left_out),
                   "teacher": one.teacher, "steps": [step.as_json() for step in one.steps]} for one in runs]  # fmt: skip
        print_json({"schema": 1, "exit_code": 0, "baseline": made.baseline, "runs": listed})
        return
    for arm in made.arms:
        of_arm = [step for one in runs if one.arm is arm for step in one.steps if step.name == "distill"]
        cached = sum(step.status == "cached" for step in of_arm)
        changes = " ".join(arm.changes) or "as the recipe is"
        click.echo(
            printable(f"{arm.name}: {changes}; {cached} of {len(of_arm)} students cached; {of_arm[0].cost or 'no training'}")
        )
        if arm.left_out:
            click.echo(printable(f"    left out, another method's: {', '.join(arm.left_out)}"))
    click.echo(_count(made))
