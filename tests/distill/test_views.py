from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from edgekd.distill import views
from edgekd.distill.views import answers, in_one_pass


def pictures(batch: int = 5, size: int = 6) -> dict[str, Tensor]:
    """Views with very different statistics, so that mixing them could not stay unnoticed."""
    draw = torch.Generator().manual_seed(1)
    weak = torch.randn(batch, 3, size, size, generator=draw)
    return {"weak": weak, "strong": 3 * torch.randn(batch, 3, size, size, generator=draw) + 1}


def network(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), norm, nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Linear(6, 3),
    )  # fmt: skip


def learnt(net: nn.Module, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs, gradients and state after one backward pass."""
    loss = sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outputs.values())
    loss.backward()
    return {
        **{f"out {view}": out.detach() for view, out in outputs.items()},
        **{f"grad {name}": weight.grad for name, weight in net.named_parameters() if weight.grad is not None},
        **net.state_dict(),
    }


NORMS = {
    "momentum": nn.BatchNorm2d(4),
    "cumulative": nn.BatchNorm2d(4, momentum=None),
    "no running statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "no weights": nn.BatchNorm2d(4, affine=False),
    "frozen": nn.BatchNorm2d(4).eval(),
    "frozen without statistics": nn.BatchNorm2d(4, track_running_stats=False).eval(),
    "instance": nn.InstanceNorm2d(4, affine=True),
    "group": nn.GroupNorm(2, 4),
    "layer": nn.LayerNorm([4, 6, 6]),
    "none": nn.Identity(),
}


@pytest.mark.parametrize("kind", NORMS)
def test_one_pass_over_both_views_equals_a_pass_of_each(kind: str) -> None:
    apart, together = (network(copy.deepcopy(NORMS[kind])) for _ in range(2))
    for _ in range(2):  # the second time running statistics are no longer those of a new network
        expected = learnt(apart, {view: apart(images) for view, images in pictures().items()})
        found = learnt(together, in_one_pass(together, pictures()))
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        exact = name.startswith("out") or "num_batches" in name
        torch.testing.assert_close(found[name], right, **({"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-5}))


def test_running_statistics_take_in_the_weak_view_before_the_strong() -> None:
    norm, images = nn.BatchNorm2d(3), pictures()
    in_one_pass(norm, images)
    weak, strong = (view.mean((0, 2, 3)) for view in images.values())
    torch.testing.assert_close(norm.running_mean, 0.9 * 0.1 * weak + 0.1 * strong)
    assert int(norm.num_batches_tracked) == 2


def test_a_network_in_eval_mode_answers_as_ever_and_learns_no_statistics() -> None:
    net = network(nn.BatchNorm2d(4)).eval()
    before = copy.deepcopy(net.state_dict())
    for view, out in in_one_pass(net, pictures()).items():
        assert torch.equal(out, net(pictures()[view]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_hooks_of_a_normalization_see_both_views_once() -> None:
    net, seen = network(nn.BatchNorm2d(4)), []
    net[1].register_forward_hook(lambda module, inputs, out: seen.append(len(out)))
    in_one_pass(net, pictures())
    assert seen == [10]


def test_networks_come_back_as_they_were_even_by_an_error() -> None:
    net = network(nn.BatchNorm2d(4))
    before = {name: dict(vars(module)) for name, module in net.named_modules()}
    with pytest.raises(RuntimeError):
        in_one_pass(net, {"weak": torch.randn(2, 5, 6, 6), "strong": torch.randn(2, 5, 6, 6)})
    assert {name: dict(vars(module)) for name, module in net.named_modules()} == before


def test_a_normalization_that_was_given_another_forward_keeps_it_and_gets_each_view_alone() -> None:
    norm, seen = nn.BatchNorm2d(3), []
    vars(norm)["forward"] = other = lambda x: seen.append(len(x)) or x
    in_one_pass(norm, pictures())
    assert seen == [5, 5]
    assert norm.forward is other


@pytest.mark.parametrize(("size", "passes"), [(6, 1), (60, 2)])
def test_only_few_pixels_are_worth_one_pass_on_a_cpu(size: int, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST_PIXELS_ON_CPU", 5 * 6 * 6)
    net, seen = nn.Sequential(nn.AdaptiveAvgPool2d(6), network(nn.BatchNorm2d(4))), []
    net.register_forward_hook(lambda module, inputs, out: seen.append(len(out)))
    assert {view: len(out) for view, out in answers(net, pictures(size=size)).items()} == {"weak": 5, "strong": 5}
    assert len(seen) == passes


def test_one_view_is_one_plain_pass() -> None:
    net, alone = network(nn.BatchNorm2d(4)), {"weak": pictures()["weak"]}
    assert torch.equal(answers(net, alone)["weak"], copy.deepcopy(net)(alone["weak"]))
