"""Problem: one thing wrong with a recipe, at a path of keys; Problems carries several of them out of a validator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Path = tuple[str | int, ...]  # ("distill", "temperatures", 2)


@dataclass(frozen=True)
class Problem:
    """``what`` is wrong at ``path``: on its key (unknown, misplaced) or on its value. ``seen`` and ``fix`` as in EdgekdError."""

    path: Path
    what: str
    seen: str | None = None
    fix: str | None = None
    on: Literal["key", "value"] = "value"


class Problems(ValueError):
    """Raised inside validation; paths are relative to the value being validated."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.what for problem in self.problems))


def dotted(path: Path) -> str:
    """``distill.temperatures[2]``; the recipe itself is "the recipe"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "the recipe"


def shown(value: object) -> str:
    """A value as a person wrote it, cut to one short line."""
    match value:
        case None:
            return "empty (null)"
        case bool():
            return "true" if value else "false"
        case str():
            text = "'" + "".join(letter if letter.isprintable() else "�" for letter in value) + "'"
            return text if len(text) <= 60 else text[:56] + "...'"
        case Mapping():
            return "a section" if value else "an empty section"
        case list() | tuple():
            return f"a list of {len(value)}"
        case int() | float():
            return str(value)
    return type(value).__name__
