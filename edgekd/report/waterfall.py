"""The accuracy waterfall of each target's file: the steps from fp32 in torch to what the app runs, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.report.document import Document
from edgekd.report.phrases import interval, number

ALL_EQUAL = "all tensors equal"
EQUAL_DB = 200.0  # what stands for an infinite ratio
_LONGEST = 26  # letters of a tensor's name that have room; its end tells more than its beginning
_SHARED = {"trt-fp16": "trt"}  # flavours that round in torch as another one does


@dataclass(frozen=True)
class Hop:
    """One step. to: what ran behind it, with ``top1`` of it; lost, won: images; drop, low, high: of n; worst: the tensor that
    lost most with its SQNR, in words, "" where none could be looked at."""

    to: str
    top1: float
    lost: int
    won: int
    drop: float
    low: float
    high: float
    sqnr_db: float | None
    worst: str

    @property
    def dropped(self) -> str:
        return f"{number(self.drop, 3)} {interval(self.low, self.high, 3)}"

    @property
    def flips(self) -> str:
        return f"−{self.lost:,} +{self.won:,}" if self.lost or self.won else "±0"


@dataclass(frozen=True)
class Part:
    """Hops on the same ``n`` images. images: what they are; start: what ran first, with its top1."""

    images: str
    n: int
    start: str
    top1: float
    hops: tuple[Hop, ...]


@dataclass(frozen=True)
class Fall:
    """target: None of a file that no target ran."""

    target: str | None
    flavour: str
    parts: tuple[Part, ...]


def falls(document: Document) -> list[Fall]:
    """Of every measured target, and of files for TensorRT that no target ran; of all files where nothing was measured.

    A note of another shape counts as none.
    """
    exported = {part["flavour"]: part for part in _noted(document, "export", None)}
    found, used = [], set()
    for step in document.steps("benchmark"):
        for own in _noted(document, "benchmark", step.target):
            flavour = str(own["flavour"])
            before = exported.get(_SHARED.get(flavour, flavour))
            used.add(_SHARED.get(flavour, flavour))
            found.append(Fall(step.target, flavour, tuple(_part(one) for one in (before, own) if one is not None)))
    rest = [name for name in exported if name not in used and (name == "trt" or not used)]
    return found + [Fall(None, name, (_part(exported[name]),)) for name in rest]


def _noted(document: Document, stage: str, target: str | None) -> Iterator[Mapping[str, Any]]:
    for step in document.steps(stage):
        if step.target == target:
            noted = step.notes.get("waterfall")
            for one in noted if isinstance(noted, list) else ():
                try:
                    _part(one)
                except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                    continue
                yield one


def _part(noted: Mapping[str, Any]) -> Part:
    steps = noted["steps"]
    hops = [_hop(hop, float(step["top1"])) for hop, step in zip(noted["hops"], steps[1:], strict=True)]
    return Part(str(noted["images"]), int(noted["n"]), str(steps[0]["name"]), float(steps[0]["top1"]), tuple(hops))


def _hop(hop: Mapping[str, Any], top1: float) -> Hop:
    worst = hop["worst"]
    named = f"{_end_of(str(worst['tensor']))} ({number(worst['sqnr_db'], 1)} dB)" if worst else ""
    if worst and worst["sqnr_db"] == EQUAL_DB:
        named = ALL_EQUAL
    numbers = (float(hop["drop"]), float(hop["low"]), float(hop["high"]))
    return Hop(str(hop["to"]), top1, int(hop["lost"]), int(hop["won"]), *numbers, hop["sqnr_db"], named)


def _end_of(tensor: str) -> str:
    return tensor if len(tensor) <= _LONGEST else f"…{tensor[1 - _LONGEST :]}"
