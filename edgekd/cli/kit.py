"""``edgekd kit RUN --target T``: one file that measures a device without a network."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json

if TYPE_CHECKING:
    from edgekd.recipe import Recipe
    from edgekd.report import Document


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", "name", required=True, metavar="NAME", help="A target of the run's recipe.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[default: NAME-kit.pyz]")
@options.as_json
def kit(run: Path, name: str, output: Path | None, as_json: bool) -> None:
    """Write a kit: one file that builds, times and asks RUN's models on a device that no network reaches.

    Copy it to the device and run it there: python3 NAME-kit.pyz. It needs nothing but Python 3.6 and the device's own runtime,
    goes on where it was after a kill, and writes NAME-reply.zip. Then, here: edgekd pipeline RECIPE --reply NAME-reply.zip.
    """
    from edgekd.pipeline import store_of
    from edgekd.pipeline.kit import make_kit, outcomes_of
    from edgekd.report import read

    document = read(run)
    recipe = _recipe_of(document, run)
    stages = outcomes_of([stage.model_dump(mode="json") for stage in document.stages])
    store = store_of(run, options.RUNS)
    made = make_kit(recipe, run, stages, name, output or Path(f"{name}-kit.pyz"), store)
    reply = shlex.join([*shlex.split(document.resume), "--reply", f"{name}-reply.zip"])
    if as_json:
        print_json(
            {"schema": 1, "exit_code": 0, "kit": made.as_json(), "on_the_device": f"python3 {made.path.name}", "then": reply}
        )
        return
    share = "all" if made.images == made.test_images else f"{made.images:,} of {made.test_images:,}"
    click.echo(f"{made.path} written: {made.size_mb:.1f} MB, {share} test images, for {made.runs_on}")
    click.echo(f"on the device:  python3 {made.path.name}")
    click.echo(f"then, here:     {reply}")


def _recipe_of(document: Document, run: Path) -> Recipe:
    """The recipe that the run was made of, read again from its file. Raises InputError: it is not the same any more."""
    from edgekd.core import InputError
    from edgekd.recipe import load

    if document.smoke or document.fit is not None:
        what = "a smoke run" if document.smoke else "a run that asks the device which student fits"
        raise InputError(f"{what} has no kit", where=str(run), fix="make a whole run of a recipe with a fixed student.width")
    words = shlex.split(document.resume)
    if words[:2] != ["edgekd", "pipeline"] or len(words) < 3:
        raise InputError("the run does not tell its recipe", where=str(run), seen=document.resume, fix="run the pipeline again")
    given = [two for one, two in pairwise(words) if one == "--set"]
    recipe = load(Path(words[2]), tuple(given))
    if _that_counts(recipe.as_json()) != _that_counts(document.recipe or {}):
        raise InputError("the recipe has changed since the run", where=words[2], seen=str(run), fix="run the pipeline again")
    return recipe


def _that_counts(recipe: dict[str, object]) -> dict[str, object]:
    """Without which targets are required: --require says that for one run."""
    targets = recipe.get("targets")
    specs = targets if isinstance(targets, dict) else {}
    return {**recipe, "targets": {name: {**spec, "required": None} for name, spec in specs.items()}}
