"""What users write in many ways becomes one vocabulary. That it computes the same, ``prepare`` itself checks, in float64."""

import families
import hard_nets
import pytest
import torch
import torch.nn.functional as F
from healthy import gratings, healthy
from torch import nn

from edgekd.quant import ops
from edgekd.quant.sites import place
from edgekd.quant.trace import prepare


class _Between(nn.Module):
    """Two convolutions and a head, with ``what`` between the two; it gets the module, whose parameters it may use, and x."""

    def __init__(self, what, channels=8, inner=None):
        super().__init__()
        self.first, self.last, self.head = hard_nets.conv(3, 8), hard_nets.conv(channels, 8), nn.Linear(8, 2)
        self.scale, self.shift = nn.Parameter(torch.rand(8, 1, 1) + 0.5), nn.Parameter(torch.randn(8, 1, 1))
        self.flat, self.bias = nn.Parameter(torch.rand(8)), nn.Parameter(torch.randn(8))
        self.kernel = nn.Parameter(torch.randn(8, 2, 3, 3))
        self.inner, self.what = inner, what

    def forward(self, x):
        return self.head(F.relu(self.last(self.what(self, self.first(x)))).mean((2, 3)))


def _prepared(what, **options):
    torch.manual_seed(0)
    return prepare(_Between(what, **options).eval(), (12, 8))


def _kinds(graph):
    """What the middle is made of."""
    called = [node for node in graph.graph.nodes if node.op == "call_module"]
    return [type(graph.get_submodule(node.target)).__name__ for node in called][1:-5]


@pytest.mark.parametrize(
    "what",
    [
        lambda net, x: x * net.scale + net.shift,
        lambda net, x: net.scale * x - 1,
        lambda net, x: x / 2.5 + net.flat.view(1, 8, 1, 1),
        lambda net, x: (1 - x) * net.flat[None, :, None, None],
        lambda net, x: (x.permute(0, 2, 3, 1) * net.flat).permute(0, 3, 1, 2),
    ],
    ids=["tensor", "from the left", "reshaped", "one minus", "channels last"],
)  # fmt: skip
def test_a_constant_a_channel_is_folded_into_the_convolution_before_it(what):
    graph = _prepared(what)
    assert set(_kinds(graph)) <= {"Transpose"} and not any(node.op == "call_function" for node in graph.graph.nodes)


def test_a_constant_behind_what_is_no_convolution_becomes_a_depthwise_one():
    graph = _prepared(lambda net, x: F.relu(x) * net.scale)
    assert _kinds(graph) == ["ReLU", "Conv2d"] and graph.mul.groups == 8 and graph.mul.kernel_size == (1, 1)
    assert place(graph).floats == ()


@pytest.mark.parametrize(
    "what",
    [lambda net, x: x * torch.rand(8, 12, 8), lambda net, x: net.shift / x.abs().add(1), lambda net, x: x**2 * net.scale],
    ids=["a constant a pixel", "divided by the image", "behind what stays float"],
)
def test_other_arithmetic_with_constants_stays_float_with_a_reason(what):
    placement = place(_prepared(what))
    assert any("no integer kernel" in one["reason"] for one in placement.floats)


def test_an_image_that_the_network_normalizes_itself_is_rounded_behind_that():
    class Own(_Between):
        def forward(self, x):
            return super().forward((x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.2)

    placement = place(prepare(Own(lambda net, x: x).eval(), (8, 8)))
    assert [one["layer"] for one in placement.floats] == ["sub", "truediv"]
    assert placement.layers[0].input.name == "truediv"


@pytest.mark.parametrize(
    "what",
    [
        lambda net, x: x * F.relu6(x + 3) / 6,
        lambda net, x: x * (F.relu6(x + 3.0) / 6.0),
        lambda net, x: x * torch.clamp(x + 3, 0, 6) * (1 / 6),
        lambda net, x: F.hardswish(x),
    ],
)
def test_a_hard_swish_spelt_out_is_one(what):
    graph = _prepared(what)
    assert sorted(_kinds(graph)) == ["Hardsigmoid", "Mul"]
    assert any(group.tailed and group.known is None for group in place(graph).groups if not group.non_negative)


def test_convolutions_and_linear_layers_called_as_functions_are_layers():
    graph = _prepared(lambda net, x: F.conv2d(x, net.kernel * 2, net.bias, padding=1, groups=4))
    assert _kinds(graph) == ["Conv2d"] and graph.conv2d.groups == 4
    assert {layer.name for layer in place(graph).layers} == {"first", "conv2d", "last", "head"}


def test_weights_that_depend_on_the_image_leave_a_convolution_float_with_a_reason():
    def dynamic(net, x):
        return F.conv2d(x, net.kernel * x.mean(), padding=1, groups=4)

    placement = place(_prepared(dynamic))
    assert "conv2d" in [one["layer"] for one in placement.floats]


@pytest.mark.parametrize(
    ("what", "slices"),
    [
        (lambda net, x: torch.cat([x[:, 4:], x[:, :4]], 1), 2),
        (lambda net, x: x[..., ::2, 1::2], 2),
        (lambda net, x: torch.cat([x[:, : x.size(1) // 2], x[:, x.size(1) // 2 :]], 1), 2),
        (lambda net, x: x[:], 0),
    ],
)
def test_indexing_by_slices_is_slices(what, slices):
    kinds = _kinds(_prepared(what))
    assert kinds.count("Slice") == slices and set(kinds) <= {"Slice", "Concat"}


def test_the_short_way_of_a_cifar_resnet_needs_no_float_but_the_channels_it_pads():
    placement = place(_prepared(lambda net, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)), channels=16))
    assert [one["layer"] for one in placement.floats] == ["pad"]


@pytest.mark.parametrize("padding", [0, 1, "valid"])
def test_a_padding_before_a_convolution_is_the_convolutions_own(padding):
    inner = nn.Sequential(nn.ZeroPad2d((2, 2, 1, 1)), nn.Conv2d(8, 8, 3, padding=padding))
    graph = _prepared(lambda net, x: net.inner(x), inner=inner)
    own = 0 if padding == "valid" else padding
    assert _kinds(graph) == ["Conv2d"] and tuple(graph.get_submodule("inner.1").padding) == (own + 1, own + 2)


def test_a_padding_on_one_side_stays_float_with_a_reason_and_the_convolution_behind_it_does_not():
    placement = place(_prepared(lambda net, x: F.pad(x, (0, 1, 0, 1))))
    assert [one["layer"] for one in placement.floats] == ["pad"]
    assert {layer.name for layer in placement.layers} == {"first", "last", "head"}


def test_a_gate_spread_over_all_pixels_is_multiplied_as_it_is():
    graph = _prepared(lambda net, x: x * torch.sigmoid(x.mean((2, 3))).view(-1, 8, 1, 1).expand_as(x))
    assert "Spread" not in _kinds(graph) and place(graph).floats == ()
    graph = _prepared(lambda net, x: torch.cat([x, x.mean((2, 3), keepdim=True).expand(-1, -1, 12, 8)], 1), channels=16)
    assert "Spread" in _kinds(graph) and place(graph).floats == ()


@pytest.mark.parametrize("what", [lambda net, x: net.inner(x), lambda net, x: F.channel_shuffle(x, 2)])
def test_torchs_own_channel_shuffle_is_moves(what):
    assert _kinds(_prepared(what, inner=nn.ChannelShuffle(2))) == ["Reshape", "Transpose", "Reshape"]


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        (nn.AdaptiveMaxPool2d(1), "MaxPool2d"),
        (nn.AdaptiveMaxPool2d((6, 4)), "MaxPool2d"),
        (nn.AdaptiveAvgPool2d((3, 4)), "AvgPool2d"),
        (nn.AdaptiveAvgPool2d((1, None)), "AvgPool2d"),
        (nn.AdaptiveAvgPool2d(5), "AdaptiveAvgPool2d"),
    ],
)
def test_pools_of_images_that_are_not_square(pool, kind):
    assert _kinds(_prepared(lambda net, x: net.inner(x), inner=pool)) == [kind]


def test_the_linear_layers_of_a_convnext_are_convolutions_and_two_transposes_a_block_remain():
    images, labels = gratings(64, 32)
    graph = prepare(healthy(families.make("ConvNeXt"), images, labels), (32, 32))
    placement = place(graph)
    assert not any(isinstance(module, nn.Linear) for name, module in graph.named_modules() if "classifier" not in name)
    blocks, norms = 3, 3  # each norm outside of a block has its channels moved last and back
    assert sum(isinstance(module, ops.Transpose) for module in graph.modules()) == 2 * (blocks + norms)
    assert not any("MatMul" in one["reason"] or "mul" in one["layer"] for one in placement.floats)


def test_a_linear_layer_over_tokens_stays_float_with_a_reason():
    def tokens(net, x):
        return net.inner(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (12, 8))

    listed = {one["layer"]: one["reason"] for one in place(_prepared(tokens, inner=nn.Linear(8, 8))).floats}
    assert "3 axes" in listed.pop("inner") and not listed
