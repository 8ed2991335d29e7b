"""``--set a.b.c=value``: change one value of a recipe before it is validated, and remember who wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from edgekd.core import RecipeError
from edgekd.recipe.parse import parse
from edgekd.recipe.problem import dotted, shown
from edgekd.recipe.source import Source


def apply(data: dict[str, Any], source: Source, overrides: Iterable[str], option: str = "--set") -> Source:
    """Change ``data`` in place; later overrides win. Returns the source that places what they wrote at ``option``.

    A value is YAML: a word, a number, [a, list], {a: section}. Sections that are absent are made.
    Raises RecipeError: no '=', an empty key, a value that is not YAML, a path through something that is no section.
    """
    written = dict(source.overrides)
    for text in overrides:
        where = f"{option} {text}"
        name, equals, value = text.partition("=")
        path = tuple(name.strip().split("."))
        if not equals or not all(path):
            what = f"{option} takes a dotted key, '=' and a value"
            raise RecipeError(what, where=where, seen=text, fix=f"{option} distill.epochs=5")
        here = data
        for depth, key in enumerate(path[:-1], 1):
            here = here.setdefault(key, {})
            if not isinstance(here, dict):
                what = f"{dotted(path[:depth])} is {shown(here)}, not a section, so nothing can be set below it"
                raise RecipeError(what, where=where, seen=text, fix=f"{option} {dotted(path[:depth])}=... replaces it whole")
        here[path[-1]] = parse(value, where, one_line=True).data if value.strip() else None
        written = {at: by for at, by in written.items() if at[: len(path)] != path}
        written[path] = where
    return replace(source, overrides=written)
