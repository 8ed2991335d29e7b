"""Two processes that train together are one: the same losses, weights and decisions, but for the rounding of sums."""

import subprocess
import sys
from pathlib import Path

import pytest
import together
import torch
from torch import nn

from edgekd.distill import parallel


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What each of the two made of every case."""
    folder = tmp_path_factory.mktemp("two")
    assert subprocess.run([sys.executable, together.__file__, str(folder), "2"], check=False, timeout=240).returncode == 0
    return [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", together.CASES)
def test_two_processes_train_as_one_at_the_same_whole_batch(case, of_two):
    one, two = together.train(case), of_two[0][case]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert two["logged"].keys() == one["logged"].keys()
    for name, means in one["logged"].items():
        assert two["logged"][name] == pytest.approx(means, rel=1e-4, abs=1e-6), name
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("case", together.CASES)
def test_both_processes_end_with_the_same_bits(case, of_two):
    one, other = (of_rank[case] for of_rank in of_two)
    assert one["curves"] == other["curves"]
    assert one["losses"] == other["losses"]
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])


def test_the_teacher_that_learns_did_learn(of_two):
    learned, as_it_was = of_two[0]["ffkd"]["weights"], together.network(8, 9).state_dict()
    assert not torch.equal(learned["teacher.0.weight"], as_it_was["0.weight"])


def test_two_processes_taken_up_again_end_with_the_bits_of_undisturbed_ones(of_two):
    undisturbed, resumed = of_two[0]["ffkd"], of_two[0]["ffkd, resumed"]
    assert resumed["losses"] == undisturbed["losses"][-len(resumed["losses"]) :]
    assert all(torch.equal(resumed["weights"][name], weight) for name, weight in undisturbed["weights"].items())


def test_one_process_is_left_as_it_is():
    network, rows = nn.Linear(2, 2), torch.ones(3, 2, requires_grad=True)
    assert parallel.replicated(network) is network
    assert parallel.gathered(rows) is parallel.joined(rows) is parallel.averaged(rows) is parallel.summed(rows) is rows
    assert parallel.agreed(1, 2) == (1, 2)
    assert parallel.of_first(b"content") == b"content"
