from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.core import InputError, Interrupted
from edgekd.distill import FFKD, KD, SLD, Batch, Label, Method, Tap, Training, fit, put_back
from edgekd.distill.schedule import learning_rate_factor
from edgekd.distill.teacher import FrozenTeacher, in_bf16

MAX_GRADIENT_NORM = 5.0  # the default
METHODS = [Label(), KD(), SLD(), SLD(pseudo_teacher_after=0.0, detach_pseudo_teacher=True)]


def bits(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("method", METHODS)
def test_each_method_lowers_its_loss_and_learns_the_toy_task(method: Method, batches, network, top1) -> None:
    teacher = network(seed=1, width=24)
    fit(teacher, Label(), batches, evaluate=top1, epochs=8, learning_rate=0.1)
    student = network(seed=0)
    result = fit(student, method, batches, teacher=teacher, evaluate=top1, epochs=8, learning_rate=0.05)
    first, last = result.curves["epochs"][0], result.curves["epochs"][-1]
    assert last["losses"]["ce"] < 0.8 * first["losses"]["ce"]
    assert result.best_top1 > 0.8
    assert result.best_top1 > top1(network(seed=0).eval()) + 0.3


def test_curves_and_progress_say_what_happened(batches, network, top1) -> None:
    events: list[dict[str, Any]] = []
    accuracies = iter([0.25, 0.75, 0.5])
    result = fit(
        network(),
        SLD(pseudo_teacher_after=0.5),
        batches,
        teacher=network(seed=1),
        evaluate=lambda student: next(accuracies),
        epochs=3,
        learning_rate=0.05,
        warmup=0.1,
        on_progress=events.append,
    )
    epochs, steps = result.curves["epochs"], len(batches)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert [epoch["held_out_top1"] for epoch in epochs] == [0.25, 0.75, 0.5]
    assert [sorted(epoch["losses"]) for epoch in epochs] == [["ce", "kd_teacher"]] + [
        ["ce", "kd_pseudo_teacher", "kd_teacher"]
    ] * 2
    for epoch in epochs:
        assert sum(epoch["losses"].values()) == pytest.approx(epoch["loss"], rel=1e-5)
        assert epoch["lr"] == pytest.approx(0.05 * learning_rate_factor(epoch["epoch"] * steps - 1, 3 * steps, 0.1))
        assert set(epoch) == {"epoch", "loss", "losses", "lr", "held_out_top1", "seconds", "cpu_seconds"}
    assert (result.best_epoch, result.curves["best_epoch"], result.best_top1) == (2, 2, 0.75)
    rates = result.curves["logged"]
    assert sorted(rates) == [f"swap_rate.{who}.{view}" for who in ("student", "teacher") for view in ("strong", "weak")]
    assert all(len(means) == 3 and all(0 <= mean <= 1 for mean in means) for means in rates.values())
    assert [event["done"] for event in events if event["done"] % steps] == [n for n in range(1, 3 * steps) if n % steps]
    assert events[-1]["total"] == 3 * steps
    assert (events[0]["held_out_top1"], events[-1]["held_out_top1"], events[-1]["eta_s"]) == (None, 0.5, 0.0)
    assert events[-1]["loss"] == pytest.approx(epochs[-1]["loss"])


def test_the_best_state_is_that_of_the_best_held_out_epoch_and_of_equals_the_last(batches, network) -> None:
    seen: list[dict[str, Tensor]] = []
    accuracies = iter([0.3, 0.6, 0.6, 0.5])

    def evaluate(student: nn.Module) -> float:
        assert not student.training
        assert not torch.is_grad_enabled()
        seen.append(bits(student))
        return next(accuracies)

    student = network()
    result = fit(student, Label(), batches, evaluate=evaluate, epochs=4, learning_rate=0.1)
    assert (result.best_epoch, result.best_top1) == (3, 0.6)
    assert_same_bits(result.best_state, seen[2])
    assert_same_bits(bits(student), seen[3])
    assert all(tensor.is_contiguous() for tensor in result.best_state.values())


def plain_training(student: nn.Module, method: Method, batches, teacher: nn.Module, epochs: int, rate: float) -> None:
    """The loop as one would write it down: separate teacher forwards, clip_grad_norm_, unfused SGD."""
    torch.manual_seed(0)
    student.train()
    teacher.eval()
    optimiser = torch.optim.SGD(student.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, foreach=False)
    step = 0
    for epoch in range(1, epochs + 1):
        for views, labels in batches:
            optimiser.param_groups[0]["lr"] = rate * learning_rate_factor(step, epochs * len(batches), 0.05)
            with torch.no_grad():
                of_teacher = {view: teacher(views[view]) for view in method.views}
            batch = Batch(labels, {view: student(views[view]) for view in method.views}, of_teacher, epoch / epochs)
            optimiser.zero_grad()
            sum(method.student_loss(batch).values()).backward()
            nn.utils.clip_grad_norm_(student.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            step += 1


@pytest.mark.parametrize("method", METHODS)
def test_the_loop_equals_a_plain_one_up_to_rounding(method: Method, batches, network, top1) -> None:
    start, teacher = network(), network(seed=1)
    teacher[-1].weight.data *= 20  # a loud teacher, so that clipping has work to do
    theirs, ours = copy.deepcopy(start), copy.deepcopy(start)
    plain_training(theirs, method, copy.deepcopy(batches), teacher, epochs=2, rate=0.05)
    fit(ours, method, copy.deepcopy(batches), teacher=teacher, evaluate=top1, epochs=2, learning_rate=0.05)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert (theirs[0].weight - start[0].weight).abs().max() > 1e-2


def test_each_view_has_its_own_batchnorm_statistics_weak_first(batches, network, top1) -> None:
    student, teacher = network(), network(seed=1)
    first = next(iter(copy.deepcopy(batches)))[0]
    expected = copy.deepcopy(student).train()
    for view in ("weak", "strong"):
        expected(first[view])
    states: list[dict[str, Any]] = []

    def stop(training: Training) -> None:
        states.append(training.state_dict())
        raise Interrupted

    with pytest.raises(Interrupted):
        fit(student, SLD(), batches, teacher=teacher, evaluate=top1, epochs=1, learning_rate=0.1, after_step=stop)
    torch.testing.assert_close(states[0]["learners"][0]["network"]["1.running_mean"], expected[1].running_mean)
    assert states[0]["learners"][0]["network"]["1.num_batches_tracked"] == 2


def test_gradients_and_momentum_lie_in_memory_as_their_weights(batches, network, top1) -> None:
    """Fused SGD copies what does not lie in one piece, and takes gradients by the place of their weights."""
    student, states, optimisers = network(), [], []

    def look(training: Training) -> None:
        states.append(training.state_dict())
        optimisers.append(training.learners[0].optimiser)

    for resume_at in (None, 2):
        resume = states[resume_at] if resume_at is not None else None
        fit(student, Label(), batches, evaluate=top1, epochs=1, learning_rate=0.1, after_step=look, resume=resume)
        assert any(not weight.is_contiguous() for weight in student.parameters())  # channels_last, so it could go wrong
        for (name, weight), lying in zip(student.named_parameters(), optimisers[-1]._lying, strict=True):
            matter = [dim for dim, size in enumerate(weight.shape) if size > 1]
            assert [weight.grad.stride(dim) for dim in matter] == [weight.stride(dim) for dim in matter], name
            for one in (lying, lying.grad, optimisers[-1]._sgd.state[lying]["momentum_buffer"]):
                assert one.is_contiguous(), name
            assert lying.data_ptr() == weight.data_ptr(), name


@dataclass
class BadAt(Method):
    """Cross-entropy that turns bad at one step, in the loss or only in its gradient."""

    views: ClassVar[tuple[str, ...]] = ("weak",)
    needs_teacher: ClassVar[bool] = False
    bad_call: int
    value: float
    calls: int = 0
    weights: list[dict[str, Tensor]] = field(default_factory=list)

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        loss = F.cross_entropy(batch.student["weak"], batch.labels_B)
        if self.calls == self.bad_call:
            zero = (batch.student["weak"] * 0.0).sum()
            loss = loss + (zero.abs().sqrt() if self.value == 0.0 else self.value)  # √0 is 0, its slope is not finite
        return {"ce": loss}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("read_every", [1, 4])
def test_a_loss_or_gradient_that_is_not_finite_stops_before_its_step_changes_a_weight(
    value: float, read_every: int, batches, network, top1, monkeypatch: pytest.MonkeyPatch
) -> None:
    if read_every != 1:  # as on a GPU: the flag is read later, and the steps until then must do nothing either
        monkeypatch.setattr("edgekd.distill.loop._reading_interval", lambda device: read_every)
    student, after = network(), []
    with pytest.raises(InputError) as caught:
        fit(
            student,
            BadAt(bad_call=10, value=value),
            batches,
            evaluate=top1,
            epochs=3,
            learning_rate=0.1,
            after_step=lambda training: after.append((training.step, bits(student))),
        )
    error = caught.value
    assert (error.exit_code, error.where) == (2, "distill epoch 2 step 4")
    assert "before that step" in error.what
    assert error.fix == "lower distill.learning_rate (now 0.1), or raise distill.warmup"
    assert {0.0: "gradient norm nan"}.get(value, f"loss {value}") in error.seen
    before_bad = next(state for step, state in after if step == 9)
    weights = {name: weight.detach() for name, weight in student.named_parameters()}
    assert_same_bits(weights, {name: before_bad[name] for name in weights})


@pytest.mark.parametrize("method", [Label(), SLD(pseudo_teacher_after=0.4)])
@pytest.mark.parametrize("stop_at", [1, 8, 12, 17])  # within the first epoch, within the second, at its end, before the last step
def test_a_training_taken_up_again_ends_with_the_same_bits(method: Method, stop_at: int, batches, network, top1) -> None:
    options = {"evaluate": top1, "epochs": 3, "learning_rate": 0.1, "seed": 4}
    whole_batches, halves = copy.deepcopy(batches), copy.deepcopy(batches)
    whole = network()
    expected = fit(whole, method, whole_batches, teacher=network(seed=1), **options)
    kept: list[dict[str, Any]] = []

    def stop(training: Training) -> None:
        if training.step == stop_at:
            kept.append(training.state_dict())
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(network(), method, halves, teacher=network(seed=1), after_step=stop, **options)
    fresh, fresh_batches = network(seed=7), copy.deepcopy(batches)
    torch.rand(5)  # nothing may hang on where torch's generator stands
    result = fit(fresh, method, fresh_batches, teacher=network(seed=1), resume=kept[0], **options)
    assert_same_bits(bits(fresh), bits(whole))
    assert_same_bits(result.best_state, expected.best_state)
    without_time = [
        [{k: v for k, v in epoch.items() if "seconds" not in k} for epoch in r.curves["epochs"]] for r in (expected, result)
    ]
    assert without_time[0] == without_time[1]
    assert result.curves["logged"] == expected.curves["logged"]
    assert result.best_epoch == expected.best_epoch


def test_a_kept_state_does_not_change_when_training_goes_on(batches, network, top1) -> None:
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def keep(training: Training) -> None:
        if training.step == 3:
            state = training.state_dict()
            kept.append((state, copy.deepcopy(state)))

    fit(network(), Label(), batches, evaluate=top1, epochs=2, learning_rate=0.1, after_step=keep)
    ((state, as_it_was),) = kept
    (learner,), (learner_was,) = state["learners"], as_it_was["learners"]
    for now, was in (
        (learner["network"], learner_was["network"]),
        (learner["optimiser"]["momentum"], learner_was["optimiser"]["momentum"]),
        (state["sums"]["sums"], as_it_was["sums"]["sums"]),
    ):
        assert now
        assert_same_bits(now, was)
    assert state["epochs"] == as_it_was["epochs"] == []


def test_the_teacher_answers_in_eval_mode_and_is_left_as_it_was(batches, network, top1) -> None:
    teacher = network(seed=1).train()
    before = bits(teacher)
    fit(network(), SLD(), batches, teacher=teacher, evaluate=top1, epochs=1, learning_rate=0.1)
    assert_same_bits(bits(teacher), before)
    assert all(weight.grad is None for weight in teacher.parameters())
    views = {"weak": torch.randn(4, 3, 6, 6), "strong": torch.randn(4, 3, 6, 6)}
    answers = FrozenTeacher(teacher.train()).logits(views)
    assert list(answers) == ["weak", "strong"]
    for view, pictures in views.items():
        torch.testing.assert_close(answers[view], teacher.eval()(pictures))
        assert not answers[view].requires_grad


def test_a_frozen_teachers_weights_are_cast_once_and_its_answers_in_bf16_are_the_same_bits(batches, network, top1, monkeypatch):
    teacher, views = network(seed=1), {"weak": torch.randn(4, 3, 6, 6)}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        teacher.eval().to(memory_format=torch.channels_last)
        assert torch.equal(FrozenTeacher(in_bf16(teacher)).logits(views)["weak"], FrozenTeacher(teacher).logits(views)["weak"])
    assert {weight.dtype for weight in teacher.parameters()} == {torch.float32}
    asked: list[nn.Module] = []
    answer = FrozenTeacher.logits
    monkeypatch.setattr(FrozenTeacher, "logits", lambda self, views: asked.append(self.network) or answer(self, views))
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        fit(network(), SLD(), batches, teacher=teacher, evaluate=top1, epochs=1, learning_rate=0.1, precision=precision)
        assert next(asked[-1].parameters()).dtype is dtype
    fit(
        network(), FFKD(taps=()), batches, teacher=teacher, evaluate=top1, epochs=1, learning_rate=0.1, precision="bf16",
        more_batches=lambda *_: copy.deepcopy(batches),
    )  # fmt: skip
    assert asked[-1] is teacher


@pytest.mark.parametrize(("limit", "forwards"), [(10**6, 1), (0, 2)], ids=["small", "large"])
def test_a_teacher_answers_large_views_one_after_another_and_the_same(limit: int, forwards: int, network, monkeypatch) -> None:
    monkeypatch.setattr("edgekd.distill.views.MOST_PIXELS_ON_CPU", limit)
    teacher, seen = network(), []
    teacher.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    pictures = {"weak": torch.randn(4, 3, 6, 6), "strong": torch.randn(4, 3, 6, 6)}
    found = FrozenTeacher(teacher).logits(pictures)
    assert seen == [8 // forwards] * forwards
    for view, one in pictures.items():
        torch.testing.assert_close(found[view], teacher(one).detach())


@dataclass(frozen=True)
class Crowd(Method):
    """Three students that also look at the middle of two networks, each with a regressor of its own."""

    views: ClassVar[tuple[str, ...]] = ("weak",)
    students: int = 3
    regressors: nn.ModuleList = field(default_factory=lambda: nn.ModuleList(nn.Conv2d(8, 24, 1) for _ in range(3)))

    def pairs(self) -> tuple[Tap, ...]:
        return (Tap("3", "3"),)

    def auxiliary(self, which: int) -> nn.Module:
        return self.regressors[which]

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        ours, theirs = self.regressors[batch.which](batch.student_maps["3"]), batch.teacher_maps["3"]
        assert not theirs.requires_grad
        return {"ce": F.cross_entropy(batch.student["weak"], batch.labels_B), "map": 0.1 * F.mse_loss(ours, theirs)}


def test_several_students_train_side_by_side_each_as_if_alone_and_the_best_is_kept(batches, network) -> None:
    def student(seed: int) -> nn.Module:
        made = network(seed)
        made[7] = nn.Identity()  # dropout of several draws from one generator
        return made

    students, accuracies = [student(seed) for seed in range(3)], iter([0.1, 0.4, 0.2, 0.3, 0.3, 0.4])
    torch.manual_seed(5)
    method = Crowd()
    started = copy.deepcopy(method.regressors)
    options = {"epochs": 2, "learning_rate": 0.1, "teacher": network(seed=9, width=24)}
    result = fit(students, method, copy.deepcopy(batches), evaluate=lambda student: next(accuracies), **options)
    assert (result.which, result.best_epoch, result.best_top1) == (1, 1, 0.4)
    assert [epoch["students_top1"] for epoch in result.curves["epochs"]] == [[0.1, 0.4, 0.2], [0.3, 0.3, 0.4]]
    assert [epoch["held_out_top1"] for epoch in result.curves["epochs"]] == [0.4, 0.4]

    alone = student(1)
    method = Crowd(students=1, regressors=copy.deepcopy(started[1:]))
    fit(alone, method, copy.deepcopy(batches), evaluate=lambda student: 0.5, **options)
    assert_same_bits(bits(alone), bits(students[1]))
    assert any(
        not torch.equal(one, other) for one, other in zip(method.regressors[0].parameters(), started[1].parameters(), strict=True)
    )


@dataclass
class Reciprocal(Method):
    """A method that uses every hook: its teacher counts steps and epochs."""

    views: ClassVar[tuple[str, ...]] = ("weak",)
    steps: int = 0
    heard: list[float] = field(default_factory=list)

    def student_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(batch.student["weak"], batch.labels_B)}

    def teacher_step(self, step: int) -> dict[str, Tensor]:
        self.steps += 1
        assert step == self.steps
        return {"odd": torch.tensor(float(step))} if step % 2 else {}

    def on_epoch_end(self, held_out_top1: float) -> dict[str, Any]:
        self.heard.append(held_out_top1)
        return {"heard": len(self.heard)}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "heard": list(self.heard)}

    def load_state_dict(self, state: Any) -> None:
        self.steps, self.heard = state["steps"], list(state["heard"])


def test_a_method_is_told_of_each_step_and_epoch_and_its_state_travels_with_the_loops(batches, network) -> None:
    method, kept = Reciprocal(), []
    options = {"teacher": network(seed=1), "evaluate": lambda student: 0.5, "epochs": 2, "learning_rate": 0.1}
    keep = lambda training: kept.append(training.state_dict())  # noqa: E731
    result = fit(network(), method, copy.deepcopy(batches), after_step=keep, **options)
    assert (method.steps, method.heard) == (12, [0.5, 0.5])
    assert [epoch["heard"] for epoch in result.curves["epochs"]] == [1, 2]
    assert result.curves["logged"] == {"odd": [3.0, 9.0]}  # the mean of steps 1, 3, 5 and of 7, 9, 11
    again = Reciprocal()
    fit(network(), again, batches, resume=kept[7], **options)
    assert (again.steps, again.heard) == (12, [0.5, 0.5])


def test_frozen_modules_keep_their_batchnorm_statistics_and_their_weights(batches, network, top1) -> None:
    student = network()
    student[:6].requires_grad_(False)
    before = bits(student)
    fit(student, Label(), batches, evaluate=top1, epochs=1, learning_rate=0.1, weight_decay=0.1)
    changed = [name for name, tensor in bits(student).items() if not torch.equal(tensor, before[name])]
    assert changed == ["8.weight", "8.bias"]


def test_bfloat16_forward_passes_still_train_and_keep_float32_weights(batches, network, top1) -> None:
    student = network()
    result = fit(student, SLD(), batches, teacher=network(seed=1), evaluate=top1, epochs=2, learning_rate=0.1, precision="bf16")
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}
    assert result.curves["epochs"][1]["losses"]["ce"] < result.curves["epochs"][0]["losses"]["ce"]


class Squint(Crowd):
    """Looks into the middle of its network, with two views."""

    views: ClassVar[tuple[str, ...]] = ("weak", "strong")
    needs_teacher: ClassVar[bool] = False


class Short:
    """Announces more batches than it has."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner) + 1

    def __iter__(self) -> Iterator[Any]:
        return iter(self.inner)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda o: o | {"method": KD()}, "this method needs a teacher"),
        (lambda o: o | {"student": o["student"].requires_grad_(False)}, "no parameter to train"),
        (lambda o: o | {"batches": Short(o["batches"])}, "did not have the 7 batches announced"),
        (lambda o: o | {"evaluate": lambda student: float("nan")}, "held-out accuracy is not a share"),
        (
            lambda o: o | {"method": type("Squint", (Crowd,), {"views": ("weak", "strong"), "needs_teacher": False})(1)},
            "one view",
        ),
        (lambda o: o | {"method": type("Twins", (Label,), {"students": 2})()}, "not as many students as the method wants"),
        (lambda o: o | {"method": type("Blind", (Label,), {"views": ("weak", "side")})()}, "no view 'side'"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: Callable[[Any], Any], says: str, batches, network, top1) -> None:
    o = change({"student": network(), "method": Label(), "batches": batches, "evaluate": top1})
    with pytest.raises(InputError, match=says):
        fit(o["student"], o["method"], o["batches"], evaluate=o["evaluate"], epochs=1, learning_rate=0.1)


class Versioned(nn.Linear):
    """Asks for the version its state was saved as, as MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any) -> None:
        assert local_metadata.get("version") == 2
        super()._load_from_state_dict(state, prefix, local_metadata, *rest)


def test_the_best_state_goes_back_into_a_network_that_asks_for_versions(batches, network, top1) -> None:
    student = network()
    student[8] = Versioned(32, 3)
    result = fit(student, Label(), batches, evaluate=top1, epochs=1, learning_rate=0.1)
    before = bits(student)
    put_back(student, result.best_state)
    assert_same_bits(bits(student), before)


def test_a_student_whose_statistics_overflowed_is_never_a_result(batches, network) -> None:
    student = network()
    student[1].momentum = 1.0

    def overflow(training: Training) -> None:
        if training.step == len(batches) - 1:
            training.batches.pictures *= 1e30

    batches.pictures = batches.pictures.clone()
    with pytest.raises(InputError, match="its best epoch holds numbers that are not finite") as caught:
        fit(student, Label(), batches, evaluate=lambda _: 0.5, epochs=1, learning_rate=1e-9, after_step=overflow)
    assert caught.value.seen == "1.running_var"
