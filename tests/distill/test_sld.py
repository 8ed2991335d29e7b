from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import SLD, Batch, kd_loss, sld_loss, standardized, swap


def swap_by_rows(logits: Tensor, labels: Tensor) -> Tensor:
    """The definition, row by row, differentiable."""
    rows = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        order = list(range(len(row)))
        top = int(row.argmax())
        order[top], order[label] = order[label], order[top]
        rows.append(row[order])
    return torch.stack(rows)


def kl_by_hand(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    p, q = torch.softmax(student / temperature, 1), torch.softmax(target / temperature, 1)
    return temperature**2 * (q * torch.log(q / p)).sum() / len(student)


def reference(
    students: list[Tensor], teachers: list[Tensor], labels: Tensor, temperatures: tuple[float, ...], pseudo: bool, detach: bool
) -> Tensor:
    """SLD with loops and autograd, nothing shared with the code under test."""
    total = torch.zeros((), dtype=torch.float64)
    for s, t in zip(students, teachers, strict=True):
        total = total - 0.1 * torch.log(torch.softmax(s, 1))[range(len(labels)), labels].mean()
        for temperature in temperatures:
            total = total + 0.9 * kl_by_hand(s, swap_by_rows(t, labels), temperature)
            if pseudo:
                swapped = swap_by_rows(s, labels)
                total = total + 0.9 * kl_by_hand(s, swapped.detach() if detach else swapped, temperature)
    return total


def random_case(seed: int, rows: int, classes: int, views: int, scale: float) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Logits that float32 holds exactly, as float64."""
    draw = torch.Generator().manual_seed(seed)

    def logits() -> Tensor:
        return (scale * torch.randn(rows, classes, generator=draw)).double()

    return [logits() for _ in range(views)], [logits() for _ in range(views)], torch.randint(0, classes, (rows,), generator=draw)


def loss_and_gradients(loss: Tensor, students: list[Tensor]) -> tuple[Tensor, Tensor]:
    return loss.detach().double(), torch.stack(torch.autograd.grad(loss, students)).double()


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 9),
    classes=st.integers(2, 40),
    views=st.integers(1, 3),
    scale=st.floats(0.3, 8.0),
    temperatures=st.sampled_from([(1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (4.0,), (0.5, 10.0)]),
    pseudo=st.booleans(),
    detach=st.booleans(),
)
def test_loss_and_gradient_in_float32_equal_an_independent_computation_in_float64(
    seed: int, rows: int, classes: int, views: int, scale: float, temperatures: tuple[float, ...], pseudo: bool, detach: bool
) -> None:
    students, teachers, labels = random_case(seed, rows, classes, views, scale)
    exact_students = [s.requires_grad_() for s in students]
    loss, gradient = loss_and_gradients(reference(exact_students, teachers, labels, temperatures, pseudo, detach), exact_students)
    ours = [s.detach().float().requires_grad_() for s in students]
    options = {"temperatures": temperatures, "pseudo_teacher": pseudo, "detach_pseudo_teacher": detach}
    our_loss, our_gradient = loss_and_gradients(sld_loss(ours, [t.float() for t in teachers], labels, **options), ours)
    assert abs(our_loss - loss) <= 1e-5 * loss
    assert (our_gradient - gradient).norm() <= 1e-4 * gradient.norm()
    in_double = [s.detach().requires_grad_() for s in students]
    same_loss, same_gradient = loss_and_gradients(sld_loss(in_double, teachers, labels, **options), in_double)
    torch.testing.assert_close(same_loss, loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("classes", [100, 1000])
def test_float32_is_close_enough_at_the_papers_sizes(classes: int) -> None:
    students, teachers, labels = random_case(1, 64, classes, 2, 3.0)
    exact = [s.requires_grad_() for s in students]
    temperatures = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    loss, gradient = loss_and_gradients(reference(exact, teachers, labels, temperatures, True, False), exact)
    ours = [s.detach().float().requires_grad_() for s in students]
    our_loss, our_gradient = loss_and_gradients(sld_loss(ours, [t.float() for t in teachers], labels, pseudo_teacher=True), ours)
    assert abs(our_loss - loss) <= 1e-5 * loss
    assert (our_gradient - gradient).norm() <= 1e-4 * gradient.norm()


def test_sld_by_hand() -> None:
    # One row, two classes, T = 1: p = (1/4, 3/4), label 0, so the student is wrong; the teacher answers (1/5, 4/5), wrong too.
    student, teacher = [torch.tensor([[0.0, math.log(3)]])], [torch.tensor([[0.0, math.log(4)]])]
    label = torch.tensor([0])
    ce = 0.1 * math.log(4)
    to_teacher = 0.9 * (0.8 * math.log(0.8 / 0.25) + 0.2 * math.log(0.2 / 0.75))  # swapped: (4/5, 1/5)
    to_itself = 0.9 * 0.5 * math.log(3)  # swapped: (3/4, 1/4), so m = 1/2, d = ln 3
    without = sld_loss(student, teacher, label, temperatures=(1.0,), pseudo_teacher=False)
    with_it = sld_loss(student, teacher, label, temperatures=(1.0,), pseudo_teacher=True)
    assert without.item() == pytest.approx(ce + to_teacher, rel=1e-6)
    assert with_it.item() == pytest.approx(ce + to_teacher + to_itself, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 12), classes=st.integers(1, 20))
def test_swap_moves_the_maximum_to_the_label_and_changes_nothing_else(seed: int, rows: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(rows, classes, generator=draw), torch.randint(0, classes, (rows,), generator=draw)
    before = logits.clone()
    swapped = swap(logits, labels)
    assert torch.equal(logits, before)  # a copy
    assert torch.equal(swapped.gather(1, labels[:, None])[:, 0], logits.amax(1))
    assert torch.equal(swapped.sort(1).values, logits.sort(1).values)  # same values, other places
    assert ((swapped != logits).sum(1) <= 2).all()
    right = logits.argmax(1) == labels
    assert torch.equal(swapped[right], logits[right])
    assert torch.equal(swap(swapped, labels), swapped)


@given(seed=st.integers(0, 2**31), temperature=st.floats(0.5, 10.0))
@settings(max_examples=25, deadline=None)
def test_swap_commutes_with_the_softmax(seed: int, temperature: float) -> None:
    students, _, labels = random_case(seed, 5, 7, 1, 3.0)
    torch.testing.assert_close(
        torch.softmax(swap(students[0], labels) / temperature, 1), swap(torch.softmax(students[0] / temperature, 1), labels)
    )


def test_swap_of_tied_logits_changes_no_value() -> None:
    logits = torch.tensor([[2.0, 2.0, 1.0], [3.0, 3.0, 3.0]])
    assert torch.equal(swap(logits, torch.tensor([1, 2])), logits)


def test_the_pseudo_teacher_says_nothing_about_rows_that_are_right() -> None:
    students, teachers, _ = random_case(3, 8, 6, 2, 2.0)
    students[1] = students[0].flip(1).roll(1, 1).clone()
    labels = students[0].argmax(1)
    students[1] = swap(students[1], labels)  # right in both views
    views = [s.requires_grad_() for s in students]
    without, with_it = (
        loss_and_gradients(sld_loss(views, teachers, labels, pseudo_teacher=pseudo), views) for pseudo in (False, True)
    )
    assert torch.equal(without[0], with_it[0])
    assert torch.equal(without[1], with_it[1])


def test_the_pseudo_teacher_pulls_the_label_up_to_a_tie_and_not_past_it() -> None:
    for gap, sign in ((1.0, 1), (0.0, 0)):
        student = torch.tensor([[0.5, 0.5 + gap, -1.0]], requires_grad=True)
        loss = sld_loss([student], [torch.zeros(1, 3)], torch.tensor([0]), pseudo_teacher=True, ce_weight=0.0)
        loss = loss - sld_loss([student], [torch.zeros(1, 3)], torch.tensor([0]), pseudo_teacher=False, ce_weight=0.0)
        (gradient,) = torch.autograd.grad(loss, student)
        assert gradient[0, 1].item() == pytest.approx(-gradient[0, 0].item(), rel=0.7, abs=1e-7)
        assert torch.sign(gradient[0, 1].round(decimals=6)).item() == sign  # downhill lowers the top, while there is a gap
        assert torch.sign(-gradient[0, 0].round(decimals=6)).item() == sign


def test_detaching_the_pseudo_teacher_leaves_only_the_pair_that_is_swapped() -> None:
    student = torch.tensor([[0.0, 2.0, 1.0, -1.0]], requires_grad=True)
    gradients = {}
    for pseudo in (False, True):
        loss = sld_loss(
            [student], [torch.zeros(1, 4)], torch.tensor([0]), pseudo_teacher=pseudo, detach_pseudo_teacher=True, ce_weight=0.0
        )
        (gradients[pseudo],) = torch.autograd.grad(loss, student)
    only_pseudo = gradients[True] - gradients[False]
    p = [torch.softmax(student[0] / t, 0) for t in (1, 2, 3, 4, 5, 6)]
    pull = 0.9 * sum(t * (q[1] - q[0]) for t, q in zip((1, 2, 3, 4, 5, 6), p, strict=True)).item()
    torch.testing.assert_close(only_pseudo, torch.tensor([[-pull, pull, 0.0, 0.0]]))


def test_each_rows_gradient_sums_to_zero() -> None:  # adding a constant to the logits changes no probability
    students, teachers, labels = random_case(5, 10, 12, 2, 4.0)
    views = [s.requires_grad_() for s in students]
    _, gradient = loss_and_gradients(sld_loss(views, teachers, labels, pseudo_teacher=True), views)
    assert gradient.sum(-1).abs().max() < 1e-12
    assert gradient.abs().max() > 1e-3


def test_a_teacher_never_gets_a_gradient_and_half_precision_logits_are_computed_in_float32() -> None:
    students, teachers, labels = random_case(6, 4, 5, 2, 2.0)
    halves = [s.bfloat16().requires_grad_() for s in students]
    teachers = [t.float().requires_grad_() for t in teachers]
    loss = sld_loss(halves, teachers, labels, pseudo_teacher=True)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(t.grad is None for t in teachers)
    rounded = [h.detach().double() for h in halves]
    exact = reference(rounded, [t.detach().double() for t in teachers], labels, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), True, False)
    assert abs(loss.item() - exact) <= 1e-5 * exact


def test_logits_however_far_apart_give_a_finite_loss_and_gradient() -> None:
    student = torch.tensor([[300.0, -300.0, 0.0], [0.0, 0.0, 0.0], [-500.0, 500.0, 1.0]], requires_grad=True)
    teacher, labels = torch.tensor([[-400.0, 400.0, 0.0], [90.0, 0.0, -90.0], [0.0, 1.0, 2.0]]), torch.tensor([1, 2, 0])
    loss = sld_loss([student], [teacher], labels, pseudo_teacher=True)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    s, t = student.detach().double(), teacher.double()
    log_p, exact = torch.log_softmax(s / 3, 1), 0.1 * torch.nn.functional.cross_entropy(s, labels)
    for target in (swap_by_rows(t, labels), swap_by_rows(s, labels)):
        log_q = torch.log_softmax(target / 3, 1)
        exact = exact + 0.9 * 9 * (log_q.exp() * (log_q - log_p)).sum() / 3
    ours = sld_loss([student], [teacher], labels, temperatures=(3.0,), pseudo_teacher=True)
    assert ours.item() == pytest.approx(exact.item(), rel=1e-5)


def as_batch(progress: float) -> Batch:
    students, teachers, labels = random_case(7, 6, 4, 2, 2.0)
    views = ("weak", "strong")
    return Batch(labels, dict(zip(views, students, strict=True)), dict(zip(views, teachers, strict=True)), progress)


def test_the_pseudo_teacher_starts_after_the_published_share_of_the_epochs() -> None:
    on = [epoch for epoch in range(1, 241) if "kd_pseudo_teacher" in SLD().student_loss(as_batch(epoch / 240))]
    assert (on[0], on[-1], len(on)) == (151, 240, 90)
    assert "kd_pseudo_teacher" not in SLD(pseudo_teacher_after=1.0).student_loss(as_batch(1.0))


def test_the_methods_terms_sum_to_the_loss() -> None:
    batch = as_batch(1.0)
    method = SLD(temperatures=(1.0, 3.0), ce_weight=0.3, kd_weight=0.7, detach_pseudo_teacher=True)
    total = sum(method.student_loss(batch).values())
    expected = sld_loss(
        list(batch.student.values()),
        list(batch.teacher.values()),
        batch.labels_B,
        temperatures=(1.0, 3.0),
        pseudo_teacher=True,
        detach_pseudo_teacher=True,
        ce_weight=0.3,
        kd_weight=0.7,
    )
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("standardize", [False, True])
def test_without_the_swap_it_is_the_distillations_of_all_views_and_temperatures(standardize: bool) -> None:
    batch = as_batch(1.0)  # past the pseudo-teacher's start
    losses = SLD(swap=False, standardize=standardize).student_loss(batch)
    assert set(losses) == {"ce", "kd_teacher"}
    seen = standardized if standardize else lambda logits: logits
    each = [
        kd_loss(seen(batch.student[view]), seen(batch.teacher[view]), temperature=temperature)
        for view in ("weak", "strong")
        for temperature in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    ]
    torch.testing.assert_close(losses["kd_teacher"], 0.9 * sum(each))
    on_labels = [torch.nn.functional.cross_entropy(batch.student[view], batch.labels_B) for view in ("weak", "strong")]
    torch.testing.assert_close(losses["ce"], 0.1 * sum(on_labels))


def test_standardised_logits_are_swapped_and_cross_entropy_sees_them_as_they_are() -> None:
    batch = as_batch(1.0)
    student = [logits.requires_grad_() for logits in batch.student.values()]
    ours = sum(SLD(standardize=True).student_loss(batch).values())
    views = [[standardized(logits) for logits in each.values()] for each in (batch.student, batch.teacher)]
    expected = sld_loss(*views, batch.labels_B, pseudo_teacher=True, ce_weight=0.0)
    expected = expected + 0.1 * sum(torch.nn.functional.cross_entropy(logits, batch.labels_B) for logits in student)
    torch.testing.assert_close(ours, expected)
    for own, of_formula in zip(torch.autograd.grad(ours, student), torch.autograd.grad(expected, student), strict=True):
        torch.testing.assert_close(own, of_formula)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), temperature=st.floats(0.5, 10.0))
def test_the_pseudo_teachers_distance_is_t_times_margin_times_gap(seed: int, temperature: float) -> None:
    students, _, labels = random_case(seed, 6, 9, 1, 3.0)
    swapped = swap_by_rows(students[0], labels)
    p = torch.softmax(students[0] / temperature, 1)
    top, own = p.amax(1), p.gather(1, labels[:, None])[:, 0]
    gap = students[0].amax(1) - students[0].gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(kl_by_hand(students[0], swapped, temperature), (temperature * (top - own) * gap).mean())


def test_swap_rates_are_the_shares_of_wrong_rows() -> None:
    right, wrong = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    batch = Batch(
        labels_B=torch.zeros(4, dtype=torch.int64),
        student={"weak": torch.cat([wrong] * 4), "strong": torch.cat([right, wrong, wrong, wrong])},
        teacher={"weak": torch.cat([right] * 4), "strong": torch.cat([right, right, right, wrong])},
        progress=0.5,
    )
    assert {name: rate.item() for name, rate in SLD().observe(batch).items()} == {
        "swap_rate.student.weak": 1.0,
        "swap_rate.student.strong": 0.75,
        "swap_rate.teacher.weak": 0.0,
        "swap_rate.teacher.strong": 0.25,
    }
