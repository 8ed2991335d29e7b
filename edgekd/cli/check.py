"""``edgekd check RECIPE``: is it valid, what is cached, what will be judged where, what cannot be settled; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json

if TYPE_CHECKING:
    from edgekd.core import Gate
    from edgekd.pipeline import Plan, PlannedRung, PlannedStep
    from edgekd.recipe import Recipe


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@options.run_dir
@options.overrides
@options.host
@options.ssh_config
@options.as_json
def check(
    recipe: Path, run_dir: Path | None, overrides: tuple[str, ...], hosts: tuple[str, ...], ssh_config: Path | None, as_json: bool
) -> None:
    """Validate RECIPE; show what it would do.

    Shows images, targets, steps (cached or to do), gates, and the gates that the images at hand cannot settle. Nothing is
    run or written; a device whose host is given is asked who it is. A recipe that is not valid ends with exit code 2 and every
    problem with its line and column.
    """
    from edgekd.pipeline import make_plan, reach_of, store_of
    from edgekd.recipe import load

    loaded = load(recipe, overrides)
    folder = run_dir or options.RUNS / loaded.name
    plan = make_plan(loaded, store_of(folder, options.RUNS), reach_of(loaded, hosts, ssh_config), folder)
    if as_json:
        print_json(_document(loaded, plan))
    else:
        click.echo("\n".join(_lines(loaded, plan)))


def _document(recipe: Recipe, plan: Plan) -> dict[str, Any]:
    gates = [
        {
            "stage": gate.stage,
            **({"target": gate.target} if gate.target else {}),
            "metric": gate.metric,
            "bound": gate.bound,
            "limit": gate.limit,
            **({"confidence": gate.confidence} if gate.confidence is not None else {}),
            **({"waive": gate.waive} if gate.waive is not None else {}),
        }
        for gate in recipe.gate_list()
    ]
    return {
        "schema": 1,
        "exit_code": 0,
        "recipe": recipe.as_json(),
        "images": dict(plan.described.counts),
        **({"ladder": [rung.as_json() for rung in plan.rungs]} if plan.rungs else {}),
        "steps": [step.as_json() for step in plan.steps],
        "gates": gates,
        "unsettled": list(plan.unsettled),
    }


def _lines(recipe: Recipe, plan: Plan) -> list[str]:
    """The screen: a table for each subject; the last line is the result."""
    counts = {name.replace("_", " "): n for name, n in plan.described.counts.items()}
    images = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    from edgekd.targets import precision_of

    specs = recipe.targets.items()
    targets = [["target", name, one.device, one.runtime, precision_of(one), f"required: {one.required}"] for name, one in specs]
    steps = [["step", step.name, *_prospect(step)] for step in plan.steps]
    gates = [["gate", gate.stage, gate.target or "", gate.metric, *_bound(gate)] for gate in recipe.gate_list()]
    rungs = [["rung", rung.name, rung.status, *_answer(rung)] for rung in plan.rungs]
    tables = [*_table([["images", images]]), *_table(targets), *_table(rungs), *_table(steps), *_table(gates)]
    if plan.rungs:
        chosen = next((rung.name for rung in plan.rungs if rung.chosen), "to be chosen by what the targets measure")
        tables.append(f"student  {chosen}")
    return [*tables, *(f"cannot be settled: {reason}" for reason in plan.unsettled), _summary(recipe, plan)]


def _prospect(step: PlannedStep) -> tuple[str, str]:
    from edgekd.core.duration import in_words

    if step.age_s is not None:
        return step.status, f"made {in_words(step.age_s)} ago"
    return step.status, step.why or step.cost


def _answer(rung: PlannedRung) -> tuple[str, str]:
    fits = {None: "", True: "fits", False: "does not fit"}[rung.fits]
    return fits, "chosen" if rung.chosen else rung.why


def _bound(gate: Gate) -> tuple[str, str]:
    sign = {"min": "≥", "max": "≤"}[gate.bound]
    confidence = f"at {gate.confidence:.6g} confidence" if gate.confidence is not None else ""
    waived = f"waived: {gate.waive}" if gate.waive else ""
    return f"{sign} {gate.limit:g}", ", ".join(part for part in (confidence, waived) if part)


def _summary(recipe: Recipe, plan: Plan) -> str:
    count = {status: sum(step.status == status for step in plan.steps) for status in ("cached", "to do", "not measured")}
    return f"{recipe.name}: valid; steps: " + ", ".join(f"{n} {status}" for status, n in count.items() if n)


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
