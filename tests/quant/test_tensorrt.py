"""TensorRT's sites: the sets worked out by hand for every kind of block, and which of them share a scale."""

import hard_nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.quant import quantize
from edgekd.quant.sites import place
from edgekd.quant.trace import prepare


def _groups(net):
    return [[site.name for site in group] for group in place(prepare(net.eval(), (16, 16))).tensorrt]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [  # bare: the main branches b and c; the skip convolution is rounded; the head reads the pool through a reshape
        (hard_nets.Residual, ["input", "relu", "relu_again", "relu_again_2", "skip", "add_1", "adaptive_avg_pool2d"]),
        # bare: stem and out, read by their own gates; no gate is rounded
        (hard_nets.Inverted, ["input", "act", "act6", "pool", "relu", "mul", "silu", "mean_pool"]),
        # nothing behind the max pool, the slices, the concatenation and the shuffle
        (hard_nets.Shuffled, ["input", "relu", "relu_1", "left", "relu_2", "mean"]),
        # the skip branch is the stem itself, which a ReLU reads too
        (hard_nets.PreActivated, ["input", "stem", "relu", "add", "relu_", "mean_pool"]),
        # nothing between what stays float
        (hard_nets.Odd, ["input", "wrap", "relu", "mean_pool"]),
    ],
)
def test_tensorrt_rounds_just_these(kind, expected):
    assert sorted(name for group in _groups(hard_nets.make(kind)) for name in group) == sorted(expected)


def test_what_is_joined_shares_the_scale_of_the_widest_also_where_onnxruntime_keeps_two_grids():
    assert ["relu_2", "left"] in _groups(hard_nets.make(hard_nets.Shuffled))
    ours = quantize(hard_nets.make(hard_nets.Shuffled), [hard_nets.images(16)])
    by_name = {entry["name"]: entry for entry in ours.sites["sites"]}
    left, right = by_name["left"], by_name["relu_2"]
    assert left["scale"] != right["scale"] and left["trt_scale"] == right["trt_scale"]
    widest = max(-left["low"], left["high"], right["high"])
    assert 127 * left["trt_scale"] == pytest.approx(widest, rel=1e-6)


class _Dense(nn.Module):
    """Every tensor is joined to all before it: one scale for all."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = hard_nets.conv(3, 4), hard_nets.conv(4, 4), hard_nets.conv(8, 4)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        c = F.relu(self.c(torch.cat([a, b], 1)))
        return self.head(F.max_pool2d(torch.cat([a, b, c], 1), 16).flatten(1))


def test_joined_step_by_step_is_one_group():
    assert _groups(_Dense()) == [["input"], ["relu", "relu_1", "relu_2"]]


class _Skip(nn.Module):
    def __init__(self, main, skip):
        super().__init__()
        self.stem, self.main, self.skip = hard_nets.conv(3, 8), main, skip
        self.last, self.head = hard_nets.conv(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.last(self.skip(x) + self.main(x))
        return self.head(x.amax((2, 3)))


TWO = nn.Sequential(hard_nets.conv(8, 8), nn.ReLU(), hard_nets.conv(8, 8))


@pytest.mark.parametrize(
    ("main", "skip", "rounded"),
    [
        (TWO, nn.Identity(), {"relu", "main.1"}),
        (
            TWO,
            hard_nets.conv(8, 8),
            {"relu", "main.1", "skip"},
        ),  # of two convolutions the shallow one, in whatever order they are added
        (hard_nets.conv(8, 8), TWO, {"relu", "skip.1", "main"}),
        (nn.Sequential(hard_nets.conv(8, 8), nn.SiLU()), nn.Identity(), {"relu", "main.1"}),  # no bare convolution: both
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), nn.Identity(), {"relu", "main"}),  # nothing to fuse with
    ],
)
def test_the_main_branch_enters_an_addition_bare_only_as_a_convolution_on_integers(main, skip, rounded):
    names = {name for group in _groups(_Skip(main, skip)) for name in group}
    assert names - {"input", "add", "last"} == rounded  # the pool of the maxima only moves what is rounded before it
