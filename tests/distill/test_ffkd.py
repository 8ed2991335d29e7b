"""FFKD as a whole, in the one loop: what equals what, what changes whom, rollback, and going on after a kill."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekd.core import InputError, Interrupted
from edgekd.distill import FFKD, KD, FFKDAdapt, FFKDPublic, FitResult, Label, Method, Training, fit
from edgekd.distill.cka import LEAST_BATCH
from edgekd.distill.guard import GuardedStep
from edgekd.distill.schedule import learning_rate_factor
from edgekd.recipe.distill import SECTIONS

EPOCHS, STEPS = 4, 6
ALWAYS = {"feedback_start": 0.0, "feedback_stop": 1.0}
TWO_BLOCKS = (("2", "2"), ("5", "5"))


def bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def learned(batches, network, top1) -> nn.Module:
    """A teacher that knows the task."""
    teacher = network(seed=1, width=12)
    fit(teacher, Label(), copy.deepcopy(batches), evaluate=lambda network: 0.5, epochs=3, learning_rate=0.1)
    return teacher


@pytest.fixture
def trained(batches, network, top1, learned, more_batches) -> Callable[..., tuple[FitResult, list[nn.Module], nn.Module]]:
    """Train with a method; the result, the students, and the teacher that is left."""

    def run(method: Method, seeds: tuple[int, ...] = (0,), **options: Any) -> tuple[FitResult, list[nn.Module], nn.Module]:
        students, teacher = [network(seed) for seed in seeds], copy.deepcopy(learned)
        options = {"evaluate": top1, "epochs": EPOCHS, "learning_rate": 0.1, "held_out_images": 200} | options
        stream = options.pop("batches", copy.deepcopy(batches))
        result = fit(students, method, stream, teacher=teacher, more_batches=more_batches, **options)
        return result, students, teacher

    return run


def test_without_feedback_and_channel_loss_it_is_kd_bit_for_bit(trained, learned) -> None:
    ours, (student,), teacher = trained(FFKD(channel_weight=0.0, feedback_every=0))
    theirs, (plain,), _ = trained(KD(ce_weight=1.0, kd_weight=1.0))
    assert same(bits(student), bits(plain))
    assert [epoch["losses"] for epoch in ours.curves["epochs"]] == [epoch["losses"] for epoch in theirs.curves["epochs"]]
    assert same(bits(teacher), bits(learned))


def test_the_forward_phase_leaves_every_bit_of_the_teacher_alone_and_gives_it_no_gradient(trained, learned) -> None:
    _, _, teacher = trained(FFKD(feedback_every=0))
    assert same(bits(teacher), bits(learned))
    assert all(weight.grad is None for weight in teacher.parameters())


def test_feedback_at_a_rate_of_zero_equals_the_forward_phase_alone_bit_for_bit(trained, learned) -> None:
    _, (student,), teacher = trained(FFKD(feedback_learning_rate=0.0, **ALWAYS))
    _, (alone,), _ = trained(FFKD(feedback_every=0))
    assert same(bits(student), bits(alone))
    assert same(bits(teacher), bits(learned))


def test_feedback_moves_the_teacher_and_through_it_the_student_while_it_is_on(trained, learned) -> None:
    result, (student,), teacher = trained(FFKD(feedback_rollback=False, feedback_start=0.4, feedback_stop=0.85, feedback_every=2))
    _, (alone,), _ = trained(FFKD(feedback_every=0))
    assert not same(bits(student), bits(alone))
    assert not same(bits(teacher), bits(learned))
    turns = [step for step in range(1, EPOCHS * STEPS + 1) if step % 2 == 0 and 0.4 <= step / (EPOCHS * STEPS) < 0.85]
    assert [epoch.get("feedback_steps", 0) for epoch in result.curves["epochs"]] == [
        sum(epoch * STEPS < step <= (epoch + 1) * STEPS for step in turns) for epoch in range(EPOCHS)
    ]
    logged = result.curves["logged"]
    assert logged["feedback.ce"][0] is None
    assert logged["feedback.ce"][2] > 0
    assert all(0 <= value <= 1 for value in logged["understood.5"])
    assert all(value > 0 for value in logged["teacher_ce"])


@pytest.mark.parametrize(
    ("method", "moves"), [(FFKD(**ALWAYS), False), (FFKDAdapt(feedback_start=0.0), False), (FFKDPublic(), True)]
)
def test_the_teachers_running_statistics_move_only_where_that_is_asked_for(method: FFKD, moves: bool, trained, learned) -> None:
    method.feedback_rollback = False
    _, _, teacher = trained(method)
    assert torch.equal(teacher[1].running_mean, learned[1].running_mean) != moves
    assert not torch.equal(teacher[0].weight, learned[0].weight)


@pytest.mark.parametrize(
    ("part", "moved"), [("head", {"8"}), ("tail", {"0", "1", "3", "4", "8"}), ("all", {"0", "1", "3", "4", "8"})]
)
def test_only_the_part_that_is_tuned_learns(part: Any, moved: set[str], trained, learned) -> None:
    _, _, teacher = trained(FFKD(feedback_tunes=part, feedback_rollback=False, **ALWAYS))
    was = dict(learned.named_parameters())
    assert {name.split(".")[0] for name, weight in teacher.named_parameters() if not torch.equal(weight, was[name])} == moved


def test_equal_students_stay_equal_and_teach_as_one_does(trained) -> None:
    class WithoutDropout(FFKD):
        def begin(self, course: Any) -> None:
            for network in course.students:
                network[7] = nn.Identity()
            super().begin(course)

    options = {"feedback_rollback": False, **ALWAYS}
    _, (alone,), taught_by_one = trained(WithoutDropout(**options))
    _, (one, other), taught_by_two = trained(WithoutDropout(students=2, **options), seeds=(0, 0))
    assert same(bits(one), bits(other))
    for twice, once in ((taught_by_two, taught_by_one), (one, alone)):
        for name, tensor in once.state_dict().items():
            torch.testing.assert_close(twice.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_several_students_have_regressors_and_understanding_of_their_own_and_the_best_is_kept(trained, top1, network) -> None:
    method = FFKD(students=2, taps=TWO_BLOCKS, **ALWAYS)
    result, _, _ = trained(method, seeds=(0, 5))
    regressors = [method.auxiliary(which) for which in range(2)]
    assert not same(bits(regressors[0]), bits(regressors[1]))
    assert method.state_dict()["understood"].shape == (2, 2)
    assert result.best_top1 == max(max(epoch["students_top1"]) for epoch in result.curves["epochs"])
    assert result.best_state.keys() == network().state_dict().keys()


def test_a_ruined_teacher_is_told_at_once_brought_back_and_in_the_end_left_alone(trained, learned, batches, monkeypatch) -> None:
    """Of ten steps an epoch; after each rollback it learns at half the rate and without momentum, and the student goes on."""
    rates, forgotten, steps = [], [], 10
    method = FFKD(feedback_learning_rate=1000.0, feedback_gradient_norm=None, **ALWAYS)

    class Watched(GuardedStep):
        def set_rate(self, learning_rate: float) -> None:
            if len(self.parameters[0]) == 12:  # the teacher's
                rates.append(learning_rate)
            super().set_rate(learning_rate)

        def forget(self) -> None:
            forgotten.append(len(rates))
            super().forget()

    monkeypatch.setattr("edgekd.distill.loop.GuardedStep", Watched)
    result, _, teacher = trained(method, batches=type(batches)(steps))
    events = [event for epoch in result.curves["epochs"] for event in epoch.get("rollbacks", [])]
    assert [event["step"] for event in events] == forgotten == [1, 2, 3]
    scheduled = [100.0 * learning_rate_factor(step, EPOCHS * steps, 0.05) for step in range(3)]
    assert rates == pytest.approx([factor * rate for factor, rate in zip((1.0, 0.5, 0.25), scheduled, strict=True)])
    assert [event["over"] for event in events] == [False, False, True]
    assert [event["rate_factor"] for event in events] == [0.5, 0.25, 0.125]
    assert all(event["teacher_top1"] < event["best_top1"] - 0.01 for event in events)
    assert same(bits(teacher), bits(learned))
    assert result.curves["epochs"][-1].get("feedback_steps") is None
    assert len(result.curves["epochs"]) == EPOCHS
    assert result.best_top1 > 0.5  # of three classes


def test_a_teacher_step_that_is_not_finite_is_not_taken_and_counts_as_damage(trained, learned) -> None:
    method = FFKD(feedback_ce_weight=float("inf"), **ALWAYS)
    result, _, teacher = trained(method)
    events = [event for epoch in result.curves["epochs"] for event in epoch.get("rollbacks", [])]
    assert len(events) == 3
    assert same(bits(teacher), bits(learned))


def test_noise_on_few_held_out_images_is_no_damage(trained, top1, learned) -> None:
    """Three points below the best: less than two standard errors of 100 images, more than those of 10,000."""
    for images, rollbacks in ((100, 0), (10_000, 3)):
        first = iter([0.9])

        def evaluate(network: nn.Module, first: Any = first) -> float:
            return top1(network) if len(network[0].weight) == 8 else next(first, 0.87)

        result, _, _ = trained(FFKD(**ALWAYS), evaluate=evaluate, held_out_images=images)
        assert sum(len(epoch.get("rollbacks", [])) for epoch in result.curves["epochs"]) == rollbacks


def test_the_best_teacher_that_was_seen_is_left_and_not_the_last(trained, top1, learned) -> None:
    kept: list[dict[str, Tensor]] = []
    accuracies = iter([0.5, 0.6, 0.8, 0.7, 0.75, 0.795])  # at first, after 1, 2, 4, 6 and 8 steps

    def evaluate(network: nn.Module) -> float:
        if len(network[0].weight) == 8:
            return top1(network)
        kept.append(bits(network))
        return next(accuracies, 0.79)

    result, _, teacher = trained(FFKD(**ALWAYS), evaluate=evaluate, held_out_images=20)
    assert len(kept) == 1 + len({1, 2, 4, 8, 16} | {STEPS * epoch for epoch in range(1, EPOCHS + 1)})
    assert same(bits(teacher), kept[2])
    assert not same(kept[2], kept[-1])
    assert result.curves["epochs"][-1]["teacher_top1"] < 0.8


METHODS = [
    FFKD(students=2, taps=TWO_BLOCKS, feedback_anchor_weight=0.5, **ALWAYS),
    FFKD(feedback_learning_rate=300.0, feedback_gradient_norm=None, **ALWAYS),
    FFKD(feedback_ce_weight=float("inf"), **ALWAYS),
    FFKDPublic(),
    FFKDAdapt(feedback_start=0.2),
]


@pytest.mark.parametrize(("which", "stopped_after"), [(0, 9), (1, 2), (2, 2), (3, 13), (4, 11)])
def test_killed_after_any_step_it_goes_on_to_the_same_bits(which: int, stopped_after: int, trained) -> None:
    seeds = (0, 5)[: METHODS[which].students]
    whole, students, teacher = trained(copy.deepcopy(METHODS[which]), seeds)
    states: list[dict[str, Any]] = []

    def stop(training: Training) -> None:
        if training.step == stopped_after:
            states.append(training.state_dict())
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(copy.deepcopy(METHODS[which]), seeds, after_step=stop)
    again, students_again, teacher_again = trained(copy.deepcopy(METHODS[which]), seeds, resume=states[0])
    for one, other in zip((*students, teacher), (*students_again, teacher_again), strict=True):
        assert same(bits(one), bits(other))
    assert whole.curves["logged"] == again.curves["logged"]
    for one, other in zip(whole.curves["epochs"], again.curves["epochs"], strict=True):
        for timing in ("seconds", "cpu_seconds"):
            del one[timing], other[timing]
        assert one == other


def test_feedback_without_batches_of_its_own_is_refused(batches, network, top1) -> None:
    with pytest.raises(InputError, match="batches of its own"):
        fit(network(), FFKD(), batches, evaluate=top1, epochs=1, learning_rate=0.1, teacher=network(seed=1))


@pytest.mark.parametrize(
    ("method", "options", "least"),
    [
        ("ffkd", {}, LEAST_BATCH),
        ("ffkd", {"taps": []}, LEAST_BATCH),  # CKA of the answers, for feedback
        ("ffkd", {"feedback_every": 0}, LEAST_BATCH),  # of the maps
        ("ffkd", {"feedback_every": 0, "cka": "off"}, 2),
        ("ffkd", {"cka": "biased"}, 2),
        ("ffkd-public", {}, 2),
        ("ffkd-adapt", {}, 2),
    ],
)
def test_a_recipe_asks_for_the_batch_that_comparing_by_cka_needs(method: str, options: dict[str, object], least: int) -> None:
    assert SECTIONS[method].model_validate({"method": method, "epochs": 1, **options}).least_batch == least
