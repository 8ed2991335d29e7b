"""The one training loop, for every method and for the teacher: draw a batch, forward, loss, backward, check, step, log; after
each epoch measure on held-out images and keep the best.

On a GPU nothing in a step waits for it: sums and the check for a finite loss stay there and are read every 20 steps.
Shape suffixes in this file: B batch, C classes, H W picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill.method import Batch, Method, in_full
from edgekd.distill.schedule import learning_rate_factor, parameter_groups
from edgekd.distill.teacher import FrozenTeacher
from edgekd.distill.tiny_maps import quick_tiny_maps
from edgekd.distill.training import Batches, Training

# Ours: summed over two views and six temperatures, T²-weighted KL starts at 20 to 100, where cross-entropy starts at ln C. The
# few steps with gradients that large would throw the weights out of reach; later ones are not touched by this bound.
MAX_GRADIENT_NORM = 5.0
STEPS_BETWEEN_READS_ON_GPU = 20


@dataclass(frozen=True)
class FitResult:
    best_state: dict[str, Tensor]  # the student's state_dict after its best epoch by held-out accuracy; contiguous
    best_epoch: int  # counted from 1
    best_top1: float  # on held-out images, in [0, 1]
    curves: dict[str, Any]  # curves.json: {"epochs": […], "best_epoch", "logged": {name: [mean of each epoch]}}


def fit(
    student: nn.Module,
    method: Method,
    batches: Batches,
    *,
    evaluate: Callable[[nn.Module], float],
    epochs: int,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup: float = 0.05,
    teacher: nn.Module | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    seed: int = 0,
    section: str = "distill",
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    before_step: Callable[[int], None] | None = None,
    after_step: Callable[[Training], None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train ``student`` in place, where it is (CPU or GPU), by SGD with momentum; its weights end as the last epoch left them.

    evaluate: top-1 in [0, 1] on the *held-out* images of a student in eval mode, without gradients; the best epoch is chosen by
    it. warmup: share of training over which the learning rate rises, before it falls along a cosine to 0. precision: of the two
    networks' forward passes; losses are in float32. seed: for torch's global generators (dropout); ``batches`` has its own.
    section: the recipe's section this training belongs to, for messages. on_progress gets ``{"done", "total"`` (steps)``, "loss",
    "held_out_top1"`` (None before the first epoch is over)``, "eta_s"}``. before_step gets the number of steps done. after_step
    gets the state after every step (after an epoch's last one, when that is measured and logged too); it may keep
    ``state_dict()``, and ``resume`` takes one to go on from.
    Raises InputError: a loss or gradient that is not finite (no weight has changed in that step or after it; BatchNorm's running
    statistics may have), a view or the teacher the method needs is missing.
    """
    _refuse_misfits(method, teacher, student, section)
    torch.manual_seed(seed)
    student.to(memory_format=torch.channels_last)
    groups = parameter_groups(student, weight_decay)
    state = Training(student, method, batches, torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, fused=True))
    if resume is not None:
        state.load_state_dict(resume)
    frozen = FrozenTeacher(teacher.to(memory_format=torch.channels_last)) if teacher is not None else None
    guard = _FiniteGuard(state, section, learning_rate)
    state.require_finite = guard.read
    progress = _Progress(state, epochs * len(batches), on_progress)
    read_every = _reading_interval(state.device)
    networks = [network for network in (student, teacher) if network is not None]

    with quick_tiny_maps(*networks) if state.device.type == "cpu" else nullcontext():
        for epoch in range(state.step // len(batches) + 1, epochs + 1):
            _train_mode(student)
            for views, labels_B in batches:
                if before_step is not None:
                    before_step(state.step)
                rate = learning_rate * learning_rate_factor(state.step, epochs * len(batches), warmup)
                state.optimiser.param_groups[0]["lr"] = rate
                _step(state, frozen, views, labels_B, epoch / epochs, precision, guard)
                if state.step % read_every == 0:
                    guard.read()
                    progress.tell()
                if after_step is not None and state.step < epoch * len(batches):
                    after_step(state)
            if state.step != epoch * len(batches):
                seen = f"{state.step - (epoch - 1) * len(batches)} batches"
                raise InputError(f"an epoch did not have the {len(batches)} batches announced", where=section, seen=seen)
            guard.read()
            _end_epoch(state, epoch, rate, evaluate)
            progress.tell(held_out_top1=state.epochs[-1]["held_out_top1"])
            if after_step is not None:
                after_step(state)
    curves = {"epochs": state.epochs, "best_epoch": state.best_epoch, "logged": state.logged}
    return FitResult(state.best_state, state.best_epoch, state.best_top1, curves)


def _step(
    state: Training,
    teacher: FrozenTeacher | None,
    views: Mapping[str, Tensor],
    labels_B: Tensor,
    progress: float,
    precision: str,
    guard: _FiniteGuard,
) -> None:
    """One batch: each view has its own forward pass, and so its own BatchNorm statistics; one backward pass for all."""
    method, device = state.method, state.device
    for view in method.views:
        if view not in views:
            raise InputError(f"the batches have no view {view!r}", where=type(method).__name__, seen=", ".join(views))
    images = {view: _on(device, views[view]) for view in method.views}
    labels_B = labels_B.to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        of_teacher = teacher.logits(images) if teacher is not None and method.needs_teacher else {}
        of_student = {view: in_full(state.student(pictures)) for view, pictures in images.items()}
    batch = Batch(labels_B, of_student, of_teacher, progress)
    losses = method.student_loss(batch)
    loss = torch.stack(list(losses.values())).sum()
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    guard.step(loss.detach())
    method.teacher_step(batch)
    state.step += 1
    seen = {f"loss.{name}": value.detach() for name, value in losses.items()} | {"loss": loss.detach()} | method.observe(batch)
    for name, value in seen.items():
        state.sums[name] = state.sums[name] + value if name in state.sums else value.clone()


def _end_epoch(state: Training, epoch: int, rate: float, evaluate: Callable[[nn.Module], float]) -> None:
    state.student.eval()
    with torch.no_grad():
        top1 = float(evaluate(state.student))
    if not 0.0 <= top1 <= 1.0:
        raise InputError("the held-out accuracy is not a share", where=f"epoch {epoch}", seen=str(top1))
    state.keep_if_best(epoch, top1)
    state.method.on_epoch_end(top1)
    steps = len(state.batches)
    means = {name: total.item() / steps for name, total in state.sums.items()}
    state.sums.clear()
    losses = {name.removeprefix("loss."): means.pop(name) for name in list(means) if name.startswith("loss.")}
    state.epochs.append(
        {
            "epoch": epoch,
            "loss": means.pop("loss"),
            "losses": losses,
            "lr": rate,
            "held_out_top1": top1,
            "seconds": round(time.monotonic() - state.epoch_began, 3),
        }
    )
    state.epoch_began = time.monotonic()
    for name, mean in means.items():
        state.logged.setdefault(name, []).append(mean)


class _FiniteGuard:
    """Takes the optimiser's step, with clipped gradients; from the first loss or gradient that is not finite on, none any more.

    The decision stays on the device: fused SGD divides gradients by ``grad_scale`` and does nothing when ``found_inf`` is 1. It
    needs gradients and momentum in the memory order of their weights, which autograd and ``empty_like`` give.
    """

    def __init__(self, state: Training, section: str, learning_rate: float) -> None:
        self.state, self.section, self.learning_rate = state, section, learning_rate
        self.tripped = torch.zeros((), device=state.device)
        self.first_bad = torch.full((3,), math.nan, device=state.device, dtype=torch.float64)  # step, loss, gradient norm

    def step(self, loss: Tensor) -> None:
        optimiser: Any = self.state.optimiser
        gradients = [weight.grad for weight in optimiser.param_groups[0]["params"] if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        bad = ~(loss.isfinite() & norm.isfinite())
        now = torch.stack([torch.full_like(norm, self.state.step, dtype=torch.float64), loss.double(), norm.double()])
        self.first_bad = torch.where(bad & (self.tripped == 0), now, self.first_bad)
        self.tripped = torch.maximum(self.tripped, bad.float())
        optimiser.grad_scale = (norm / MAX_GRADIENT_NORM).clamp(min=1.0)
        optimiser.found_inf = self.tripped
        optimiser.step()

    def read(self) -> None:
        """Raise if a step was refused; the one place that waits for the device."""
        if not self.tripped.item():
            return
        step, loss, norm = self.first_bad.tolist()
        epoch, step_of_epoch = divmod(int(step), len(self.state.batches))
        raise InputError(
            "training diverged: the loss or its gradient is not finite; it stopped before that step",
            where=f"{self.section} epoch {epoch + 1} step {step_of_epoch + 1}",
            seen=f"loss {loss:.4g}, gradient norm {norm:.4g}",
            fix=f"lower {self.section}.learning_rate (now {self.learning_rate:g}), or raise {self.section}.warmup",
        )


class _Progress:
    """Tells how far the training is, with the mean loss of this epoch so far and the time left at the pace so far."""

    def __init__(self, state: Training, total: int, tell: Callable[[dict[str, Any]], None] | None) -> None:
        self.state, self.total, self._tell = state, total, tell
        self.started, self.first_step = time.monotonic(), state.step

    def tell(self, held_out_top1: float | None = None) -> None:
        if self._tell is None:
            return
        state, steps = self.state, len(self.state.batches)
        if state.step % steps or state.sums:  # in an epoch
            loss = state.sums["loss"].item() / ((state.step - 1) % steps + 1)
        else:
            loss = state.epochs[-1]["loss"]
        pace_s = (time.monotonic() - self.started) / (state.step - self.first_step)
        last = state.epochs[-1]["held_out_top1"] if state.epochs else None
        self._tell(
            {
                "done": state.step,
                "total": self.total,
                "loss": loss,
                "held_out_top1": last if held_out_top1 is None else held_out_top1,
                "eta_s": round(pace_s * (self.total - state.step), 1),
            }
        )


def _refuse_misfits(method: Method, teacher: nn.Module | None, student: nn.Module, section: str) -> None:
    if method.needs_teacher and teacher is None:
        raise InputError("this method needs a teacher", where=section, seen=type(method).__name__, fix="give one, or use label")
    if method.taps:
        raise InputError("the loop collects no features", where=section, seen=f"taps {method.taps} of {type(method).__name__}")
    if not any(weight.requires_grad for weight in student.parameters()):
        raise InputError("the network has no parameter to train", where=section, fix=f"set {section}.tune: all")


def _reading_interval(device: torch.device) -> int:
    """Steps between two looks at numbers on the device; on a CPU a look costs nothing."""
    return 1 if device.type == "cpu" else STEPS_BETWEEN_READS_ON_GPU


def _train_mode(student: nn.Module) -> None:
    """Train mode, except for modules all of whose parameters are frozen: their BatchNorm statistics belong to their weights."""
    student.train()
    for module in student.modules():
        own = list(module.parameters())
        if own and not any(weight.requires_grad for weight in own):
            module.eval()


def _on(device: torch.device, images_BCHW: Tensor) -> Tensor:
    return images_BCHW.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
