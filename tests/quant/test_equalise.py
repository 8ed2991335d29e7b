"""Equalisation moves scale between layers and changes no float function; where channels are unequal it saves the int8 one."""

import copy
import json

import hard_nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgekd.quant import quantize, restore
from edgekd.quant.candidates import sqnr_db
from edgekd.quant.equalise import chains, equalise
from edgekd.quant.trace import prepare


def block(act: type[nn.Module], groups: int = 1) -> nn.Sequential:
    """Wide 1x1, depthwise or grouped 3x3, narrow 1x1, head over a pooled map: what an inverted residual has."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 1), act(), nn.Conv2d(12, 12, 3, padding=1, groups=groups), act(), nn.Conv2d(12, 8, 1), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()


@torch.no_grad()
def unbalance(net: nn.Sequential, spread: float, seed: int = 0) -> nn.Sequential:
    """The same float function with the channels between the first convolutions spread by exp(spread * N(0, 1))."""
    draw = torch.Generator().manual_seed(seed)
    for first, second in ((net[0], net[2]), (net[2], net[4])):
        factor = torch.exp(spread * torch.randn(12, generator=draw))
        first.weight *= factor.view(-1, 1, 1, 1)
        first.bias *= factor
        groups = second.groups
        second.weight.view(groups, 12 // groups if second is net[2] else 8, -1, second.weight[0, 0].numel()).div_(
            factor.view(groups, 1, -1, 1)
        )
    return net


@pytest.mark.parametrize("groups", [1, 3, 12])
@settings(max_examples=15, deadline=None)
@given(spread=st.floats(0, 3), seed=st.integers(0, 1000))
def test_the_float_function_stays_and_neighbours_become_equally_wide(groups, spread, seed):
    graph = prepare(unbalance(block(nn.ReLU, groups), spread, seed), (8, 8))
    images = hard_nets.images(4, 8, seed)
    with torch.no_grad():
        before = graph(images)
        assert equalise(graph) == ()
        torch.testing.assert_close(graph(images), before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))
    for pair in chains(graph):
        width = pair.first.weight.abs().flatten(1).amax(1)
        groups_of_second = getattr(pair.second, "groups", 1)
        reads = pair.second.weight.view(groups_of_second, -1, pair.second.weight.shape[1], pair.second.weight[0, 0].numel())
        torch.testing.assert_close(width, reads.abs().amax((1, 3)).flatten(), rtol=0.05, atol=0.0)


def test_clips_between_scaled_layers_become_relus_and_are_named():
    graph = prepare(block(nn.ReLU6), (8, 8))
    assert equalise(graph) == ("1", "3", "5")
    assert all(type(graph.get_submodule(name)) is nn.ReLU for name in ("1", "3", "5"))


def test_a_tensor_that_two_layers_read_ends_a_chain():
    assert len(chains(prepare(hard_nets.make(hard_nets.Residual), (16, 16)))) == 1  # inside the block only


def test_a_channel_without_weights_is_left_alone():
    net = block(nn.ReLU)
    with torch.no_grad():
        net[0].weight[3] = 0
        net[2].weight[:, 4] = 0
    graph = prepare(net, (8, 8))
    equalise(graph)
    assert all(torch.isfinite(value).all() for value in graph.state_dict().values())
    assert torch.equal(graph.get_submodule("0").bias[3], net[0].bias[3])


@torch.no_grad()
def test_unequal_channels_are_quantized_better_equalised_and_that_candidate_is_chosen():
    net = unbalance(block(nn.ReLU, groups=12), 1.5)
    images = hard_nets.images(64)
    ours = quantize(net, images.split(32), ("ort", "ort-w7", "trt"))
    noise = {one["name"]: min(one["sqnr_db"].values()) for one in ours.candidates}
    (chosen,) = (one["name"] for one in ours.candidates if one["chosen"])
    assert chosen.startswith("equalised") and noise["equalised"] > noise["plain"] + 5
    assert sqnr_db(net(images), ours.floating()(images)) > 100  # equalised or not, the float network is the one given


@torch.no_grad()
def test_an_equalised_network_is_restored_with_its_clips_gone():
    net = block(nn.ReLU6, groups=12)
    net[0].weight *= 0.05  # far from the clip
    net[0].bias *= 0.05
    images = hard_nets.images(64)
    ours = quantize(unbalance(net, 2.0), [images])
    assert ours.sites["unclipped"]
    again = restore(net, ours.state_dict(), json.loads(json.dumps(ours.sites)))
    for flavour in ("ort", "ort-w7", "trt"):
        assert torch.equal(ours.simulate(flavour)(images), again.simulate(flavour)(images))
    assert torch.equal(ours.floating()(images), again.floating()(images))


def test_equalising_a_copy_leaves_the_network_alone():
    net = block(nn.ReLU6)
    before = copy.deepcopy(net.state_dict())
    quantize(net, [hard_nets.images(8)])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()) and type(net[1]) is nn.ReLU6
