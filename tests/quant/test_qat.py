"""The network to train rounds exactly as the files will, passes gradients through its rounding, and keeps every name."""

import copy

import hard_nets
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgekd.core import InputError
from edgekd.distill.tiny_maps import quick_tiny_maps
from edgekd.quant import quantize, use
from edgekd.quant.fakequant import WEIGHT_LEVELS, Grid, weight_scale
from edgekd.quant.sites import Site

FLAVOURS = tuple(WEIGHT_LEVELS)


@pytest.fixture(scope="module", params=hard_nets.NETS, ids=lambda kind: kind.__name__)
def quantized(request):
    return quantize(hard_nets.make(request.param), [hard_nets.images(32)], FLAVOURS)


def trained(network):
    return [weight for weight in network.parameters() if weight.requires_grad]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_in_eval_mode_it_answers_as_the_simulation_of_each_flavour(quantized, layout):
    network, images = quantized.trainable().eval(), hard_nets.images(8, seed=5).to(memory_format=layout)
    for flavour in (*FLAVOURS, *FLAVOURS[::-1]):  # switching leaves nothing behind
        use(network, flavour)
        assert torch.equal(network(images), quantized.simulate(flavour)(images))


def test_the_quantized_layers_are_trained_and_no_others(quantized):
    network, layers = quantized.trainable(), {layer["layer"] for layer in quantized.sites["layers"]}
    assert {name.rpartition(".")[0] for name, weight in network.named_parameters() if weight.requires_grad} == layers


def test_every_weight_and_bias_gets_a_finite_gradient_in_its_own_memory_order(quantized):
    network = quantized.trainable().to(memory_format=torch.channels_last)
    images = hard_nets.images(8).contiguous(memory_format=torch.channels_last)
    for flavour in FLAVOURS:
        use(network, flavour)
        network.zero_grad()
        network(images).square().mean().backward()
        for weight in trained(network):
            assert weight.grad is not None and torch.isfinite(weight.grad).all()
            assert [step for step, size in zip(weight.grad.stride(), weight.shape, strict=True) if size > 1] == [
                step for step, size in zip(weight.stride(), weight.shape, strict=True) if size > 1
            ]
        assert all(weight.grad.any() for name, weight in network.named_parameters() if name.endswith("head.weight"))


def test_trained_weights_go_back_by_name_and_keep_the_grids(quantized):
    network = quantized.trainable()
    with torch.no_grad():
        for weight in network.parameters():
            weight *= 0.5
    trained = quantized.with_weights(network.state_dict())
    assert trained.sites == quantized.sites and trained.candidates == quantized.candidates
    assert all(
        torch.equal(value, 0.5 * quantized.state_dict()[name])
        for name, value in trained.state_dict().items()
        if value.is_floating_point()
    )
    images = hard_nets.images(4)
    with torch.no_grad():
        use(network.eval(), "ort")
        assert torch.equal(network(images), trained.simulate("ort")(images))
        assert torch.equal(trained.floating()(images), quantized.floating()(images))


def test_a_batch_norm_that_could_not_be_folded_keeps_its_statistics_in_training():
    net = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.BatchNorm1d(192, affine=False), nn.ReLU(), nn.Linear(192, 4)).eval()
    ours = quantize(net, [hard_nets.images(16, 8)])
    network = copy.deepcopy(ours.trainable()).train()
    (norm,) = (module for module in network.modules() if isinstance(module, nn.BatchNorm1d))
    network(hard_nets.images(16, 8))
    assert not norm.running_mean.any() and not norm.training
    assert network.training and next(module for module in network.modules() if isinstance(module, nn.Linear)).training
    assert list(network.state_dict()) == list(ours.state_dict())


def test_a_few_steps_bring_the_rounded_logits_nearer_to_the_float_ones():
    net, images = hard_nets.make(hard_nets.Residual), hard_nets.images(32)
    ours = quantize(net, [images])
    network, wanted = ours.trainable(), net(images).detach()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(20):
        use(network, ("ort", "ort-w7")[step % 2])
        loss = (network(images) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_a_saturated_activation_passes_no_gradient():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)).eval()
    ours = quantize(net, [hard_nets.images(16, 8)])
    network = ours.trainable()
    use(network, "ort")
    far = (1e3 * torch.ones(1, 3, 8, 8)).requires_grad_()
    network(far).sum().backward()
    assert not far.grad.any()  # the input itself saturates


def test_convolutions_on_tiny_maps_take_the_quick_way_with_their_rounded_weights():
    """The quick way and torch's own give the same output and gradients."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)
    )
    net = nn.Sequential(*net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    ours = quantize(net, [hard_nets.images(32, 8)])
    images = hard_nets.images(8, 8)
    found = []
    for quick in (False, True):
        network = ours.trainable().to(memory_format=torch.channels_last)
        use(network, "ort-w7")
        if quick:
            with quick_tiny_maps(network):
                assert sum("_conv_forward" in vars(module) for module in network.modules()) == 3
                out = network(images)
                out.square().sum().backward()
        else:
            out = network(images)
            out.square().sum().backward()
        found.append([out.detach(), *(weight.grad for weight in trained(network))])
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-4)


def test_an_unknown_flavour_is_refused(quantized):
    with pytest.raises(InputError, match="flavour"):
        use(quantized.trainable(), "int4")


class _Divisors(TorchDispatchMode):
    """Notes what tensors are divided by."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, called, types, args=(), kwargs=None):
        if called is torch.ops.aten.div.Tensor:
            self.seen.append((args[0].device.type, getattr(args[1], "device", torch.device("cpu")).type))
        return called(*args, **(kwargs or {}))


@torch.no_grad()
def test_whatever_it_divides_by_lies_where_it_computes(quantized):
    """Else CUDA multiplies by the reciprocal."""
    network = quantized.trainable().eval().to("meta")
    for flavour in FLAVOURS:
        use(network, flavour)
        with _Divisors() as divisors:
            network(hard_nets.images(2).to("meta"))
        assert divisors.seen and set(divisors.seen) == {("meta", "meta")}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@torch.no_grad()
def test_a_gpu_rounds_to_the_same_bits():
    values = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    site = Site("site")
    site.grids, site.mode = {"ort": Grid.of(-3.7, 3.7, signed=True)}, "ort"
    assert torch.equal(site(values), site(values.cuda()).cpu())
    weight, bias = values.view(1024, 1024), values[:1024]
    for levels in (64, 127):
        assert torch.equal(weight_scale(weight, bias, 0.01, levels), weight_scale(weight.cuda(), bias.cuda(), 0.01, levels).cpu())
