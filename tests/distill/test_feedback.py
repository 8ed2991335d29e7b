"""One feedback step: what it changes, and that the teacher's gradient is exactly that of the formula, written here once more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill import FFKD, Batch, Course, FFKDPublic, cka
from edgekd.distill.feedback import STREAM, Feedback
from edgekd.distill.guard import GuardedStep

TAPS = (("0", "0"), ("2", "2"), ("5", "5"))
UNDERSTOOD = torch.tensor([[0.9, 0.2, 0.3], [0.3, 0.6, 0.2]])
OPEN = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])  # below each student's mean


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

    def begin(
        students: tuple[nn.Module, ...], *, teacher: nn.Module | None = None, kind: type[FFKD] = FFKD, stream: Any = more_batches,
        **options: Any,
    ) -> tuple[Feedback, FFKD]:  # fmt: skip
        method = kind(**{"students": len(students), "taps": TAPS, "temperature": 3.0, "feedback_batch_share": 1.0} | options)
        teacher = teacher or network(seed=7, width=12)
        course = Course(
            students, teacher, torch.device("cpu"), batches.pictures[:1], 10, lambda step: 0.1,
            lambda parameters, norm: Spy(parameters), lambda network: 0.5, 200, stream, nullcontext,
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


def maps_of(network: nn.Sequential, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    first = network[:1](images)
    second = network[1:3](first)
    third = network[3:6](second)
    return network[6:](third), first, second, third


def divergence(target: Tensor, given: Tensor, temperature: float) -> Tensor:
    """T² · KL between softmaxes over the last axis, mean over the others."""
    q, log_p = torch.softmax(target / temperature, -1), torch.log_softmax(given / temperature, -1)
    return temperature**2 * (q * (q.log() - log_p)).sum(-1).mean()


def by_formula(
    method: FFKD,
    students: tuple[nn.Module, ...],
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor,
    weights: list[float],
    sums: bool,
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
        total = total + weights[which] / len(students) * divergence(answers, logits, temperature)
        for block in range(3):
            channel = divergence(theirs[block].flatten(2), maps[block].flatten(2), temperature)
            total = total + OPEN[which, block] / (1 if sums else OPEN[which].sum()) / len(students) * channel
    return total, list(torch.autograd.grad(total, list(teacher.parameters())))


def next_of(more_batches: Any) -> tuple[Tensor, Tensor]:
    views, labels = next(iter(more_batches(STREAM, 1.0)))
    return views["weak"], labels


def told(teacher: nn.Module, images: Tensor, labels: Tensor, steps: int) -> nn.Module:
    """The teacher, after so many steps on these labels."""
    optimiser = torch.optim.SGD(teacher.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(teacher.eval()(images), labels).backward()
        optimiser.step()
    return teacher


def assert_gradients(feedback: Feedback, expected: list[Tensor]) -> None:
    for mine, exact in zip(feedback.optimiser.seen, expected, strict=True):
        assert (mine - exact).norm() <= 1e-4 * exact.norm() + 1e-7


@pytest.mark.parametrize(
    ("weighting", "alignment", "kind"),
    [
        ("gap", "unbiased", FFKD), ("understanding", "unbiased", FFKD), ("none", "unbiased", FFKD), ("gap", "biased", FFKD),
        ("gap", "shuffled", FFKD), ("none", "biased", FFKDPublic),
    ],
)  # fmt: skip
def test_the_teachers_gradient_is_that_of_the_formula(
    weighting: str, alignment: str, kind: type[FFKD], lesson, network, more_batches
) -> None:
    students = (network(seed=1), network(seed=2))
    options = {"feedback_weighting": weighting, "feedback_conflict_gate": False, "cka": alignment, "feedback_batch_norm": "eval"}
    feedback, method = lesson(students, kind=kind, **options)
    images, labels = next_of(more_batches)
    with torch.no_grad():
        answers = [maps_of(one.eval(), images)[0] for one in (feedback.teacher, *students)]
    understood = [cka(answers[0], one, unbiased=alignment != "biased").item() for one in answers[1:]]
    understood = understood[::-1] if alignment == "shuffled" else understood
    weights = {"gap": [1 - one for one in understood], "understanding": understood, "none": [1.0, 1.0]}[weighting]
    loss, expected = by_formula(method, students, feedback.teacher, images, labels, weights, kind is FFKDPublic)
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
        known = told(copy.deepcopy(teacher), *next_of(more_batches), steps=30)
        feedback, _ = lesson((Wrong(known, 1.0),), teacher=known, taps=(), feedback_conflict_gate=gated)
        seen = feedback.step(torch.empty(1, 0))
        assert (seen["feedback.kd"].item() > 0) == bool(kept)


def test_advice_on_maps_that_opposes_the_labels_is_dropped(lesson, network, more_batches) -> None:
    """A teacher that knows the labels is told by an untrained student to look everywhere alike."""
    for gated, kept in ((True, False), (False, True)):
        teacher = told(network(seed=7, width=12), *next_of(more_batches), steps=60)
        options = {"feedback_kd_weight": 0.0, "feedback_block_gate": False, "feedback_conflict_gate": gated}
        feedback, _ = lesson((network(seed=1),), teacher=teacher, **options)
        assert (feedback.step(UNDERSTOOD[:1])["feedback.channel_kept"].item() == 1.0) == kept


def understood_by_formula(one: Tensor, other: Tensor, unbiased: bool) -> Tensor:
    """Linear CKA of [B, …] features as the papers write it, in float64."""
    kernels = [features.flatten(1).double() @ features.flatten(1).double().T for features in (one, other)]
    b = len(one)
    if unbiased:
        kernels = [kernel - kernel.diag().diag() for kernel in kernels]
    else:
        centre = torch.eye(b, dtype=torch.float64) - 1 / b
        kernels = [centre @ kernel @ centre for kernel in kernels]

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741  the papers' names
        if not unbiased:
            return (k * l).sum()
        return (k * l).sum() + k.sum() * l.sum() / ((b - 1) * (b - 2)) - 2 / (b - 2) * (k @ l).sum()

    k, l = kernels  # noqa: E741
    return (hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()).clamp(0, 1)


def heard_by(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor) -> Batch:
    """A batch as the loop makes it."""
    with torch.no_grad():
        answers, *theirs = maps_of(teacher.eval(), images)
    logits, *ours = maps_of(student.eval(), images)
    names = [tap[0] for tap in TAPS]
    maps = (dict(zip(names, one, strict=True)) for one in (ours, theirs))
    return Batch(labels, {"weak": logits}, {"weak": answers}, 0.5, 0, *maps)


@pytest.mark.parametrize("alignment", ["unbiased", "shuffled", "off", "public"])
def test_the_students_gradient_is_that_of_the_formula(alignment: str, lesson, network, more_batches) -> None:
    """The understanding of a block: of this step in the public form, else nine tenths of what it was before."""
    student, teacher, public = network(seed=1), network(seed=7, width=12), alignment == "public"
    kind, options = (FFKDPublic, {}) if public else (FFKD, {"cka": alignment})
    _, method = lesson((student,), teacher=teacher, kind=kind, ce_weight=0.5, kd_weight=2.0, channel_weight=3.0, **options)
    drawn, understood = iter(more_batches(3, 1.0)), []
    for _ in range(2):
        views, labels = next(drawn)
        batch = heard_by(student, teacher, views["weak"], labels)
        regressors = copy.deepcopy(method.auxiliary(0)).double()
        losses = method.student_loss(batch)
        pairs = [(batch.teacher_maps[name], batch.student_maps[name].detach()) for name, _ in TAPS]
        if not public:
            pairs = [(theirs.mean((2, 3)), ours.mean((2, 3))) for theirs, ours in pairs]
        understood.append(torch.stack([understood_by_formula(theirs, ours, not public) for theirs, ours in pairs]))
    c = understood[1] if public else 0.9 * understood[0] + 0.1 * understood[1]
    assert (understood[0] - understood[1]).abs().max() > 0.02
    assert min((c[i] - c[j]).abs() for i, j in ((0, 1), (1, 2), (0, 2))) > 0.005
    c = {"shuffled": c.roll(1), "off": torch.ones(3)}.get(alignment, c)
    exact = copy.deepcopy(student).double().eval()
    logits, *maps = maps_of(exact, views["weak"].double())
    channels = [
        divergence(theirs.double().flatten(2), regressor(ours).flatten(2), method.temperature)
        for regressor, ours, theirs in zip(regressors, maps, batch.teacher_maps.values(), strict=True)
    ]
    of_blocks = (c * torch.stack(channels)).sum() / (1 if public else 3)
    taught = divergence(batch.teacher["weak"].double(), logits, method.temperature)
    expected = 0.5 * F.cross_entropy(logits, labels) + 2.0 * taught + 3.0 * of_blocks
    total = sum(losses.values())
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    mine, theirs = (torch.autograd.grad(loss, list(net.parameters())) for loss, net in ((total, student), (expected, exact)))
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-7


@pytest.mark.parametrize("alignment", ["unbiased", "biased", "off"])
def test_a_ruined_teacher_teaches_nothing_and_is_not_remembered(alignment: str, lesson, network, more_batches) -> None:
    student, teacher = network(seed=1), network(seed=7, width=12)
    _, method = lesson((student,), teacher=teacher, cka=alignment)
    images, labels = next_of(more_batches)
    method.student_loss(heard_by(student, teacher, images, labels))
    understood = method.state_dict()["understood"]
    with torch.no_grad():
        teacher[0].weight.fill_(torch.nan)
    losses = method.student_loss(heard_by(student, teacher, images, labels))
    assert losses["channel"].item() == 0.0
    losses["channel"].backward(retain_graph=True)
    losses["kd"].backward()
    assert all(weight.grad.abs().max() < 1e-6 for weight in student.parameters())
    assert all(weight.grad is None or not weight.grad.any() for weight in method.auxiliary(0).parameters())
    assert torch.equal(method.state_dict()["understood"], understood)


def test_the_shuffled_control_shuffles_what_the_gate_over_blocks_is_given(lesson, network) -> None:
    _, method = lesson((network(seed=1),), cka="shuffled")
    given = []
    method._understood_KN = UNDERSTOOD[:1].clone()
    method._feedback.after = lambda step, understood_KN: given.append(understood_KN) or {}
    method.teacher_step(1)
    assert given[0].tolist() == UNDERSTOOD[:1].roll(1, 1).tolist()
    assert torch.equal(method.state_dict()["understood"], UNDERSTOOD[:1])


def test_blocks_taken_as_understood_are_all_open_even_a_single_one(lesson, network) -> None:
    feedback, _ = lesson((network(seed=1),), taps=(("2", "2"),), cka="off", feedback_conflict_gate=False)
    assert feedback.step(torch.ones(1, 1))["feedback.channel"].item() > 0


def test_feedback_draws_a_share_of_a_batch_from_a_stream_that_is_not_the_students(lesson, network, more_batches) -> None:
    asked = []

    def stream(number: int, share: float) -> Any:
        asked.append((number, share))
        return more_batches(number, share)

    lesson((network(seed=1),), stream=stream, feedback_batch_share=0.625)
    assert {share for _, share in asked} == {0.625}
    assert all(number > 0 for number, _ in asked)


def test_a_checkpoint_between_epochs_keeps_damage_and_events(lesson, network) -> None:
    feedback, again = (lesson((network(seed=1),))[0] for _ in range(2))
    feedback.optimiser.tripped.fill_(1.0)
    feedback.events.append({"step": 7})
    again.load_state_dict(feedback.state_dict())
    assert again.rollback.broke()
    assert again.events == [{"step": 7}]


def test_a_teachers_dropout_is_drawn_by_each_process_for_itself(lesson, network, monkeypatch) -> None:
    drawn, inside = [], []

    @contextmanager
    def own_draws(seed: int, step: int, device: torch.device) -> Iterator[None]:
        drawn.append((seed, step))
        inside.append(True)
        yield
        inside.clear()

    feedback, _ = lesson((network(seed=1),), feedback_batch_norm="train")
    monkeypatch.setattr("edgekd.distill.parallel.own_draws", own_draws)
    seen = []
    feedback.teacher[7].register_forward_hook(lambda module, inputs, output: seen.append(module.training and bool(inside)))
    feedback.step(UNDERSTOOD[:1], 3)
    feedback.step(UNDERSTOOD[:1], 4)
    assert seen == [True, True]
    assert len(set(drawn)) == 2


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
