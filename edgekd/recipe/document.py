"""The JSON Schema of a recipe file, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from edgekd.recipe.schema import Recipe


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file; what needs two values at once (names of targets, say) it cannot say."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
