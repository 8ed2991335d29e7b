"""What a distillation method is to the loop, and how a recipe's name finds one.

Shape suffixes in this room: B batch, C classes, V views, K temperatures, H W picture, 1 3 a kept axis.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill.guard import GuardedStep

if TYPE_CHECKING:
    from edgekd.distill.training import Batches

ENTRY_POINTS = "edgekd.methods"  # the group in which other packages offer methods: name = "package.module:Class"
_OURS = {
    "channel": "edgekd.distill.channel:Channel",
    "dist": "edgekd.distill.dist:DIST",
    "dkd": "edgekd.distill.dkd:DKD",
    "ffkd": "edgekd.distill.ffkd:FFKD",
    "ffkd-adapt": "edgekd.distill.ffkd:FFKDAdapt",
    "ffkd-public": "edgekd.distill.ffkd:FFKDPublic",
    "kd": "edgekd.distill.kd:KD",
    "label": "edgekd.distill.label:Label",
    "lskd": "edgekd.distill.lskd:LSKD",
    "sld": "edgekd.distill.sld:SLD",
}


@dataclass(frozen=True)
class Batch:
    """One step's tensors, on the training device. The views are two random draws of the same B images, in the same order."""

    labels_B: Tensor  # int64
    student: Mapping[str, Tensor]  # view → logits [B, C], float32, with their graph
    teacher: Mapping[str, Tensor]  # view → logits [B, C], float32, no graph; empty for a method without a teacher
    progress: float  # number of this epoch, counted from 1, as a share of all: in (0, 1], constant within an epoch
    which: int = 0  # of the students
    student_maps: Mapping[str, Tensor] = field(default_factory=dict)  # tapped module → [B, C', H', W'] of the weak view, float32
    teacher_maps: Mapping[str, Tensor] = field(default_factory=dict)  # the same of the teacher, no graph


@dataclass(frozen=True)
class Tap:
    """A pair of modules whose outputs are compared, by their names inside the two networks."""

    teacher: str
    student: str


@dataclass(frozen=True)
class Course:
    """What a method is given once, before the first step, to make what it trains beside the students."""

    students: tuple[nn.Module, ...]
    teacher: nn.Module | None  # on the device; trainable if the method's teacher learns
    device: torch.device
    images_1: Tensor  # one input [1, 3, H, W], to see shapes with
    steps: int  # of the whole training
    rate: Callable[[int], float]  # the students' learning rate at a step, counted from 0
    optimiser: Callable[[Iterable[nn.Parameter], float | None], GuardedStep]  # as the students', with another gradient norm
    evaluate: Callable[[nn.Module], float]  # top-1 in [0, 1] on the held-out images, of a network in eval mode
    held_out_images: int  # how many those are; 0 if not known
    more_batches: Callable[[int, float], Batches] | None  # the images in another order, by a number above 0 and a batch's share
    autocast: Callable[[], AbstractContextManager[Any]]  # the precision of forward passes
    seed: int = 0  # of the training


@runtime_checkable
class Method(Protocol):
    """Losses of one method. Derive from it: all but ``views`` and ``student_loss`` has a default that does nothing.

    A dataclass whose fields are the method's options; they have the names they have in the recipe.
    """

    views: ClassVar[tuple[str, ...]]  # which draws of each image the student sees: "weak", or "weak" and "strong"
    needs_teacher: ClassVar[bool] = True
    teacher_learns: ClassVar[bool] = False
    students: int = 1  # how many train side by side

    def begin(self, course: Course) -> None:
        """Called once before the first step, and before ``load_state_dict``."""

    def pairs(self) -> tuple[Tap, ...]:
        """Modules whose outputs the losses need, asked for after ``begin``; logit methods need none."""
        return ()

    def auxiliary(self, which: int) -> nn.Module | None:
        """What is trained with this student by its optimiser and thrown away at the end, such as regressors of its maps."""
        return None

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars, already weighted; their sum is the loss of student ``batch.which``. Each is logged under its name."""
        ...

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars to log beside the losses, on the device and without a graph; the loop averages them over the epoch."""
        return {}

    def teacher_step(self, step: int) -> dict[str, Tensor]:
        """Called after each step of the students, with the number of steps done, for methods whose teacher learns. Returns named
        scalars to log, as ``observe`` does; of steps that return one."""
        return {}

    def on_epoch_end(self, held_out_top1: float) -> dict[str, Any]:
        """Called with the best student's held-out accuracy after each epoch. Returns more entries for it in the curves."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep to go on bit-equal: own copies of tensors, and plain values JSON can hold."""
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
    return tuple(one.name for one in dataclasses.fields(kind) if one.init)


def _nearest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def in_full(logits: Tensor) -> Tensor:
    """Logits in float32 (float64 stays): softmaxes, their logarithms and argmax go wrong in half precision, KL even negative."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
