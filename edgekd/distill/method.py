"""What a distillation method is to the loop, and how a recipe's name finds one.

Shape suffixes in this room: B batch, C classes, V views, K temperatures, H W picture, 1 a kept axis.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from edgekd.core import InputError

ENTRY_POINTS = "edgekd.methods"  # the group in which other packages offer methods: name = "package.module:Class"
_OURS = {"kd": "edgekd.distill.kd:KD", "label": "edgekd.distill.label:Label", "sld": "edgekd.distill.sld:SLD"}


@dataclass(frozen=True)
class Batch:
    """One step's tensors, on the training device. The views are two random draws of the same B images, in the same order."""

    labels_B: Tensor  # int64
    student: Mapping[str, Tensor]  # view → logits [B, C], float32, with their graph
    teacher: Mapping[str, Tensor]  # view → logits [B, C], float32, no graph; empty for a method without a teacher
    progress: float  # number of this epoch, counted from 1, as a share of all: in (0, 1], constant within an epoch


@runtime_checkable
class Method(Protocol):
    """Losses of one method. Derive from it: all but ``views`` and ``student_loss`` has a default that does nothing.

    A frozen dataclass whose fields are the method's options; they have the names they have in the recipe.
    """

    views: ClassVar[tuple[str, ...]]  # which draws of each image the student sees: "weak", or "weak" and "strong"
    taps: ClassVar[tuple[str, ...]] = ()  # modules whose outputs the losses need; logit methods need none
    needs_teacher: ClassVar[bool] = True

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars, already weighted; their sum is the loss. Each is logged under its name."""
        ...

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars to log beside the losses, on the device and without a graph; the loop averages them over the epoch."""
        return {}

    def teacher_step(self, batch: Batch) -> None:
        """Called after each step of the student, for methods whose teacher learns."""

    def on_epoch_end(self, held_out_top1: float) -> None:
        """Called with the student's held-out accuracy after each epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep to go on bit-equal."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""


def names() -> tuple[str, ...]:
    """Names a recipe may use as ``distill.method``, sorted: ours and those other packages offer."""
    return tuple(sorted(_table()))


def create(method: str | object, **options: object) -> Method:
    """A method by name with ``options``, or from a recipe's ``distill`` section: its ``method`` and the attributes it has of
    the method's options.

    Raises InputError: unknown method or option, each with the nearest right name.
    """
    if not isinstance(method, str):
        section, method = method, str(method.method)  # type: ignore[attr-defined]
        options = {name: getattr(section, name) for name in _options(method) if hasattr(section, name)} | options
    known = _options(method)
    for name in options:
        if name not in known:
            raise InputError(
                f"unknown option {name!r} of method {method!r}{_nearest(name, known)}",
                where="distill",
                seen=name,
                fix=f"options of {method}: {', '.join(known) or 'none'}",
            )
    return _load(method)(**options)


def _table() -> dict[str, str]:
    """Name → "module:Class". A package may not take the name of one of ours."""
    offered: dict[str, str] = dict(_OURS)
    for point in entry_points(group=ENTRY_POINTS):
        if offered.setdefault(point.name, point.value) != point.value:
            raise InputError(
                f"two methods are named {point.name!r}",
                where=f"entry points {ENTRY_POINTS}",
                seen=f"{offered[point.name]} and {point.value}",
                fix="remove or rename one of the packages' methods",
            )
    return offered


def _load(method: str) -> type[Method]:
    table = _table()
    if method not in table:
        raise InputError(
            f"unknown method {method!r}{_nearest(method, table)}",
            where="distill.method",
            seen=method,
            fix=f"methods: {', '.join(sorted(table))}",
        )
    module, _, name = table[method].partition(":")
    kind: type[Method] = getattr(importlib.import_module(module), name)
    return kind


def _options(method: str) -> tuple[str, ...]:
    kind: Any = _load(method)
    return tuple(field.name for field in dataclasses.fields(kind))


def _nearest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def in_full(logits: Tensor) -> Tensor:
    """Logits in float32 (float64 stays): softmaxes, their logarithms and argmax go wrong in half precision, KL even negative."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
