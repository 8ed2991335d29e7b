"""One feedback step: what it changes, and that the teacher's gradient is exactly that of the formula, written here once more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill import FFKD, Course, cka
from edgekd.distill.feedback import STREAM, Feedback
from edgekd.distill.guard import GuardedStep

TAPS = (("2", "2"), ("5", "5"))
UNDERSTOOD = torch.tensor([[0.9, 0.2], [0.3, 0.6]])
OPEN = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # below each student's mean


class Spy(GuardedStep):
    """Keeps the gradients it is given, unclipped, and takes no step."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, momentum=0.0, weight_decay=0.0, gradient_norm=None)
        self.seen: list[Tensor | None] = []

    def step(self, loss: Tensor, at: int) -> None:
        self.loss, self.seen = loss, [weight.grad for weight in self.parameters]


@pytest.fixture
def lesson(network, more_batches, batches) -> Callable[..., tuple[Feedback, FFKD]]:
    """A method that has begun with these students and a teacher of 12 channels, and its feedback."""

    def begin(students: tuple[nn.Module, ...], *, teacher: nn.Module | None = None, **options: Any) -> tuple[Feedback, FFKD]:
        method = FFKD(**{"students": len(students), "taps": TAPS, "temperature": 3.0, "feedback_batch_share": 1.0} | options)
        teacher = teacher or network(seed=7, width=12)
        course = Course(
            students, teacher, torch.device("cpu"), next(iter(batches))[0]["weak"][:1], 10, lambda step: 0.1,
            lambda parameters, norm: Spy(parameters), lambda network: 0.5, 200, more_batches, nullcontext,
        )  # fmt: skip
        torch.manual_seed(3)
        method.begin(course)
        regressors = [one for which in range(len(students)) if (one := method.auxiliary(which)) is not None]
        for regressor in regressors:
            torch.manual_seed(4)
            for module in regressor.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.uniform_(-0.1, 0.1)
        return Feedback(method, course, method.pairs(), regressors), method

    return begin


def maps_of(network: nn.Sequential, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first = network[:3](images)
    second = network[3:6](first)
    return network[6:](second), first, second


def by_formula(
    method: FFKD, students: tuple[nn.Module, ...], teacher: nn.Module, images: Tensor, labels: Tensor, weights: list[float]
) -> tuple[Tensor, list[Tensor]]:
    """L_fb of docs/ffkd.md in float64 and its gradient by every weight of the teacher; weights: of each student's logits."""
    teacher, images, temperature = copy.deepcopy(teacher).double().eval(), images.double(), method.temperature
    logits, *maps = maps_of(teacher, images)
    total = F.cross_entropy(logits, labels)
    for which, student in enumerate(students):
        student = copy.deepcopy(student).double().eval()
        regressors = copy.deepcopy(method.auxiliary(which)).double().eval()
        with torch.no_grad():
            answers, *theirs = maps_of(student, images)
            theirs = [regressor(one) for regressor, one in zip(regressors, theirs, strict=True)]
        q, log_p = torch.softmax(answers / temperature, 1), torch.log_softmax(logits / temperature, 1)
        total = total + weights[which] / len(students) * temperature**2 * (q * (q.log() - log_p)).sum(1).mean()
        for block in range(2):
            q = torch.softmax(theirs[block].flatten(2) / temperature, 2)
            log_p = torch.log_softmax(maps[block].flatten(2) / temperature, 2)
            channel = temperature**2 * (q * (q.log() - log_p)).sum(2).mean()
            total = total + OPEN[which, block] / OPEN[which].sum() / len(students) * channel
    return total, list(torch.autograd.grad(total, list(teacher.parameters())))


def next_of(more_batches: Any) -> tuple[Tensor, Tensor]:
    views, labels = next(iter(more_batches(STREAM, 1.0)))
    return views["weak"], labels


def assert_gradients(feedback: Feedback, expected: list[Tensor]) -> None:
    for mine, exact in zip(feedback.optimiser.seen, expected, strict=True):
        assert (mine - exact).norm() <= 1e-4 * exact.norm() + 1e-7


@pytest.mark.parametrize("weighting", ["gap", "understanding", "none"])
def test_the_teachers_gradient_is_that_of_the_formula(weighting: str, lesson, network, more_batches) -> None:
    students = (network(seed=1), network(seed=2))
    feedback, method = lesson(students, feedback_weighting=weighting, feedback_conflict_gate=False)
    images, labels = next_of(more_batches)
    with torch.no_grad():
        answers = [maps_of(one.eval(), images)[0] for one in (feedback.teacher, *students)]
    understood = [cka(answers[0], one).item() for one in answers[1:]]
    weights = {"gap": [1 - one for one in understood], "understanding": understood, "none": [1.0, 1.0]}[weighting]
    loss, expected = by_formula(method, students, feedback.teacher, images, labels, weights)
    seen = feedback.step(UNDERSTOOD)
    assert_gradients(feedback, expected)
    assert feedback.optimiser.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert (seen["feedback.ce"] + seen["feedback.kd"] + seen["feedback.channel"]).item() == pytest.approx(loss.item(), rel=1e-5)


def test_a_step_of_the_teacher_changes_no_bit_of_students_and_regressors_nor_their_modes(lesson, network) -> None:
    student = network(seed=1).train()
    student[1].eval()  # as a frozen part is kept
    feedback, method = lesson((student,))
    regressors = method.auxiliary(0)
    assert regressors is not None
    before = [copy.deepcopy(one.state_dict()) for one in (student, regressors)]
    statistics = {name: tensor.clone() for name, tensor in feedback.teacher.named_buffers()}
    feedback.step(UNDERSTOOD[:1])
    for one, was in zip((student, regressors), before, strict=True):
        assert all(torch.equal(tensor, was[name]) for name, tensor in one.state_dict().items())
        assert all(weight.grad is None for weight in one.parameters())
    assert [module.training for module in student] == [name != 1 for name in range(len(student))]
    assert regressors.training
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in feedback.teacher.named_buffers())
    assert all(weight.grad is None for weight in feedback.teacher.parameters())  # after the step


def test_the_order_of_the_students_does_not_matter(lesson, network, more_batches) -> None:
    students = (network(seed=1), network(seed=2))
    seen = []
    for order in ((0, 1), (1, 0)):
        feedback, _ = lesson(tuple(students[which] for which in order))
        feedback.step(UNDERSTOOD[list(order)])
        seen.append(feedback.optimiser)
    assert seen[0].loss.item() == pytest.approx(seen[1].loss.item(), rel=1e-6)
    for one, other in zip(seen[0].seen, seen[1].seen, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Affine(nn.Module):
    """A student that says what the teacher says, on another scale and from another zero."""

    def __init__(self, teacher: nn.Module, factor: float) -> None:
        super().__init__()
        self.teacher, self.factor = copy.deepcopy(teacher).requires_grad_(False), factor
        self.row = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.teacher(images) + self.row


def test_a_student_that_understood_everything_leaves_cross_entropy_alone(lesson, network, more_batches) -> None:
    teacher = network(seed=7, width=12)
    images, labels = next_of(more_batches)
    feedback, _ = lesson((Affine(teacher, -3.0),), teacher=teacher, taps=())
    loss = F.cross_entropy(teacher.eval()(images), labels)
    expected = list(torch.autograd.grad(loss, list(teacher.parameters())))
    seen = feedback.step(torch.empty(1, 0))
    assert seen["feedback.understood"].item() == pytest.approx(1.0, abs=1e-5)
    assert seen["feedback.kd"].item() == pytest.approx(0.0, abs=1e-4)
    for mine, exact in zip(feedback.optimiser.seen, expected, strict=True):
        assert (mine - exact).norm() <= 1e-3 * exact.norm() + 1e-6


def test_a_student_that_always_says_the_same_understands_nothing_and_breaks_nothing(lesson, network) -> None:
    teacher = network(seed=7, width=12)
    feedback, _ = lesson((Affine(teacher, 0.0),), teacher=teacher, taps=(), feedback_conflict_gate=False)
    seen = feedback.step(torch.empty(1, 0))
    assert seen["feedback.understood"].item() == 0.0
    assert seen["feedback.kd"].item() > 0
    assert all(gradient.isfinite().all() for gradient in feedback.optimiser.seen)


def test_advice_against_the_labels_is_dropped(lesson, network, more_batches) -> None:
    """A student sure of a wrong class is not heard by a teacher that knows better; without the gate it is."""
    teacher = network(seed=7, width=12)

    class Wrong(Affine):
        def forward(self, images: Tensor) -> Tensor:
            return -40.0 * self.row[0] * super().forward(images)

    for gated, kept in ((True, 0.0), (False, 1.0)):
        known = copy.deepcopy(teacher)
        optimiser = torch.optim.SGD(known.parameters(), lr=0.1, momentum=0.9)
        images, labels = next_of(more_batches)
        for _ in range(30):
            optimiser.zero_grad()
            F.cross_entropy(known.eval()(images), labels).backward()
            optimiser.step()
        feedback, _ = lesson((Wrong(known, 1.0),), teacher=known, taps=(), feedback_conflict_gate=gated)
        seen = feedback.step(torch.empty(1, 0))
        assert (seen["feedback.kd"].item() > 0) == bool(kept)


def test_the_anchor_holds_the_teacher_where_it_was(lesson, network) -> None:
    feedback, _ = lesson((network(seed=1),), feedback_anchor_weight=2.0)
    assert feedback.step(UNDERSTOOD[:1])["feedback.anchor"].item() == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        feedback.teacher[-1].weight.add_(0.5 * torch.randn_like(feedback.teacher[-1].weight))
    assert feedback.step(UNDERSTOOD[:1])["feedback.anchor"].item() > 1e-3


def test_advice_on_blocks_below_the_part_that_learns_is_not_given(lesson, network) -> None:
    feedback, _ = lesson((network(seed=1),), feedback_tunes="head", feedback_block_gate=False)
    seen = feedback.step(UNDERSTOOD[:1])
    assert seen["feedback.channel"].item() == 0.0
    assert "feedback.channel_kept" not in seen


def test_batches_too_small_to_understand_by_are_refused(lesson, network, batches) -> None:
    feedback, _ = lesson((network(seed=1),))
    views, labels = next(iter(batches))
    feedback._drawn = iter([({"weak": views["weak"][:3]}, labels[:3])])
    with pytest.raises(InputError, match="at least four"):
        feedback.step(UNDERSTOOD[:1])
