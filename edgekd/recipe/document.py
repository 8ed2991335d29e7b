"""A recipe as plain data: canonical, with every default filled in; and the JSON Schema of the file."""

from __future__ import annotations

from typing import Any

from edgekd.recipe.schema import Recipe


def as_json(recipe: Recipe) -> dict[str, Any]:
    """JSON types only, the same for the same recipe whatever its comments, order, folder or defaults left out.

    Paths stand as written, not resolved: a recipe moved together with its data says the same.
    """
    return recipe.model_dump(mode="json")


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
