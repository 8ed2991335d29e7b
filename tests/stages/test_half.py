"""Float16 is refused to a target that asks for it, and no yardstick, where a network overflows it; and it is really half."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from edgekd.core import InputError
from edgekd.stages.half import half_logits, overflow_of

WIDE = "396322 in features.0; float16 ends at 65504"


def jetson(precision, device="jetson-thor-t5000", runtime="tensorrt"):
    return SimpleNamespace(device=device, runtime=runtime, precision=precision, required="always", threads=1, tensorrt=None)


@pytest.mark.parametrize(
    ("precision", "wide", "device"),
    [("fp16", "fp32", "jetson-thor-t5000"), ("int8+fp16", "trt", "jetson-thor-t5000"), ("fp16", "fp32", "jetson-nano")],
)
def test_a_target_that_computes_in_float16_is_refused_by_name(precision, wide, device):
    with pytest.raises(InputError, match="overflows float16") as refused:
        overflow_of({"jetson": jetson(precision, device)}, {wide: WIDE}.get)
    assert (refused.value.where, refused.value.seen) == ("targets.jetson.precision", WIDE) and refused.value.fix


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
def test_a_target_that_only_compares_with_float16_goes_without(precision):
    assert overflow_of({"jetson": jetson(precision)}, {"fp32": WIDE}.get) == WIDE
    assert overflow_of({"jetson": jetson(precision)}, {}.get) is None


def test_nothing_is_run_for_targets_without_float16():
    specs = {"cpu": jetson("int8", "local-cpu", "onnxruntime"), "jetson": jetson("fp32")}
    assert overflow_of(specs, lambda flavour: pytest.fail(flavour)) is None


def test_every_op_computes_in_half():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False), nn.Flatten())
    for layer, weight in zip(net, (300.0, 1 / 300), strict=False):
        nn.init.constant_(layer.weight, weight)
    images = np.array([1.0, 300.0], np.float32).reshape(2, 1, 1, 1)
    logits = half_logits(net, images)
    assert logits.dtype == np.float32 and logits[0] == pytest.approx(1, rel=1e-3) and np.isinf(logits[1]).all()
