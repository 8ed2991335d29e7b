"""FFKD's feedback phase: now and then the students are examined, and their teacher takes a step by what they answer.

Sources and what of it is ours: docs/ffkd.md. One step costs a forward pass of each student, and a forward and a backward pass
of the teacher, on a batch of its own that is smaller than the students'.
Shape suffixes in this file: B batch, C classes, K students, N pairs of modules.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill import parallel
from edgekd.distill.channel import channel_loss
from edgekd.distill.cka import cka
from edgekd.distill.gates import advice_weight, advise, agrees_with_labels, block_gate
from edgekd.distill.kd import kd_loss
from edgekd.distill.maps import tapped
from edgekd.distill.method import Course, Tap, in_full
from edgekd.distill.modes import answering, train_mode
from edgekd.distill.rollback import Rollback
from edgekd.distill.taps import head_and_tail
from edgekd.distill.training import Batches, copies, put_back

if TYPE_CHECKING:
    from edgekd.distill.ffkd import FFKD

STREAM = 1  # number of the stream its batches come from; the students' is 0
SEED_APART = 500_009  # of the teacher's dropout from the students': ours, a prime


@dataclass(frozen=True)
class Advice:
    """What one student says of a batch, in eval mode and without a graph: logits [B, C], and its maps as the teacher's."""

    logits: Tensor
    maps: tuple[Tensor, ...]


class Feedback:
    """The teacher's side of FFKD. regressors: of each student, in the order of ``taps``; empty without taps."""

    def __init__(self, options: FFKD, course: Course, taps: Sequence[Tap], regressors: Sequence[nn.ModuleList]) -> None:
        if course.teacher is None or course.more_batches is None:
            raise InputError("feedback needs a teacher and batches of its own", where="distill", fix="feedback_every: 0")
        self.options, self.course, self.teacher = options, course, course.teacher
        self.taps, self.regressors = tuple(taps), tuple(regressors)
        self.original = copy.deepcopy(self.teacher).requires_grad_(False) if options.feedback_anchor_weight > 0 else None
        _freeze_all_but(options.feedback_tunes, self.teacher, course.images_1)
        self.optimiser = course.optimiser(self.teacher.parameters(), options.feedback_gradient_norm)
        self.rollback = Rollback(self.teacher, self.optimiser, course.evaluate, course.held_out_images)
        self.batches: Batches = course.more_batches(STREAM, options.feedback_batch_share)
        self._drawn = _endless(self.batches)
        self.since_restored = 0  # steps since the beginning, or since the best teacher came back
        self.unseen = 0  # steps since the teacher was looked at
        self.top1 = 0.0  # what was seen then, before a damaged one was taken away
        self.steps_of_epoch = 0
        self.events: list[dict[str, Any]] = []  # of this epoch

    def after(self, step: int, understood_KN: Tensor) -> dict[str, Tensor]:
        """Called after each step of the students, with the number of steps done; takes the teacher's if it is its turn.

        With rollback the teacher is looked at after 1, 2, 4, 8, … steps: a single one can ruin it, and students
        must not learn from that. A whole training has few such looks, each as dear as the one in ``end_of_epoch``.
        """
        options, share = self.options, step / self.course.steps
        its_turn = step % options.feedback_every == 0 and options.feedback_start <= share < options.feedback_stop
        if not its_turn or self.rollback.over:
            return {}
        if options.feedback_rollback and self.rollback.best_top1 is None:
            self.rollback.check()
        self.optimiser.set_rate(options.feedback_learning_rate * self.rollback.rate_factor * self.course.rate(step - 1))
        seen = self.step(understood_KN, step)
        self.since_restored += 1
        self.unseen += 1
        self.steps_of_epoch += 1
        if options.feedback_rollback and self.since_restored.bit_count() == 1:  # a power of two
            self._look(step)
        return seen

    def step(self, understood_KN: Tensor, at: int = 0) -> dict[str, Tensor]:
        """One step of the teacher on the next batch of its own stream. understood_KN: CKA of each block, [K, 0] without taps."""
        options = self.options
        views, labels_B = next(self._drawn)
        device = self.course.device
        images = views["weak"].to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        labels_B = parallel.gathered(labels_B.to(device, non_blocking=True))
        heard = options.feedback_kd_weight > 0 or options.feedback_channel_weight > 0
        advice = [self._ask(which, images) for which in range(len(self.course.students))] if heard else []
        if options.feedback_batch_norm == "train":
            train_mode(self.teacher)
        else:
            self.teacher.eval()
        draws = parallel.own_draws(self.course.seed + SEED_APART, at, device)
        with tapped(self.teacher, [tap.teacher for tap in self.taps]) as maps, self.course.autocast(), draws:
            teacher_BC = parallel.joined(in_full(self.teacher(images)))
        losses = {"ce": options.feedback_ce_weight * F.cross_entropy(teacher_BC, labels_B)}
        seen: dict[str, Tensor] = {}
        if options.feedback_kd_weight > 0:
            losses["kd"] = options.feedback_kd_weight * self._of_logits(teacher_BC, advice, labels_B, seen)
        if self.original is not None:
            with torch.no_grad(), self.course.autocast():
                original_BC = parallel.gathered(in_full(self.original.eval()(images)))
            losses["anchor"] = options.feedback_anchor_weight * kd_loss(teacher_BC, original_BC, temperature=options.temperature)
        loss = torch.stack(list(losses.values())).sum()
        kept: list[Tensor] = []
        if self.taps and options.feedback_channel_weight > 0:
            losses["channel"] = self._of_maps(maps, advice, understood_KN, kept)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        parallel.sum_gradients(self.teacher)
        self.optimiser.step(torch.stack([value.detach() for value in losses.values()]).sum(), at)
        self.optimiser.zero_grad()
        if kept:
            seen["channel_kept"] = torch.stack(kept).mean()
        return {f"feedback.{name}": value.detach() for name, value in (losses | seen).items()}

    @torch.no_grad()
    def _ask(self, which: int, images: Tensor) -> Advice:
        student, regressors = self.course.students[which], self.regressors[which] if self.taps else nn.ModuleList()
        with answering(student, regressors), tapped(student, [tap.student for tap in self.taps]) as maps:
            with self.course.autocast():
                logits_BC = parallel.gathered(in_full(student(images)))
            if self.options.feedback_channel_weight == 0:
                return Advice(logits_BC, ())
            pairs = zip(self.taps, regressors, strict=True)
            return Advice(logits_BC, tuple(regressor(in_full(maps[tap.student])) for tap, regressor in pairs))

    def _of_logits(self, teacher_BC: Tensor, advice: Sequence[Advice], labels_B: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """Mean over the students of T² · KL(student ‖ teacher), each weighted by its understanding and gated."""
        options, answers_BC = self.options, teacher_BC.detach()
        understood = torch.stack([cka(answers_BC, one.logits, unbiased=options.cka != "biased") for one in advice])
        weights = advice_weight(understood.roll(1) if options.cka == "shuffled" else understood, options.feedback_weighting)
        if options.feedback_conflict_gate:
            gates = [agrees_with_labels(answers_BC, one.logits, labels_B, temperature=options.temperature) for one in advice]
            weights = weights * torch.stack(gates)
            seen["kd_kept"] = torch.stack(gates).mean()
        seen["understood"] = understood.mean()
        losses = torch.stack([kd_loss(teacher_BC, one.logits, temperature=options.temperature) for one in advice])
        return (weights * losses).mean()

    def _of_maps(self, maps: Mapping[str, Tensor], advice: Sequence[Advice], understood_KN: Tensor, kept: list[Tensor]) -> Tensor:
        """The channel losses of the badly understood blocks; their gradients wait at the teacher's maps for the backward pass."""
        options = self.options
        gated = options.feedback_block_gate and options.cka != "off"
        open_KN = block_gate(understood_KN) if gated else torch.ones_like(understood_KN)
        if not options.blocks_add_up:
            open_KN = open_KN / open_KN.sum(1, keepdim=True).clamp(min=1.0)
        weights_KN = options.feedback_channel_weight / len(advice) * open_KN
        total = torch.zeros((), device=self.course.device)
        for block, tap in enumerate(self.taps):
            output = maps[tap.teacher]
            if not output.requires_grad:  # below the part that is trained
                continue
            gradients: list[Tensor] = []
            for which, one in enumerate(advice):
                here = in_full(output.detach()).requires_grad_()
                apart = channel_loss(here, one.maps[block], temperature=options.temperature)
                loss = weights_KN[which, block] * parallel.averaged(apart)
                gradients += torch.autograd.grad(loss, here)
                total = total + loss.detach()
            advise(output, gradients, gated=options.feedback_conflict_gate, heard=kept.append)
        return total

    def _look(self, step: int) -> None:
        seen = self.rollback.check()
        self.unseen, self.top1 = 0, float(seen["teacher_top1"])
        if seen["rollback"]:
            self.since_restored = 0
            self.events.append({"step": step, **seen})

    def _require_sound(self) -> None:
        if self.rollback.broke():
            rate = self.options.feedback_learning_rate
            raise InputError(
                "the teacher's training diverged: feedback left it with a loss or numbers that are not finite",
                where="distill",
                fix=f"lower feedback_learning_rate (now {rate:g}), or feedback_rollback: true",
            )

    def end_of_epoch(self, step: int) -> dict[str, Any]:
        """Look at the teacher if it took steps since; after the last epoch the best one stays. Returns what happened.

        Raises InputError: without rollback, it met or holds a number that is not finite.
        """
        entry: dict[str, Any] = {}
        if self.unseen and self.options.feedback_rollback:
            self._look(step)
        elif self.unseen:
            self._require_sound()
            self.top1 = self.rollback.top1()
        if self.steps_of_epoch:
            entry = {"teacher_top1": self.top1, "feedback_steps": self.steps_of_epoch}
        if self.events:
            entry["rollbacks"] = self.events
        self.events, self.unseen, self.steps_of_epoch = [], 0, 0
        if step >= self.course.steps and self.rollback.best_state:
            self.rollback.bring_back()
        return entry

    def state_dict(self) -> dict[str, Any]:
        return {
            "teacher": copies(self.teacher.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "broke": bool(self.optimiser.tripped),
            "rollback": self.rollback.state_dict(),
            "batches": self.batches.state_dict(),
            "counts": [self.since_restored, self.unseen, self.steps_of_epoch],
            "top1": self.top1,
            "events": [dict(event) for event in self.events],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        put_back(self.teacher, state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.optimiser.tripped.fill_(float(state["broke"]))
        self.rollback.load_state_dict(state["rollback"])
        self.batches.load_state_dict(state["batches"])
        self._drawn = _endless(self.batches)
        self.since_restored, self.unseen, self.steps_of_epoch = state["counts"]
        self.top1 = state["top1"]
        self.events = [dict(event) for event in state["events"]]


def _endless(batches: Batches) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """One epoch after the other."""
    while True:
        yield from batches


def _freeze_all_but(part: str, teacher: nn.Module, image_13HW: Tensor) -> None:
    if part == "all":
        return
    head, tail = head_and_tail(teacher, image_13HW)
    wanted = {id(weight) for weight in (head if part == "head" else tail)}
    for weight in teacher.parameters():
        weight.requires_grad_(weight.requires_grad and id(weight) in wanted)
