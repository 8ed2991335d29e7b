"""``edgekd schema [recipe|report|sweep]``: the JSON Schema of what goes in and of what comes out."""

from __future__ import annotations

import click

from edgekd.cli.screen import print_json


@click.command()
@click.argument("of", type=click.Choice(["recipe", "report", "sweep"]), default="recipe")
def schema(of: str) -> None:
    """Print the JSON Schema of recipe, report or sweep.

    An editor that is given the recipe's completes its keys and marks what is wrong while you type; the report's describes
    what --json prints and report.json holds, the sweep's sweep.json.
    """
    if of == "recipe":
        from edgekd.recipe import json_schema

        document = json_schema()
    else:
        from edgekd.report import document_schema, sweep_schema

        document = document_schema() if of == "report" else sweep_schema()
    print_json(document)
