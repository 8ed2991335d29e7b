"""The name a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` the user probably meant, or None. Another number is no misspelling: p95 is not p99."""
    folded = {name.lower(): name for name in names if not _digits(word) or _digits(word) == _digits(name)}
    swapped = [name for name in folded if sorted(name) == sorted(word.lower())]  # sdl for sld
    found = swapped or difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.7)
    return folded[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'name'?`` to end a sentence with, or nothing."""
    near = nearest(word, names)
    return f"; did you mean '{near}'?" if near else ""


def _digits(word: str) -> list[str]:
    return sorted(filter(str.isdigit, word))
