"""Channel-wise distillation: each channel of a feature map says where it looks, and the student is taught to look there.

Source: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, section 3.2. The regressor (1×1
convolution, BatchNorm, ReLU) is what the public code of FFKD's successor puts on the student's maps.
Shape suffixes in this file: B batch, C classes, D channels, H W a map, P its pixels, N pairs of modules.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill import parallel
from edgekd.distill.kd import divergence, kd_loss
from edgekd.distill.method import Batch, Course, Method, Tap, in_full
from edgekd.distill.taps import Pairs, pair_up


def channel_loss(student_maps: Tensor, teacher_maps: Tensor, *, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) between softmaxes over the pixels of each channel, in nats, mean over channels and pictures.

    student_maps, teacher_maps: [B, D, H, W], the same shape; only the student's get a gradient. 0 exactly where the maps differ
    by a constant for each channel. Returns a scalar, float32 (float64 for float64 maps).
    """
    log_p_BDP, log_q_BDP = _looks(student_maps, temperature), _looks(teacher_maps, temperature)
    return temperature**2 * divergence(log_p_BDP, log_q_BDP).mean()


def _looks(maps_BDHW: Tensor, temperature: float) -> Tensor:
    """Where each channel looks: the logarithm of its softmax over the pixels."""
    return F.log_softmax(in_full(maps_BDHW).flatten(2) / temperature, 2)


class Regressor(nn.Module):
    """A student's map as the teacher would have it: its channels by a 1×1 convolution, its size by averaging or interpolating.

    It is trained with the student and thrown away with the training.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        """student, teacher: shapes (channels, rows, columns) of one picture's maps."""
        super().__init__()
        self.convolution = nn.Conv2d(student[0], teacher[0], 1, bias=False)
        self.norm = nn.BatchNorm2d(teacher[0])
        self.size = (teacher[1], teacher[2])

    def forward(self, maps: Tensor) -> Tensor:
        """[B, D', H', W'] of the student → [B, D, H, W] of the teacher's shape."""
        height, width = maps.shape[-2:]
        if height >= self.size[0] and width >= self.size[1] and (height, width) != self.size:
            maps = F.adaptive_avg_pool2d(maps, self.size)
        regressed = F.relu(self.norm(self.convolution(maps)))
        if regressed.shape[-2:] != self.size:
            regressed = F.interpolate(regressed, self.size, mode="bilinear", align_corners=False)
        return regressed


@dataclass
class Channel(Method):
    """Cross-entropy and soft targets as in ``kd``, and beside them the loss above, mean over the pairs of modules.

    taps: pairs (teacher's module, student's module), or "auto": see ``edgekd.distill.taps.pair_up``.
    """

    views: ClassVar[tuple[str, ...]] = ("weak",)

    temperature: float = 4.0
    ce_weight: float = 1.0
    kd_weight: float = 1.0
    channel_weight: float = 1.0
    taps: Literal["auto"] | tuple[tuple[str, str], ...] = "auto"

    _found: Pairs = field(init=False, repr=False, compare=False, default_factory=Pairs)
    # one for each student, or none
    _regressors: tuple[nn.ModuleList, ...] = field(init=False, repr=False, compare=False, default=())

    def begin(self, course: Course) -> None:
        """Find the pairs, and make the regressors: the same ones for each student, since only what they learn differs."""
        if self.channel_weight > 0 and course.teacher is not None:
            self._found = pair_up(course.teacher, course.students[0], course.images_1, self.taps)
        if not self._found.taps:
            return
        with torch.random.fork_rng(devices=[]):  # the random numbers of the training go on as those of a method without them
            made = nn.ModuleList(Regressor(student, teacher) for student, teacher in self._found.shapes)
        self._regressors = tuple(copy.deepcopy(made).to(course.device) for _ in course.students)

    def pairs(self) -> tuple[Tap, ...]:
        return self._found.taps

    def auxiliary(self, which: int) -> nn.Module | None:
        return self._regressors[which] if self._regressors else None

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        student_BC, teacher_BC = batch.student["weak"], batch.teacher["weak"]
        losses = {
            "ce": self.ce_weight * F.cross_entropy(student_BC, batch.labels_B),
            "kd": self.kd_weight * kd_loss(student_BC, teacher_BC, temperature=self.temperature),
        }
        if self._found.taps:
            losses["channel"] = self.channel_weight * self.over_blocks(self.block_losses(batch), batch)
        return losses

    def block_losses(self, batch: Batch) -> Tensor:
        """The channel loss of each pair, [n]."""
        losses = []
        for tap, regressor in zip(self._found.taps, self._regressors[batch.which], strict=True):
            ours, theirs = regressor(batch.student_maps[tap.student]), batch.teacher_maps[tap.teacher]
            losses.append(channel_loss(ours, theirs, temperature=self.temperature))
        return parallel.averaged(torch.stack(losses))

    def over_blocks(self, losses_N: Tensor, batch: Batch) -> Tensor:
        return losses_N.mean()
