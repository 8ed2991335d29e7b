"""Forward and feedback distillation (FFKD), as reconstructed: teach the students, examine them, let the teacher learn from it.

Source: Gou et al., "Reciprocal Teacher-Student Learning via Forward and Feedback Knowledge Distillation", IEEE Transactions on
Multimedia 26 (2024), of which the abstract is public. docs/ffkd.md says what is known of it, what follows public code that very
likely is its authors' own, and what is ours. The forward phase is here, the feedback phase in ``feedback``.
Shape suffixes in this file: B batch, C classes, K students, N pairs of modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill import parallel
from edgekd.distill.channel import Channel
from edgekd.distill.cka import cka, pooled
from edgekd.distill.feedback import Feedback
from edgekd.distill.gates import Weighting
from edgekd.distill.method import Batch, Course

REMEMBERED = 0.9  # of the understanding of a block, at each step: ours, a batch of 64 alone is noisy


@dataclass
class FFKD(Channel):
    """Forward: CE(z, y) + KL_T(teacher → student) + mean over blocks of c · channel loss, c the understanding of the block (CKA).
    Feedback, now and then: CE(z_T, y) + w · KL_T(student → teacher) + the channel losses of the badly understood blocks.

    Weights, gates and their defaults: docs/ffkd.md. feedback_every: 0 is off. feedback_start, feedback_stop: shares of training.
    feedback_learning_rate: times the students' rate of that step. feedback_batch_share: of the students' batch. feedback_tunes:
    which part of the teacher learns. cka: "biased" is the public code's estimator, on whole maps and without memory; "shuffled"
    gives each block, and each student's answers, a neighbour's understanding, forward and in the gates (a control; it changes
    nothing for a single block, nor for the answers of a single student); "off" takes every block as understood, and leaves
    all of them open to feedback.
    """

    blocks_add_up: ClassVar[bool] = False  # sums over blocks, where the others are means

    cka: Literal["unbiased", "biased", "shuffled", "off"] = "unbiased"
    students: int = 1
    feedback_every: int = 1
    feedback_start: float = 0.4
    feedback_stop: float = 0.85
    feedback_ce_weight: float = 1.0
    feedback_kd_weight: float = 1.0
    feedback_channel_weight: float = 1.0
    feedback_anchor_weight: float = 0.0
    feedback_weighting: Weighting = "gap"
    feedback_block_gate: bool = True
    feedback_conflict_gate: bool = True
    feedback_learning_rate: float = 0.2
    feedback_gradient_norm: float | None = 1.0
    feedback_batch_share: float = 0.3
    feedback_tunes: Literal["all", "tail", "head"] = "all"
    feedback_batch_norm: Literal["eval", "train"] = "eval"
    feedback_rollback: bool = True

    # CKA of each student's blocks, NaN: not seen yet
    _understood_KN: Tensor = field(init=False, repr=False, compare=False, default_factory=lambda: torch.empty(0))
    _feedback: Feedback | None = field(init=False, repr=False, compare=False, default=None)
    _step: int = field(init=False, repr=False, compare=False, default=0)

    @property
    def teacher_learns(self) -> bool:  # type: ignore[override]
        return self.feedback_every > 0

    def begin(self, course: Course) -> None:
        super().begin(course)
        self._understood_KN = torch.full((len(course.students), len(self._found.taps)), torch.nan, device=course.device)
        if self.teacher_learns:
            self._feedback = Feedback(self, course, self._found.taps, self._regressors)

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        """A teacher that was just ruined, and answers with what is no number, teaches nothing and is not compared with, until the
        best one comes back. The device is not waited for."""
        if self._feedback is None:
            return super().student_loss(batch)
        sound = torch.stack([logits_BC.isfinite().all() for logits_BC in batch.teacher.values()]).all()
        understood_N = self._understood_KN[batch.which]
        before_N = understood_N.clone()
        losses = super().student_loss(_taught_if(sound, batch))
        understood_N.copy_(torch.where(sound, understood_N, before_N))
        return losses | {name: torch.where(sound, losses[name], 0.0) for name in ("channel",) if name in losses}

    def over_blocks(self, losses_N: Tensor, batch: Batch) -> Tensor:
        weighted_N = self._understanding(batch) * losses_N
        return weighted_N.sum() if self.blocks_add_up else weighted_N.mean()

    @torch.no_grad()
    def _understanding(self, batch: Batch) -> Tensor:
        """CKA of each block's maps in the two networks, as remembered over the last steps; [N] in [0, 1]."""
        understood_N = self._understood_KN[batch.which]
        if self.cka == "off":
            return understood_N.fill_(1.0).clone()
        maps = [(batch.teacher_maps[tap.teacher], batch.student_maps[tap.student]) for tap in self._found.taps]
        if self.cka == "biased":
            return understood_N.copy_(torch.stack([self._alike(theirs, ours) for theirs, ours in maps])).clone()
        now_N = torch.stack([self._alike(pooled(theirs), pooled(ours)) for theirs, ours in maps])
        understood_N.copy_(torch.where(understood_N.isnan(), now_N, torch.lerp(now_N, understood_N, REMEMBERED)))
        return self._as_used(understood_N).clone()

    def _as_used(self, understood_N: Tensor) -> Tensor:
        """[…, N] as remembered: what weights and gates are given of it."""
        return understood_N.roll(1, -1) if self.cka == "shuffled" else understood_N

    def _alike(self, theirs: Tensor, ours: Tensor) -> Tensor:
        """CKA over the whole batch, also where this process has a share of it."""
        return cka(parallel.gathered(theirs), parallel.gathered(ours), unbiased=self.cka != "biased")

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """teacher_ce: on the students' batches. Feedback was found to be no use below 0.35, and of use above 0.8 to 1.3."""
        understood = {f"understood.{tap.teacher}": self._understood_KN[batch.which, n] for n, tap in enumerate(self._found.taps)}
        return {"teacher_ce": F.cross_entropy(batch.teacher["weak"], batch.labels_B), **understood}

    def teacher_step(self, step: int) -> dict[str, Tensor]:
        self._step = step
        return self._feedback.after(step, self._as_used(self._understood_KN)) if self._feedback is not None else {}

    def on_epoch_end(self, held_out_top1: float) -> dict[str, Any]:
        return self._feedback.end_of_epoch(self._step) if self._feedback is not None else {}

    def state_dict(self) -> dict[str, Any]:
        feedback = self._feedback.state_dict() if self._feedback is not None else {}
        return {"understood": self._understood_KN.clone(), "feedback": feedback}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._understood_KN.copy_(state["understood"])
        if self._feedback is not None:
            self._feedback.load_state_dict(state["feedback"])


def _taught_if(sound: Tensor, batch: Batch) -> Batch:
    """The same batch; if not, its teacher says what the student says, and its maps are finite."""
    logits = {view: torch.where(sound, one, batch.student[view].detach()) for view, one in batch.teacher.items()}
    maps = {name: torch.where(sound, one, 0.0) for name, one in batch.teacher_maps.items()}
    return replace(batch, teacher=logits, teacher_maps=maps)


@dataclass
class FFKDPublic(FFKD):
    """In the form of the public code: CKA as it is, constant weights, sums over blocks, BatchNorm that follows, no safeguards.

    It differs from that code in that one set of regressors serves both phases, and understanding is taken in the forward one.
    """

    blocks_add_up: ClassVar[bool] = True

    cka: Literal["unbiased", "biased", "shuffled", "off"] = "biased"
    feedback_start: float = 0.0
    feedback_stop: float = 1.0
    feedback_weighting: Weighting = "none"
    feedback_conflict_gate: bool = False
    feedback_learning_rate: float = 0.05
    feedback_gradient_norm: float | None = None
    feedback_batch_share: float = 1.0
    feedback_batch_norm: Literal["eval", "train"] = "train"
    feedback_rollback: bool = False


@dataclass
class FFKDAdapt(FFKD):
    """The teacher adapts to the students' pictures by cross-entropy alone; nothing is compared but logits."""

    channel_weight: float = 0.0
    feedback_start: float = 0.15
    feedback_kd_weight: float = 0.0
    feedback_channel_weight: float = 0.0
