import hard_nets
import pytest
import torch
from torch import nn

from edgekd.quant import ops
from edgekd.quant.fold import module_of
from edgekd.quant.sites import Site, place
from edgekd.quant.trace import prepare


def _placed(kind):
    graph = prepare(hard_nets.make(kind), (16, 16))
    return graph, place(graph)


def _sources(graph, node):
    return [module_of(graph, source) for source in node.args]


@pytest.mark.parametrize("kind", hard_nets.NETS)
def test_nothing_lies_between_a_convolution_and_its_clamp(kind):
    graph, _ = _placed(kind)
    for node in graph.graph.nodes:
        if isinstance(module_of(graph, node), Site):
            producer, readers = module_of(graph, node.args[0]), [module_of(graph, user) for user in node.users]
            if isinstance(producer, (nn.Conv2d, ops.Add)) and len(readers) == 1:
                assert not isinstance(readers[0], (nn.ReLU, nn.Hardtanh))


@pytest.mark.parametrize("kind", hard_nets.NETS)
def test_every_layer_on_integers_reads_a_site_and_every_such_convolution_writes_one(kind):
    graph, placement = _placed(kind)
    assert placement.layers
    for layer in placement.layers:
        node = next(node for node in graph.graph.nodes if node.target == layer.name)
        assert module_of(graph, node.args[0]) is layer.input
        if layer.op == "Conv":
            after = next(iter(node.users))
            after = after if isinstance(module_of(graph, after), Site) else next(iter(after.users))
            assert module_of(graph, after) is layer.output


@pytest.mark.parametrize("kind", [hard_nets.Residual, hard_nets.Inverted, hard_nets.Shuffled, hard_nets.PreActivated])
def test_additions_products_and_concatenations_read_sites_only_and_nothing_is_left_float(kind):
    graph, placement = _placed(kind)
    for node in graph.graph.nodes:
        if isinstance(module_of(graph, node), (ops.Add, ops.Mul, ops.Concat)):
            assert all(isinstance(source, Site) for source in _sources(graph, node))
    assert placement.floats == ()


def test_moved_tensors_share_the_grid_of_what_they_move():
    _, placement = _placed(hard_nets.Shuffled)
    by_name = {site.name: group for group in placement.groups for site in group.sites}
    assert by_name["relu"] is by_name["pool"] is by_name["getitem"] and len(by_name["relu"].watched) == 1


def test_what_is_joined_shares_one_grid():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = hard_nets.conv(3, 4), hard_nets.conv(3, 4, 1), nn.Linear(8, 2)

        def forward(self, x):
            x = torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], 1)
            return self.head(x.mean((2, 3)))

    placement = place(prepare(Joined().eval(), (8, 8)))
    group = next(group for group in placement.groups if len(group.sites) > 1)
    assert sorted(site.name for site in group.sites) == ["cat", "relu", "relu_1"]
    assert group.non_negative and [site.name for site in group.watched] == ["relu", "relu_1"]  # the whole repeats its parts


def test_behind_a_relu_the_grid_starts_at_zero_also_when_it_is_joined_to_signed_values():
    _, placement = _placed(hard_nets.Shuffled)
    by_name = {site.name: group for group in placement.groups for site in group.sites}
    assert by_name["left"] is by_name["cat"] and not by_name["cat"].non_negative
    assert by_name["relu_2"] is not by_name["cat"] and by_name["relu_2"].non_negative
    assert {site.name for site in by_name["cat"].watched} == {"left", "cat"}  # the whole holds values that no member has


def test_the_logits_stay_float_without_being_called_a_fault():
    graph, placement = _placed(hard_nets.Residual)
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    assert isinstance(module_of(graph, output.args[0]), nn.Linear)
    head = next(layer for layer in placement.layers if layer.name == "head")
    assert head.output is None


def test_what_has_no_integer_kernel_is_listed_with_its_reason():
    _, placement = _placed(hard_nets.Odd)
    listed = {one["layer"]: one["reason"] for one in placement.floats}
    assert set(listed) == {"norm", "gelu", "up", "wrap"}
    assert "GroupNorm" in listed["norm"] and "ConvTranspose2d" in listed["up"] and "circular" in listed["wrap"]
    assert {layer.name for layer in placement.layers} == {"stem", "last", "head"}


def test_a_gate_has_the_range_it_has_by_construction_and_a_clip_limits_it():
    _, placement = _placed(hard_nets.Inverted)
    group = {site.name: group for group in placement.groups for site in group.sites}
    assert group["gate"].known == (0.0, 1.0) and group["act6"].limit == 6.0
    assert group["act6"].non_negative and not group["input"].non_negative
    silu = next(group for name, group in group.items() if group.tailed and not group.non_negative and name != "input")
    assert silu.known is None


def test_placement_gives_the_same_names_every_time():
    first, second = _placed(hard_nets.Inverted)[1], _placed(hard_nets.Inverted)[1]
    assert [site.name for group in first.groups for site in group.sites] == [
        site.name for group in second.groups for site in group.sites
    ]


def test_dead_branches_and_aux_heads_take_no_part():
    class Aux(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head, self.aux = hard_nets.conv(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            x = torch.relu(self.stem(x)).mean((2, 3))
            unused = self.aux(x)  # noqa: F841
            return self.head(x)

    _, placement = (lambda graph: (graph, place(graph)))(prepare(Aux().eval(), (8, 8)))
    assert {layer.name for layer in placement.layers} == {"stem", "head"}
