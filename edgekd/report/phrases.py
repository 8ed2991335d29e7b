"""How numbers read in every report: enough digits to see the interval and never so few that a miss looks like a hit."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgekd.core.duration import in_words

MISSING = "—"
_FIXED_DECIMALS = {"fraction": 3, "dB": 1, "count": 0}
_MOST_DECIMALS = 12


def decimals(unit: str, values: Iterable[float | None], limit: float | None = None) -> int:
    """Decimals for one row, the same for value and interval: fixed by unit, else three significant digits of the largest.

    With a ``limit``, as many more as it takes for the first value, rounded, to lie on the side of the limit it lies on.
    """
    known = [value for value in values if value is not None]
    largest = max((abs(value) for value in known), default=0.0)
    places = _FIXED_DECIMALS.get(unit)
    if places is None:
        places = min(6, max(0, 2 - math.floor(math.log10(largest)))) if largest else 2
    if limit is not None and known:
        while places < _MOST_DECIMALS and _side(round(known[0], places), limit) != _side(known[0], limit):
            places += 1
    return places


def _side(value: float, limit: float) -> int:
    return (value > limit) - (value < limit)


def number(value: float | None, places: int) -> str:
    """Fixed decimals with thousands separators; tiny values in scientific notation; a dash for what was not measured."""
    if value is None:
        return MISSING
    if value and places and abs(value) < 0.5 * 10**-places:
        return f"{value:.1e}"
    return f"{value:,.{places}f}"


def interval(low: float | None, high: float | None, places: int) -> str:
    return "" if low is None or high is None else f"[{number(low, places)}, {number(high, places)}]"


def limit_text(bound: str, limit: float) -> str:
    """≥ 0.95, as the recipe wrote it."""
    return f"{'≥' if bound == 'min' else '≤'} {limit:.10g}"


def duration(seconds: float | None) -> str:
    return MISSING if seconds is None else in_words(seconds)


def age(seconds: float) -> str:
    """How long ago: 0 min · 12 min · 5 h · 3 days."""
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def megabytes(size: int) -> str:
    """Bytes as MB of 10⁶, three digits."""
    return f"{number(size / 1e6, decimals('MB', [size / 1e6]))} MB" if size >= 1e4 else f"{size / 1e3:.1f} kB"
