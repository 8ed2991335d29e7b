"""Source: where the text of a recipe came from, so that an error about a value names the line, or the --set, that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from edgekd.core import RecipeError
from edgekd.recipe.problem import Path as Keys
from edgekd.recipe.problem import Problem

_WIDEST = 110  # characters of a line that a snippet shows


class Place(NamedTuple):
    """Both from 1; columns count characters."""

    line: int
    column: int


class Places(NamedTuple):
    key: Place
    value: Place


@dataclass(frozen=True)
class Source:
    """name: the file as the user gave it. places: of every key and value. overrides: what wrote a path, "--set a.b=c"."""

    name: str
    text: str
    folder: Path
    places: Mapping[Keys, Places]
    overrides: Mapping[Keys, str] = field(default_factory=dict)

    def error(self, problem: Problem) -> RecipeError:
        where, snippet = self._locate(problem.path, problem.on)
        return RecipeError(problem.what, where=where, seen=problem.seen, fix=problem.fix, snippet=snippet)

    def order(self, problem: Problem) -> tuple[int, int]:
        """Sorts problems as a reader meets them: in the file, then in the options."""
        if override := self._override(problem.path):
            return len(self.text) + 1, list(self.overrides.values()).index(override)
        return self._place(problem.path, problem.on)

    def _locate(self, path: Keys, on: Literal["key", "value"]) -> tuple[str, str | None]:
        if override := self._override(path):
            return override, None
        place = self._place(path, on)
        return f"{self.name}:{place.line}:{place.column}", snippet(self.text, place)

    def _override(self, path: Keys) -> str | None:
        lengths = range(len(path), 0, -1)
        if whole := next((path[:length] for length in lengths if path[:length] in self.overrides), None):
            return self.overrides[whole]  # with all that the file has below it
        for length in lengths:
            if path[:length] in self.places:
                return None
            for written, option in self.overrides.items():
                if written[:length] == path[:length]:
                    return option
        return None

    def _place(self, path: Keys, on: Literal["key", "value"]) -> Place:
        if path in self.places:
            return self.places[path].key if on == "key" else self.places[path].value
        for length in range(len(path) - 1, 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]].key
        return Place(1, 1)


def snippet(text: str, place: Place) -> str | None:
    """The line with its number and a caret under the column; a long line is cut to a window around it. None past the end."""
    lines = text.split("\n")
    if place.line > len(lines):
        return None
    start = max(0, place.column - 1 - _WIDEST // 2) if place.column > _WIDEST else 0
    line = lines[place.line - 1].rstrip("\r")[start : start + _WIDEST]
    line = "".join(letter if letter.isprintable() else " " if letter == "\t" else "�" for letter in line)
    number = f"{place.line:>5}"
    return f"{number} | {line}".rstrip() + f"\n{' ' * len(number)} | {' ' * (place.column - 1 - start)}^"
