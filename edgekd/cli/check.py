"""``edgekd check RECIPE``: is it valid, what will be judged where, and what could not be settled; touches nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgekd.core import Gate
    from edgekd.recipe import Recipe


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="a.b.c=v", help="Change one value of the recipe; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, on success and on failure.")
def check(recipe: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate RECIPE; show its targets and gates.

    Nothing is run or written. A recipe that is not valid ends with exit code 2 and every problem with its line and column.
    """
    from edgekd.recipe import load, missing_files

    loaded = load(recipe, overrides)
    if missing := missing_files(loaded):
        missing[0].others = missing[1:]
        raise missing[0]
    if as_json:
        click.echo(json.dumps(_document(loaded), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(loaded)))


def _document(recipe: Recipe) -> dict[str, Any]:
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
    return {"schema": 1, "exit_code": 0, "recipe": recipe.as_json(), "gates": gates}


def _lines(recipe: Recipe) -> list[str]:
    """The screen: one table for targets, one for gates; the last line is the result."""
    targets = [
        ["target", name, one.device, one.runtime, one.precision, f"required: {one.required}"]
        for name, one in recipe.targets.items()
    ]
    gates = [["gate", gate.stage, gate.target or "", gate.metric, *_bound(gate)] for gate in recipe.gate_list()]
    return [*_table(targets), *_table(gates), f"{recipe.name}: valid"]


def _bound(gate: Gate) -> tuple[str, str]:
    sign = {"min": "≥", "max": "≤"}[gate.bound]
    confidence = f"at {gate.confidence:.6g} confidence" if gate.confidence is not None else ""
    waived = f"waived: {gate.waive}" if gate.waive else ""
    return f"{sign} {gate.limit:g}", ", ".join(part for part in (confidence, waived) if part)


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
