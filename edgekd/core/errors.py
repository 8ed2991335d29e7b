"""What goes wrong, as a tree; every error says what, where, the value seen and what to do, and knows its exit code.

    EdgekdError                 1  a bug in edgekd
    ├── InputError              2  bad input: data, weights, arguments
    │   └── RecipeError         2  bad recipe, with file:line:column and the snippet
    ├── EnvironmentProblem      5  this machine: missing extra, runtime, disk, memory
    ├── DeviceError             6  a device: unreachable, timed out, refused the build, misbehaving
    │   └── DeviceMemoryError   6  the device has too little memory for the model
    ├── IntegrityError          7  hash, signature, unsafe file
    ├── LockedError             8  run, store or measuring lock held
    └── Interrupted             129/130/143

A failed gate (3) and an inconclusive run (4) are verdicts, not errors: see ``edgekd.core.gate``.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, ClassVar

INSTALL_TRAINING = "pip install 'edgekd[train]'   (from a checkout: pip install -e '.[train]')"


class EdgekdError(Exception):
    """An error for a person: ``what`` happened, ``where``, the value ``seen``, and the ``fix`` to try; each one line."""

    code: ClassVar[str] = "bug"
    exit_code: int = 1

    def __init__(self, what: str, *, where: str | None = None, seen: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.seen, self.fix = what, where, seen, fix

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what

    def as_json(self) -> dict[str, Any]:
        """The ``error`` object of the JSON document."""
        return {"code": self.code, "what": self.what, "where": self.where, "seen": self.seen, "fix": self.fix}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> EdgekdError:
        """Rebuild an error that crossed a process boundary; an unknown code stays a bug (exit 1)."""
        kinds = {kind.code: kind for kind in _all_kinds(EdgekdError)}
        kind = kinds.get(str(document.get("code")), EdgekdError)
        error = kind.__new__(kind)
        EdgekdError.__init__(
            error, str(document.get("what")), where=document.get("where"), seen=document.get("seen"), fix=document.get("fix")
        )
        return error


class InputError(EdgekdError):
    code = "input"
    exit_code = 2


class RecipeError(InputError):
    """``where`` is ``file:line:column``; ``snippet`` is the line of the file with a caret under the place.

    others: further problems of the same recipe, so that a person can mend them all at once.
    """

    code = "recipe"
    snippet: str | None = None
    others: tuple[RecipeError, ...] = ()

    def __init__(
        self, what: str, *, where: str | None = None, seen: str | None = None, fix: str | None = None, snippet: str | None = None
    ) -> None:
        super().__init__(what, where=where, seen=seen, fix=fix)
        self.snippet = snippet

    def as_json(self) -> dict[str, Any]:
        """With ``others``, if there are any."""
        return {**super().as_json(), **({"others": [other.as_json() for other in self.others]} if self.others else {})}


class EnvironmentProblem(EdgekdError):
    code = "environment"
    exit_code = 5


class DeviceError(EdgekdError):
    code = "device"
    exit_code = 6


class DeviceMemoryError(DeviceError):
    """What the device was to build or run does not go into its memory: it says something about the model too."""

    code = "device-memory"


class IntegrityError(EdgekdError):
    code = "integrity"
    exit_code = 7


class LockedError(EdgekdError):
    code = "locked"
    exit_code = 8


class Interrupted(EdgekdError):
    """The user or the system asked us to stop: SIGHUP 129, SIGINT 130, SIGTERM 143."""

    code = "interrupted"

    def __init__(self, signal_number: int = signal.SIGINT, *, where: str | None = None) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"interrupted by {name}", where=where, fix="run the same command again to go on")
        self.exit_code = 128 + signal_number


def _all_kinds(kind: type[EdgekdError]) -> list[type[EdgekdError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_kinds(child))]
