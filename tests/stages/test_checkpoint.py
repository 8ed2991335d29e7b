"""The file a training is kept in: what comes out is what went in, bit for bit, or nothing; and it costs what it may cost."""

import copy
import errno
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgekd import distill
from edgekd.core import EnvironmentProblem, InputError, Interrupted
from edgekd.stages import checkpoint
from edgekd.stages.checkpoint import LEAST_WAIT_IN_COSTS, Checkpoint, _packed, _unpacked
from edgekd.stages.stop import STOP

COMPUTE = {"device": "cpu", "threads": 1, "precision": "fp32"}


class Batches:
    """Six batches an epoch, each a function of its number."""

    def __init__(self):
        self.number = 0

    def __len__(self):
        return 6

    def __iter__(self):
        for _ in range(self.number % 6, 6):
            draw = torch.Generator().manual_seed(self.number)
            self.number += 1
            yield {"weak": torch.randn(8, 3, 6, 6, generator=draw)}, torch.randint(0, 3, (8,), generator=draw)

    def state_dict(self):
        return {"number": self.number}

    def load_state_dict(self, state):
        self.number = state["number"]


def network(seed=0):
    torch.manual_seed(seed)
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(288, 3))


def fit(student, **options):
    accuracies = iter([0.5, 0.25, 0.5])
    return distill.fit(student, distill.Label(), Batches(), evaluate=lambda _: next(accuracies, 0.5), epochs=3, learning_rate=0.1,
                       **options)  # fmt: skip


@pytest.fixture
def heard():
    return []


@pytest.fixture
def of_step(tmp_path, heard):
    """A checkpoint of the training "teacher" of the step with this key, as a new process opens it."""

    def opened(key="abc"):
        checkpoint = Checkpoint(tmp_path / f"{key}.checkpoint", "teacher", heard.append)
        checkpoint.compute = COMPUTE
        return checkpoint

    return opened


@pytest.fixture
def kept_at(of_step, monkeypatch):
    """Train until asked to stop in this step."""

    def run(step, kept, **options):
        def after_step(training):
            monkeypatch.setattr(STOP, "asked", 15 if training.step == step else None)
            kept.after_step(training)

        with pytest.raises(Interrupted) as stopped:
            fit(network(), after_step=after_step, **options)
        monkeypatch.setattr(STOP, "asked", None)
        assert stopped.value.exit_code == 143

    return run


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_training_kept_in_the_file_twice_goes_on_to_the_same_bits_and_says_where(of_step, kept_at):
    whole = network()
    expected = fit(whole)
    kept_at(4, of_step())
    second = of_step()
    kept_at(12, second, resume=second.load())
    third, again = of_step(), network(seed=5)
    result = fit(again, resume=third.load())
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_bits(result.best_state, expected.best_state)
    assert [(one["step"], one["compute"]) for one in third.resumed] == [(4, COMPUTE), (12, COMPUTE)]
    assert all(one["seconds"] >= 0 for one in third.resumed)


def test_what_is_packed_comes_out_the_same():
    tensors = {"": torch.tensor(float("nan")), "a/b": torch.arange(6, dtype=torch.uint8), "half": torch.ones(2, 0).bfloat16()}
    document = {"state": tensors, "plain": [1, 0.1, None, "tensor", {"tensor": {"items": []}}], "deep": [[tensors["a/b"] + 1]]}
    found = _unpacked(_packed(document))
    assert found["plain"] == document["plain"]
    assert found["state"].keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found["state"][name].dtype == tensor.dtype
        torch.testing.assert_close(found["state"][name], tensor, rtol=0, atol=0, equal_nan=True)
    assert found["deep"][0][0].tolist() == [1, 2, 3, 4, 5, 6]


def test_no_changed_or_missing_byte_passes():
    content = _packed({"state": {"weight": torch.ones(3)}, "step": 1})
    assert _unpacked(content) is not None
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        assert _unpacked(bytes(changed)) is None
        assert _unpacked(content[:place]) is None
    assert _unpacked(content + b"\0") is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content[::-1]])
def test_a_damaged_file_is_not_used_and_that_is_said(damage, of_step, kept_at, tmp_path):
    kept_at(4, of_step())
    (path,) = tmp_path.glob("abc.checkpoint/*")
    path.write_bytes(damage(path.read_bytes()))
    opened = of_step()
    assert (opened.load(), opened.refused, opened.resumed) == (None, "checkpoint damaged: training starts anew", [])


def test_a_file_of_another_step_is_not_used(of_step, kept_at, tmp_path):
    kept_at(4, of_step())
    (tmp_path / "abc.checkpoint").rename(tmp_path / "other.checkpoint")
    opened = of_step("other")
    assert (opened.load(), opened.refused) == (None, "checkpoint of another step: training starts anew")


def test_without_a_file_it_starts_without_a_word_and_half_written_ones_go(of_step, tmp_path):
    left_behind = tmp_path / "abc.checkpoint" / ".teacher.checkpoint.12ab34cd.tmp"
    left_behind.parent.mkdir()
    left_behind.write_bytes(b"half")
    opened = of_step()
    assert (opened.load(), opened.refused, left_behind.exists()) == (None, None, False)


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "Input/output error"), EnvironmentProblem("no space left on the disk")])
def test_a_disk_that_takes_no_checkpoint_does_not_end_the_training_and_is_told_once(of_step, heard, monkeypatch, problem):
    def refuse(path, content):
        raise problem

    monkeypatch.setattr(checkpoint, "write_atomic", refuse)
    monkeypatch.setattr(checkpoint, "LEAST_WAIT_IN_COSTS", 0.0)
    result = fit(network(), after_step=of_step().after_step)
    assert len(result.curves["epochs"]) == 3
    (said,) = heard
    assert said == f"no checkpoint could be written ({problem}); training goes on"


@pytest.mark.parametrize("cost_s", [0.01, 0.5, 20.0])
def test_checkpoints_take_less_than_two_percent_and_lose_at_most_a_twentieth_or_ten_minutes(of_step, monkeypatch, cost_s):
    now, written = [0.0], []
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kept = of_step()

    def keep(training):
        written.append(now[0])
        now[0] += cost_s

    monkeypatch.setattr(kept, "_keep", keep)
    monkeypatch.setattr(checkpoint, "_bytes_of", lambda student: 1e6)
    while now[0] < 5 * 3600:
        now[0] += 0.5
        kept.after_step(SimpleNamespace(student=None))
    assert len(written) * cost_s <= now[0] * 0.02
    gaps = [(later - earlier, later) for earlier, later in pairwise(written)]
    assert all(gap <= max(LEAST_WAIT_IN_COSTS * cost_s, min(later / 20, 600)) + cost_s + 1 for gap, later in gaps)
    assert len(written) < 200


def test_a_training_that_has_diverged_is_not_kept(of_step, kept_at, tmp_path, monkeypatch):
    """On a GPU the check for finite numbers is read later: a step may have been refused that nobody knows of yet."""
    monkeypatch.setattr("edgekd.distill.loop._reading_interval", lambda device: 1000)
    student = network()
    kept, before = of_step(), copy.deepcopy(student.state_dict())
    with pytest.raises(InputError, match="diverged"):
        distill.fit(student, distill.Label(), Poisoned(), evaluate=lambda _: 0.5, epochs=1, learning_rate=0.1,
                    after_step=lambda training: kept._keep(training))  # fmt: skip
    assert not list(tmp_path.glob("abc.checkpoint/*"))
    assert_same_bits(dict(student.named_parameters()), {name: before[name] for name, _ in student.named_parameters()})


class Poisoned(Batches):
    def __iter__(self):
        for views, labels in super().__iter__():
            yield {"weak": views["weak"] * float("nan")}, labels
