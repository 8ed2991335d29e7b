"""Check: one thing that was looked at, what was seen, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

ENVIRONMENT, DEVICE = 5, 6  # exit codes: something is not installed, here or there; the device cannot be reached or used


@dataclass(frozen=True)
class Check:
    """where: "here" or "there". state: "ok", "missing", "wrong", or "unknown" where it could not be looked at.

    seen: the value, or what was said instead. fix: the command, or what to do; "" if nothing is to be done. code: the exit code
    if it is not ok; None where edgekd's light part does without it.
    """

    where: str
    name: str
    state: str
    seen: str = ""
    fix: str = ""
    code: int | None = None

    @property
    def fails(self) -> bool:
        """Needed, and not there."""
        return self.state != "ok" and self.code is not None

    def as_json(self) -> dict[str, Any]:
        return {**{key: value for key, value in asdict(self).items() if key != "code"}, "needed": self.code is not None}


def worst_code(checks: Iterable[Check]) -> int:
    """0, or the exit code of the first thing that is needed and does not work: what comes after often follows from it."""
    return next((one.code for one in checks if one.fails and one.code is not None), 0)
