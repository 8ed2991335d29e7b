import hard_nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.core import InputError
from edgekd.quant import ops
from edgekd.quant.trace import prepare


def _kinds(net):
    return [type(module).__name__ for module in prepare(net, (16, 16)).modules() if not list(module.children())]


@pytest.mark.parametrize("kind", hard_nets.NETS)
def test_the_rewritten_net_computes_what_the_net_computed(kind):
    net, images = hard_nets.make(kind), hard_nets.images()
    with torch.no_grad():
        before, after = net(images), prepare(net, (16, 16))(images)
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))


def test_the_net_itself_is_left_as_it_was():
    net = hard_nets.make(hard_nets.Residual).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    prepare(net, (16, 16))
    assert net.training and net.relu.inplace
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_batch_norms_are_gone_also_the_one_that_follows_no_convolution():
    net = prepare(hard_nets.make(hard_nets.PreActivated), (16, 16))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert net.norm.groups == 8 and net.norm.kernel_size == (1, 1)


def test_hard_swish_and_silu_become_a_gate_and_a_product_and_a_gate_behind_a_conv_becomes_a_clip():
    kinds = _kinds(hard_nets.make(hard_nets.Inverted))
    assert kinds.count("Mul") == 3 and "Hardswish" not in kinds and "SiLU" not in kinds and "Dropout" not in kinds
    net = prepare(hard_nets.make(hard_nets.Inverted), (16, 16))
    assert (net.gate.min_val, net.gate.max_val) == (0.0, 1.0)


def test_a_module_called_twice_becomes_two():
    net = prepare(hard_nets.make(hard_nets.Shuffled), (16, 16))
    assert net.twice is not net.twice_again and torch.equal(net.twice.weight, net.twice_again.weight)


def test_a_channel_shuffle_needs_no_shape_arithmetic():
    net = prepare(hard_nets.make(hard_nets.Shuffled), (16, 16))
    assert all(node.op in ("placeholder", "call_module", "output") for node in net.graph.nodes)
    assert {type(module) for module in net.modules()} >= {ops.Reshape, ops.Transpose, ops.Slice, ops.Concat}


class _InPlace(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.conv, self.relu, self.head = hard_nets.conv(3, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x)
        y = self.relu(x)
        return self.head((x + y).mean((2, 3)))


@pytest.mark.parametrize("inplace", [True, False])
def test_who_reads_an_overwritten_tensor_reads_the_result(inplace):
    torch.manual_seed(0)
    net, images = _InPlace(inplace).eval(), hard_nets.images()
    with torch.no_grad():
        assert torch.allclose(net(images), prepare(net, (16, 16))(images), atol=1e-5)


class _Pools(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.pool, self.head = nn.AdaptiveAvgPool2d(size), nn.Linear(3 * size * size, 2)

    def forward(self, x):
        x = F.max_pool2d(x, 3, 2, 1)  # 8 x 8
        return self.head(self.pool(x).flatten(1))


@pytest.mark.parametrize(
    ("size", "kind"), [(8, None), (4, "AvgPool2d"), (2, "AvgPool2d"), (1, "GlobalAvgPool"), (3, "AdaptiveAvgPool2d")]
)
def test_an_adaptive_pool_becomes_the_plain_pool_it_is_at_this_size(size, kind):
    torch.manual_seed(0)
    net, images = _Pools(size).eval(), hard_nets.images()
    graph = prepare(net, (16, 16))
    with torch.no_grad():
        assert torch.allclose(net(images), graph(images), atol=1e-5)
    kinds = {type(module).__name__ for module in graph.modules()}
    assert "MaxPool2d" in kinds
    assert kinds & {"AvgPool2d", "GlobalAvgPool", "AdaptiveAvgPool2d"} == ({kind} if kind else set())


class _Branching(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_a_scale_that_was_folded_is_no_parameter_any_more():
    """A copy of the graph would lack it, and not take the other's weights."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.full((4, 1, 1), 2.0))

        def forward(self, x):
            return self.conv(x) * self.scale

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.scale, self.head = Block(), nn.Parameter(torch.full((4, 1, 1), 3.0)), nn.Linear(4, 5)

        def forward(self, x):
            return self.head((self.block(x) * self.scale).mean((2, 3)))

    prepared = prepare(Net().eval(), (16, 16))
    assert not [name for name, _ in prepared.named_parameters() if "scale" in name]
    assert prepared.state_dict().keys() == torch.fx.GraphModule(prepared, prepared.graph).state_dict().keys()


def test_a_net_that_branches_on_values_is_refused_with_the_reason():
    with pytest.raises(InputError, match="cannot trace") as error:
        prepare(_Branching(), (16, 16))
    assert error.value.where == "_Branching" and error.value.fix


def test_a_net_that_gives_no_logits_is_refused():
    with pytest.raises(InputError, match=r"logits \[N, classes\]"):
        prepare(hard_nets.conv(3, 4).eval(), (16, 16))


def test_images_too_small_for_the_net_are_refused():
    with pytest.raises(InputError, match="cannot run on images of 4x4"):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 7), nn.Flatten(), nn.Linear(16, 2)).eval(), (4, 4))


def test_logits_that_are_not_finite_are_refused():
    net = hard_nets.make(hard_nets.Residual)
    net.head.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        prepare(net, (16, 16))


def test_a_sound_fold_is_not_refused_where_the_network_amplifies_what_float32_rounds():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, momentum=None)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        net[0].bias.fill_(1e4)  # which the norm takes out again, with all but three digits of its float32
        net.train()(torch.randn(16, 3, 16, 16))
    folded = prepare(net.eval(), (16, 16))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert {weight.dtype for weight in folded.parameters()} == {torch.float32}
