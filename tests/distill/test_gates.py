from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from edgekd.distill.gates import advice_weight, advise, agrees_with_labels, block_gate


def test_the_block_gate_opens_for_what_is_understood_below_the_mean() -> None:
    assert block_gate(torch.tensor([0.9, 0.5, 0.2, 0.8])).tolist() == [0, 1, 1, 0]
    assert block_gate(torch.tensor([[0.9, 0.5], [0.1, 0.2]])).tolist() == [[0, 1], [1, 0]]
    assert block_gate(torch.tensor([0.25])).tolist() == [0.75]


@given(st.integers(2, 7), st.floats(0, 1))
def test_blocks_understood_alike_are_all_open(blocks: int, understood: float) -> None:
    assert block_gate(torch.full((blocks,), understood)).tolist() == [1.0] * blocks


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(0, 5), st.floats(0, 1))
def test_understanding_a_block_less_never_closes_it(understood: list[float], which: int, share: float) -> None:
    before, which = torch.tensor(understood), which % len(understood)
    after = before.clone()
    after[which] *= share
    assert block_gate(after)[which] >= block_gate(before)[which]


def test_advice_weights() -> None:
    understood = torch.tensor([0.0, 0.25, 1.0])
    assert advice_weight(understood, "gap").tolist() == [1.0, 0.75, 0.0]
    assert advice_weight(understood, "understanding").tolist() == [0.0, 0.25, 1.0]
    assert advice_weight(understood, "none").tolist() == [1.0, 1.0, 1.0]


@given(st.integers(0, 999))
def test_a_student_that_is_sure_of_the_labels_is_heard_by_any_teacher_and_one_sure_against_them_is_not(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (8,), generator=draw)
    sure = F.one_hot(labels, 5).float()
    anything = 10 * torch.randn(8, 5, generator=draw)
    assert agrees_with_labels(anything, 40 * sure, labels, temperature=4.0).item() == 1.0
    assert agrees_with_labels(2 * sure, -40 * sure, labels, temperature=4.0).item() == 0.0


def test_the_conflict_gate_is_the_sign_of_the_product_of_both_losses_gradients() -> None:
    draw, kept = torch.Generator().manual_seed(0), []
    for _ in range(60):
        teacher, student = torch.randn(6, 4, generator=draw).requires_grad_(), torch.randn(6, 4, generator=draw)
        labels = torch.randint(0, 4, (6,), generator=draw)
        (of_labels,) = torch.autograd.grad(F.cross_entropy(teacher, labels), teacher)
        p, q = F.log_softmax(teacher / 3.0, 1), F.softmax(student / 3.0, 1)
        (of_student,) = torch.autograd.grad(F.kl_div(p, q, reduction="batchmean"), teacher)
        kept.append(agrees_with_labels(teacher.detach(), student, labels, temperature=3.0).item())
        assert kept[-1] == float((of_labels * of_student).sum() >= 0)
    assert 0 < sum(kept) < 60


def test_advice_is_added_to_the_gradient_unless_it_opposes_what_comes_from_above() -> None:
    for gated, expected in ((True, [1.0 + 2.0, 1.0 + 0.0]), (False, [1.0 + 2.0 - 3.0, 1.0 + 0.0 - 1.0])):
        source = torch.zeros(2, requires_grad=True)
        maps, heard = source * 1.0, []
        advise(maps, [torch.tensor([2.0, 0.0]), torch.tensor([-3.0, -1.0])], gated=gated, heard=heard.append)
        maps.sum().backward()
        assert source.grad is not None
        assert source.grad.tolist() == expected
        assert [one.item() for one in heard] == [1.0, 0.0 if gated else 1.0]


def test_advice_that_neither_agrees_nor_conflicts_is_kept_whatever_its_rounding() -> None:
    """Before a global average pooling all pixels of a channel get the same gradient, and advice on where to look sums to 0."""
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        where_to_look = torch.randn(4, 8, 7, 7, generator=draw)
        where_to_look -= where_to_look.mean((2, 3), keepdim=True)
        source = torch.zeros(4, 8, 7, 7, requires_grad=True)
        maps, heard = source * 1.0, []
        advise(maps, [where_to_look], gated=True, heard=heard.append)
        (maps.mean((2, 3)) * torch.randn(4, 8, generator=draw)).sum().backward()
        assert heard[0].item() == 1.0
