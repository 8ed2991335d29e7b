from __future__ import annotations

import dataclasses
import math
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import distill
from edgekd.core import InputError
from edgekd.distill import KD, SLD, Batch, Consensus, Label, create, kd_loss, names
from edgekd.distill import method as registry


def test_kd_by_hand() -> None:  # p = (3/4, 1/4), q = (1/2, 1/2) at T = 2: KL = ln 2 − ln 3 / 2, times T²
    student, teacher = 2 * torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
    assert kd_loss(student, teacher, temperature=2.0).item() == pytest.approx(4 * 0.143841, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 9), classes=st.integers(2, 50), temperature=st.floats(0.5, 12.0))
def test_kd_and_its_gradient_equal_an_independent_computation_in_float64(
    seed: int, rows: int, classes: int, temperature: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(rows, classes, generator=draw) for _ in range(2))
    exact_student = student.double().requires_grad_()
    p = torch.softmax(exact_student / temperature, 1)
    q = torch.softmax(teacher.double() / temperature, 1)
    exact = sum(temperature**2 * (q[b] * (q[b].log() - p[b].log())).sum() for b in range(rows)) / rows
    (exact_gradient,) = torch.autograd.grad(exact, exact_student)
    closed_gradient = temperature * (p - q).detach() / rows
    ours = student.clone().requires_grad_()
    loss = kd_loss(ours, teacher, temperature=temperature)
    (gradient,) = torch.autograd.grad(loss, ours)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5, abs=1e-7 * temperature**2)
    torch.testing.assert_close(exact_gradient, closed_gradient)
    # a probability near 1 has steps of eps: where p and q both lie there, their difference is no more exact than that
    steps = temperature * torch.finfo(torch.float32).eps / rows**0.5
    assert (gradient.double() - exact_gradient).norm() <= 1e-4 * exact_gradient.norm() + steps


def test_kd_weighs_cross_entropy_and_distance_as_the_recipe_says() -> None:
    student, teacher, labels = torch.randn(4, 5), torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    batch = Batch(labels, {"weak": student}, {"weak": teacher}, 0.5)
    losses = KD(temperature=3.0, ce_weight=0.4, kd_weight=0.6).student_loss(batch)
    torch.testing.assert_close(losses["ce"], 0.4 * F.cross_entropy(student, labels))
    torch.testing.assert_close(losses["kd"], 0.6 * kd_loss(student, teacher, temperature=3.0))


def test_label_is_cross_entropy_and_asks_for_no_teacher() -> None:
    batch = Batch(torch.tensor([1]), {"weak": torch.tensor([[0.0, math.log(3)]])}, {}, 0.5)
    assert Label().student_loss(batch)["ce"].item() == pytest.approx(math.log(4 / 3))
    assert (Label.needs_teacher, Label.views) == (False, ("weak",))


def test_a_recipe_section_becomes_its_method_with_its_options() -> None:
    section = SimpleNamespace(
        method="sld", epochs=12, learning_rate=0.05, temperatures=(2.0, 4.0), ce_weight=0.2, pseudo_teacher_after=0.5
    )
    assert create(section) == SLD(temperatures=(2.0, 4.0), ce_weight=0.2, pseudo_teacher_after=0.5)
    assert create("kd", temperature=2.0) == KD(temperature=2.0)
    assert create("label") == Label()
    assert names() == ("kd", "label", "sld")


def test_methods_cannot_be_changed_after_they_are_made() -> None:
    for name in names():
        method = create(name)
        assert method.taps == ()
        assert type(method).__dataclass_params__.frozen
    with pytest.raises(dataclasses.FrozenInstanceError):
        create("kd").temperature = 1.0


@pytest.mark.parametrize(("asked", "nearest"), [("sdl", "sld"), ("lable", "label"), ("KD", None), ("", None)])
def test_an_unknown_method_is_refused_with_the_nearest_name_and_all_names(asked: str, nearest: str | None) -> None:
    with pytest.raises(InputError) as caught:
        create(asked)
    error = caught.value
    assert (error.exit_code, error.where, error.seen) == (2, "distill.method", asked)
    assert error.what == f"unknown method {asked!r}" + (f"; did you mean {nearest!r}?" if nearest else "")
    assert error.fix == "methods: kd, label, sld"


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match="unknown option 'temperatur' of method 'kd'; did you mean 'temperature'"):
        create("kd", temperatur=3.0)


def test_another_package_may_offer_a_method_but_not_take_a_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("twin", "edgekd.distill.kd:KD", registry.ENTRY_POINTS)]
    monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in offered if one.group == group])
    assert names() == ("kd", "label", "sld", "twin")
    assert create("twin", temperature=1.0) == KD(temperature=1.0)
    offered.append(EntryPoint("sld", "elsewhere:SLD", registry.ENTRY_POINTS))
    with pytest.raises(InputError, match="two methods are named 'sld'") as caught:
        names()
    assert caught.value.seen == "edgekd.distill.sld:SLD and elsewhere:SLD"


def test_all_lists_exactly_the_public_names() -> None:
    public = {name for name, value in vars(distill).items() if not name.startswith("_") and not hasattr(value, "__path__")}
    modules = {name for name in public if getattr(distill, name).__class__.__name__ == "module"}
    assert sorted(public - modules) == sorted(distill.__all__)


def test_the_kl_to_a_consensus_has_the_gradient_of_the_mean_of_the_kls() -> None:
    torch.manual_seed(0)
    images, temperature = torch.randn(6, 5), 2.0
    networks = [torch.nn.Linear(5, 4) for _ in range(2)]
    student = torch.randn(6, 4, requires_grad=True)
    with torch.no_grad():
        together, each = Consensus(networks, temperature)(images), [network(images) for network in networks]
    probabilities = torch.softmax(together / temperature, 1)
    torch.testing.assert_close(probabilities, sum(torch.softmax(one / temperature, 1) for one in each) / 2)
    (of_one,) = torch.autograd.grad(kd_loss(student, together, temperature=temperature), student)
    (of_mean,) = torch.autograd.grad(sum(kd_loss(student, one, temperature=temperature) for one in each) / 2, student)
    torch.testing.assert_close(of_one, of_mean)
