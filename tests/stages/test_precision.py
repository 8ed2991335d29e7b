"""Which precision a training computes in: forced by the recipe, given by a GPU, measured on a CPU, kept with a checkpoint."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgekd import distill
from edgekd.stages import precision
from edgekd.stages.precision import settled, speedup, trial_step

CPU = torch.device("cpu")


def recipe(wanted="auto"):
    return SimpleNamespace(compute=SimpleNamespace(precision=wanted))


def never():
    raise AssertionError("nothing was to be measured")


def taking(fp32, bf16):
    """A trial whose steps take these seconds, the first of each kind much longer."""
    seen = []

    def step_s(one):
        seen.append(one)
        return {"fp32": fp32, "bf16": bf16}[one] * (1 if seen.count(one) > 1 else 100)

    return lambda: step_s


@pytest.fixture
def cpu_with_bf16(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_the_recipe_names_is_taken_unmeasured(wanted, cpu_with_bf16):
    assert settled(recipe(wanted), CPU, {"device": "cpu", "precision": "fp32"}, never) == {"precision": wanted}


@pytest.mark.parametrize(("has_it", "taken"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_takes_bf16_if_it_has_it(has_it, taken, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_it)
    assert settled(recipe(), torch.device("cuda"), None, never) == {"precision": taken}


def test_a_cpu_without_bf16_takes_fp32_unmeasured(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    kept_elsewhere = {"device": "cpu", "precision": "bf16", "bf16_speedup": 2.0}
    assert settled(recipe(), CPU, kept_elsewhere, never) == {"precision": "fp32"}


@pytest.mark.parametrize(
    ("fp32", "bf16", "taken"), [(2.4, 1.0, "bf16"), (1.2, 1.0, "bf16"), (1.1, 1.0, "fp32"), (1.0, 4.0, "fp32")]
)
def test_a_cpu_with_bf16_takes_it_only_where_steps_are_clearly_faster(fp32, bf16, taken, cpu_with_bf16):
    assert settled(recipe(), CPU, None, taking(fp32, bf16)) == {"precision": taken, "bf16_speedup": round(fp32 / bf16, 2)}


def test_a_training_taken_up_again_keeps_its_precision_but_not_that_of_another_device(cpu_with_bf16):
    kept = {"device": "cpu", "threads": 2, "precision": "bf16", "bf16_speedup": 2.5}
    assert settled(recipe(), CPU, kept, never) == {"precision": "bf16", "bf16_speedup": 2.5}
    assert settled(recipe(), CPU, kept | {"device": "cuda"}, taking(1, 1))["precision"] == "fp32"


def test_a_disturbed_step_does_not_decide():
    times = {"fp32": iter([9, 1.0, 5, 1.1]), "bf16": iter([9, 3, 0.5, 4])}
    assert speedup(lambda one: next(times[one])) == 2.0


def test_bf16_is_that_of_this_cpu():
    assert precision.cpu_has_bf16() == torch.ops.mkldnn._is_mkldnn_bf16_supported()


class OneBatch:
    """Stands at a batch that a look must not use up."""

    def __init__(self):
        self.number = 3

    def __len__(self):
        return 6

    def __iter__(self):
        while self.number < 6:
            draw = torch.Generator().manual_seed(self.number)
            self.number += 1
            labels = torch.randint(0, 3, (8,), generator=draw)
            views = {view: torch.randn(8, 3, 6, 6, generator=draw) + labels[:, None, None, None] for view in ("weak", "strong")}
            yield views, labels
        self.number = 0

    def state_dict(self):
        return {"number": self.number}

    def load_state_dict(self, state):
        self.number = state["number"]


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def test_a_trial_takes_steps_in_both_precisions_and_leaves_everything_as_it_was():
    student, teacher, batches = network(0), network(1), OneBatch()
    before = copy.deepcopy((student.state_dict(), teacher.state_dict()))
    step_s = trial_step(student, teacher, batches)
    assert step_s("fp32") > 0 and step_s("bf16") > 0
    assert batches.number == 3 and student[0].weight.grad is None and student.training and teacher.training
    for network_before, one in zip(before, (student, teacher), strict=True):
        assert all(torch.equal(tensor, network_before[name]) for name, tensor in one.state_dict().items())


def test_a_training_in_bf16_learns_as_one_in_float32_does():
    def losses(how):
        student, batches = network(0), OneBatch()
        batches.number = 0
        result = distill.fit(student, distill.create("sld"), batches, teacher=network(1), evaluate=lambda _: 0.5, epochs=4,
                             learning_rate=0.02, precision=how)  # fmt: skip
        assert all(weight.dtype == torch.float32 for weight in student.parameters())
        return [epoch["loss"] for epoch in result.curves["epochs"]]

    assert losses("bf16") == pytest.approx(losses("fp32"), rel=0.03)
    assert losses("bf16") != losses("fp32")
