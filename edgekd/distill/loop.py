"""The one training loop, for every method and for the teacher: draw a batch, forward, loss, backward, check, step, log; after
each epoch measure on held-out images and keep the best. Several students may train side by side on the same batches.

On a GPU nothing in a step waits for it: sums and the check for a finite loss stay there and are read every 20 steps.
Shape suffixes in this file: B batch, C classes, H W picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill import parallel
from edgekd.distill.guard import GuardedStep
from edgekd.distill.maps import tapped
from edgekd.distill.method import Batch, Course, Method, Tap, in_full
from edgekd.distill.modes import train_mode
from edgekd.distill.norms import norms_of_all
from edgekd.distill.progress import Progress
from edgekd.distill.schedule import learning_rate_factor
from edgekd.distill.teacher import FrozenTeacher, in_bf16
from edgekd.distill.tiny_maps import quick_tiny_maps
from edgekd.distill.training import Batches, Learner, Training
from edgekd.distill.views import answers

STEPS_BETWEEN_READS_ON_GPU = 20


@dataclass(frozen=True)
class FitResult:
    """Of the best student by held-out accuracy, the first of equals."""

    best_state: dict[str, Tensor]  # its state_dict after its best epoch; contiguous
    best_epoch: int  # counted from 1
    best_top1: float  # on held-out images, in [0, 1]
    curves: dict[str, Any]  # curves.json: {"epochs": […], "best_epoch", "logged": {name: [mean of each epoch, or null]}}
    which: int = 0  # of the students


def fit(
    students: nn.Module | Sequence[nn.Module],
    method: Method,
    batches: Batches,
    *,
    evaluate: Callable[[nn.Module], float],
    epochs: int,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup: float = 0.05,
    milestones: Sequence[float] = (),
    gradient_norm: float | None = 5.0,
    teacher: nn.Module | None = None,
    more_batches: Callable[[int, float], Batches] | None = None,
    held_out_images: int = 0,
    precision: Literal["fp32", "bf16"] = "fp32",
    seed: int = 0,
    section: str = "distill",
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    before_step: Callable[[int], None] | None = None,
    after_step: Callable[[Training], None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train ``students`` in place, where they are (CPU or GPU), by SGD with momentum; their weights end as the last epoch left
    them. As many as the method wants; so is a ``teacher`` that learns.

    evaluate: top-1 in [0, 1] on the *held-out* images of a network in eval mode, without gradients; the best epoch is chosen by
    it. held_out_images: how many those are. warmup: share of training over which the learning rate rises, before it falls along a
    cosine to 0, or to a tenth at each of the ``milestones`` (shares too). gradient_norm: gradients above are scaled down to it.
    more_batches: further streams like ``batches`` in another order, by number and share of the batch, for methods that need them.
    precision: of the networks' forward passes; losses are in float32. seed: for torch's global generators (dropout); ``batches``
    has its own. section: the recipe's section this training belongs to, for messages. on_progress gets ``{"done", "total"``
    (steps)``, "loss", "held_out_top1"`` (None before the first epoch is over)``, "eta_s"}``. before_step gets the number of steps
    done. after_step gets the state after every step (after an epoch's last one, when that is measured and logged too); it may
    keep ``state_dict()``, and ``resume`` takes one to go on from.
    Raises InputError: a loss or gradient that is not finite (no weight has changed in that step or after it; BatchNorm's running
    statistics may have), a best epoch with numbers that are not, a view or the teacher the method needs is missing.
    """
    networks = (students,) if isinstance(students, nn.Module) else tuple(students)
    _refuse_misfits(method, teacher, networks, section)
    torch.manual_seed(seed)
    for network in (*networks, *([teacher] if teacher is not None else [])):
        network.to(memory_format=torch.channels_last)
    device, steps = next(networks[0].parameters()).device, epochs * len(batches)

    def rate(step: int) -> float:
        return learning_rate * learning_rate_factor(step, steps, warmup, milestones)

    def optimiser(parameters: Any, norm: float | None) -> GuardedStep:
        return GuardedStep(parameters, momentum=momentum, weight_decay=weight_decay, gradient_norm=norm)

    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")
    if type(method).begin is not Method.begin:
        method.begin(
            Course(
                networks, teacher, device, _one_of(batches, method, device), steps, rate, optimiser,
                evaluate, held_out_images, more_batches, autocast, seed,
            )
        )  # fmt: skip
    learners = []
    for which, network in enumerate(networks):
        auxiliary = method.auxiliary(which)
        trained = [*network.parameters(), *(auxiliary.parameters() if auxiliary is not None else ())]
        learners.append(Learner(network, auxiliary, optimiser(trained, gradient_norm)))
    state = Training(tuple(learners), method, batches)
    if resume is not None:
        state.load_state_dict(resume)
    state.require_finite = partial(_require_finite, state, section, learning_rate)
    progress = Progress(state, steps, on_progress)
    read_every = _reading_interval(device)

    if teacher is not None and precision == "bf16" and not method.teacher_learns:
        teacher = in_bf16(teacher)
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(quick_tiny_maps(*networks, *([teacher] if teacher is not None else [])))
        trained = [network for one in learners for network in (one.network, one.auxiliary) if network is not None]
        stack.enter_context(norms_of_all(*trained, *([teacher] if teacher is not None and method.teacher_learns else [])))
        step = _Step(state, teacher, autocast, seed, stack)
        for epoch in range(state.step // len(batches) + 1, epochs + 1):
            for network in networks:
                train_mode(network)
            for views, labels_B in batches:
                if before_step is not None:
                    before_step(state.step)
                step.take(views, labels_B, epoch / epochs, rate(state.step))
                if state.step % read_every == 0:
                    state.require_finite()
                    progress.tell()
                if after_step is not None and state.step < epoch * len(batches):
                    after_step(state)
            if state.step != epoch * len(batches):
                seen = f"{state.step - (epoch - 1) * len(batches)} batches"
                raise InputError(f"an epoch did not have the {len(batches)} batches announced", where=section, seen=seen)
            state.require_finite()
            _end_epoch(state, epoch, rate(state.step - 1), evaluate)
            progress.tell()
            if after_step is not None:
                after_step(state)
    best = max(state.learners, key=lambda learner: learner.best_top1)
    _require_usable(best.best_state, section, learning_rate)
    curves = {"epochs": state.epochs, "best_epoch": best.best_epoch, "logged": state.logged}
    return FitResult(best.best_state, best.best_epoch, best.best_top1, curves, state.learners.index(best))


class _Step:
    """One step of every student on the same batch, then the method's own of the teacher."""

    def __init__(
        self, state: Training, teacher: nn.Module | None, autocast: Callable[[], Any], seed: int, stack: ExitStack
    ) -> None:
        self.state, self.autocast, self.seed = state, autocast, seed
        self.students = [parallel.replicated(one.network) for one in state.learners]
        method = state.method
        self.teacher = FrozenTeacher(teacher) if teacher is not None and method.needs_teacher else None
        taps: tuple[Tap, ...] = method.pairs()
        if taps and len(method.views) > 1:  # the views may come through the networks one after another
            raise InputError(
                "a method that looks into networks has one view", where=type(method).__name__, seen=str(method.views)
            )
        self.student_maps = [stack.enter_context(tapped(one.network, [tap.student for tap in taps])) for one in state.learners]
        self.teacher_maps: dict[str, Tensor] = {}
        if self.teacher is not None:
            self.teacher_maps = stack.enter_context(tapped(self.teacher.network, [tap.teacher for tap in taps]))

    def take(self, views: Mapping[str, Tensor], labels_B: Tensor, progress: float, rate: float) -> None:
        state, method = self.state, self.state.method
        for view in method.views:
            if view not in views:
                raise InputError(f"the batches have no view {view!r}", where=type(method).__name__, seen=", ".join(views))
        images = {view: _on(state.device, views[view]) for view in method.views}
        labels_B = labels_B.to(state.device, non_blocking=True)
        of_teacher: dict[str, Tensor] = {}
        if self.teacher is not None:
            with self.autocast():
                of_teacher = _of_all(self.teacher.logits(images))
        teacher_maps = _of_weak_view(self.teacher_maps, len(labels_B))
        for which, learner in enumerate(state.learners):
            draws = state.step * len(state.learners) + which
            with self.autocast(), parallel.own_draws(self.seed, draws, state.device):
                of_student = _of_all({view: in_full(logits) for view, logits in answers(self.students[which], images).items()})
            student_maps = _of_weak_view(self.student_maps[which], len(labels_B))
            batch = Batch(parallel.gathered(labels_B), of_student, of_teacher, progress, which, student_maps, teacher_maps)
            losses = method.student_loss(batch)
            loss = torch.stack(list(losses.values())).sum()
            learner.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            parallel.sum_gradients(learner.auxiliary)
            learner.optimiser.set_rate(rate)
            learner.optimiser.step(loss.detach(), at=state.step)
            seen = {f"loss.{name}": value.detach() for name, value in losses.items()} | {"loss": loss.detach()}
            state.sums.add(seen | method.observe(batch))
        state.step += 1
        state.sums.add(method.teacher_step(state.step))


def _end_epoch(state: Training, epoch: int, rate: float, evaluate: Callable[[nn.Module], float]) -> None:
    accuracies = []
    for learner in state.learners:
        learner.network.eval()
        with torch.no_grad():
            top1 = float(evaluate(learner.network))
        if not 0.0 <= top1 <= 1.0:
            raise InputError("the held-out accuracy is not a share", where=f"epoch {epoch}", seen=str(top1))
        learner.keep_if_best(epoch, top1)
        accuracies.append(top1)
    more = state.method.on_epoch_end(max(accuracies))
    means = state.sums.means()
    losses = {name.removeprefix("loss."): means.pop(name) for name in list(means) if name.startswith("loss.")}
    state.epochs.append(
        {
            "epoch": epoch,
            "loss": means.pop("loss"),
            "losses": losses,
            "lr": rate,
            "held_out_top1": max(accuracies),
            **({"students_top1": accuracies} if len(accuracies) > 1 else {}),
            **more,
            "seconds": round(time.monotonic() - state.epoch_began, 3),
            "cpu_seconds": round(
                parallel.summed(torch.tensor([time.process_time() - state.cpu_began], dtype=torch.float64)).item(), 3
            ),
        }
    )
    state.epoch_began, state.cpu_began = time.monotonic(), time.process_time()
    for name in means.keys() - state.logged.keys():
        state.logged[name] = [None] * (epoch - 1)
    for name, of_epochs in state.logged.items():
        mean = means.get(name)
        of_epochs.append(mean if mean is not None and math.isfinite(mean) else None)  # of a ruined teacher, say


def _require_finite(state: Training, section: str, learning_rate: float) -> None:
    """Raise if a student's step was refused; the one place that waits for the device."""
    for learner in state.learners:
        broke = learner.optimiser.broke_at()
        if broke is None:
            continue
        step, loss, norm = broke
        epoch, step_of_epoch = divmod(step, len(state.batches))
        raise InputError(
            "training diverged: the loss or its gradient is not finite; it stopped before that step",
            where=f"{section} epoch {epoch + 1} step {step_of_epoch + 1}",
            seen=f"loss {loss:.4g}, gradient norm {norm:.4g}",
            fix=f"lower {section}.learning_rate (now {learning_rate:g}), or raise {section}.warmup",
        )


def _require_usable(state: Mapping[str, Tensor], section: str, learning_rate: float) -> None:
    """Raise if a trained network holds a number that is not finite: running statistics may, whatever the losses were."""
    if broken := [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]:
        raise InputError(
            "training diverged: its best epoch holds numbers that are not finite",
            where=section,
            seen=", ".join(broken[:3]) + (" …" if len(broken) > 3 else ""),
            fix=f"lower {section}.learning_rate (now {learning_rate:g})",
        )


def _refuse_misfits(method: Method, teacher: nn.Module | None, networks: Sequence[nn.Module], section: str) -> None:
    if method.needs_teacher and teacher is None:
        raise InputError("this method needs a teacher", where=section, seen=type(method).__name__, fix="give one, or use label")
    if method.teacher_learns and teacher is not None and not any(one.requires_grad for one in teacher.parameters()):
        what = "this method trains its teacher, which has no parameter to train"
        raise InputError(what, where=section, seen=type(method).__name__, fix="a teacher with weights, or another method")
    if len(networks) != method.students:
        seen = f"{len(networks)} for {method.students}"
        raise InputError("not as many students as the method wants", where=section, seen=seen)
    if not all(any(weight.requires_grad for weight in network.parameters()) for network in networks):
        raise InputError("the network has no parameter to train", where=section, fix=f"set {section}.tune: all")


def _reading_interval(device: torch.device) -> int:
    """Steps between two looks at numbers on the device; on a CPU a look costs nothing."""
    return 1 if device.type == "cpu" else STEPS_BETWEEN_READS_ON_GPU


def _one_of(batches: Batches, method: Method, device: torch.device) -> Tensor:
    """One image of the stream, which stays where it is."""
    place = batches.state_dict()
    views, _ = next(iter(batches))
    batches.load_state_dict(place)
    return _on(device, views[method.views[0]][:1])


def _of_all(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the whole batch, in every process that has a share of it."""
    return {view: parallel.joined(rows) for view, rows in logits.items()}


def _of_weak_view(maps: Mapping[str, Tensor], batch: int) -> dict[str, Tensor]:
    """In float32. Networks that see all views at once see the weak one first."""
    return {name: in_full(one[:batch]) for name, one in maps.items()}


def _on(device: torch.device, images_BCHW: Tensor) -> Tensor:
    return images_BCHW.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
