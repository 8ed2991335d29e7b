"""What a rule is, whom it speaks for, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from edgekd.core.printable import printable
from edgekd.export.lint.graph import Graph

Severity = Literal["error", "warning"]
# error: the runtime refuses the file or computes something else than is meant, or rounding is paid for and brings no speed.
# warning: it works as meant, but slower, less exactly, or on fewer devices than it could.
ERROR: Severity = "error"
WARNING: Severity = "warning"
RUNTIMES = ("onnxruntime", "tensorrt")
OWN = ("fp32", "ort", "ort-w7", "trt", "fp32-b1", "fp16", "trt-fp16")  # flavours, all of which promise something
_MOST_WORDS = 200


@dataclass(frozen=True)
class Purpose:
    """runtime: one of RUNTIMES. tensorrt: the oldest version that must read the file, such as "8.5"; None where no one knows."""

    runtime: str
    tensorrt: str | None = None

    def __str__(self) -> str:
        return f"{self.runtime} {self.tensorrt}" if self.tensorrt else self.runtime


Hits = Iterator[tuple[str, str]]  # the node (or what else it is about), and what is seen there
Find = Callable[[Graph, Purpose], Hits]


@dataclass(frozen=True)
class Rule:
    """means: what it means for the runtimes it is a rule of. promised: edgekd's own flavours in which it is an error."""

    name: str
    severity: Severity
    means: str
    fix: str
    runtimes: tuple[str, ...]
    promised: Collection[str]
    find: Find

    def severity_in(self, graph: Graph) -> Severity:
        return ERROR if graph.flavour in self.promised else self.severity


@dataclass(frozen=True)
class Finding:
    """runtimes: those it was found for."""

    rule: str
    severity: Severity
    node: str
    seen: str
    means: str
    fix: str
    runtimes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "node": _shown(self.node), "seen": _shown(self.seen)}


RULES: dict[str, Rule] = {}  # in the order they are told


def rule(
    severity: Severity, means: str, fix: str, runtimes: tuple[str, ...] = RUNTIMES, promised: Collection[str] = ()
) -> Callable[[Find], Find]:
    """The function below is a rule, named as the function."""

    def add(find: Find) -> Find:
        name = find.__name__.replace("_", "-")
        RULES[name] = Rule(name, severity, means, fix, runtimes, promised, find)
        return find

    return add


def _shown(text: str) -> str:
    """Names come from the file: of any length, with anything in them."""
    return printable(text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}…")
