import json

import hard_nets
import numpy as np
import pytest
import torch

from edgekd.core import InputError, IntegrityError
from edgekd.quant import quantize, restore


def _sqnr_db(reference, other):
    return float(10 * torch.log10((reference**2).sum() / ((reference - other) ** 2).sum()))


@pytest.fixture(scope="module", params=hard_nets.NETS, ids=lambda kind: kind.__name__)
def quantized(request):
    net = hard_nets.make(request.param)
    return request.param, net, quantize(net, hard_nets.images(64).split(16))


@torch.no_grad()
def test_eight_bits_stay_close_to_float_and_seven_bits_a_little_less(quantized):
    _, net, ours = quantized
    images = hard_nets.images(32, seed=9)
    float_logits = net(images)
    eight = _sqnr_db(float_logits, ours.simulate("ort")(images))
    seven = _sqnr_db(float_logits, ours.simulate("ort-w7")(images))
    assert eight > 25 and seven > 20 and _sqnr_db(float_logits, ours.simulate("trt")(images)) > 25
    assert torch.allclose(ours.floating()(images), float_logits, atol=1e-4 * float(float_logits.abs().max()))


@torch.no_grad()
def test_saved_and_restored_it_simulates_to_the_bit(quantized):
    kind, _, ours = quantized
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    again = restore(hard_nets.make(kind, seed=7), state, json.loads(json.dumps(ours.sites)))
    images = hard_nets.images(8, seed=3)
    for flavour in ("ort", "ort-w7", "trt"):
        assert torch.equal(ours.simulate(flavour)(images), again.simulate(flavour)(images))
    assert again.sites == ours.sites and again.image_size == (16, 16)


@torch.no_grad()
def test_simulated_weights_and_activations_lie_on_their_grids(quantized):
    _, _, ours = quantized
    simulated = ours.simulate("ort-w7")
    for entry in ours.sites["layers"]:
        weight = simulated.get_submodule(entry["layer"]).weight
        levels = [len(channel.unique()) for channel in weight]
        assert max(levels) <= 129


def test_grids_in_the_table_are_exact_in_float32_and_cover_their_range(quantized):
    _, _, ours = quantized
    for entry in ours.sites["sites"]:
        assert entry["scale"] == float(np.float32(entry["scale"])) > 0
        assert entry["zero_point"] == 128 if entry["signed"] else 0 <= entry["zero_point"] < 128
        assert (255 - entry["zero_point"]) * entry["scale"] == pytest.approx(entry["high"], rel=0.01)
        assert entry["trt_scale"] == float(np.float32(entry["trt_scale"]))
        assert 127 * entry["trt_scale"] >= max(-entry["low"], entry["high"]) * (1 - 1e-6)  # joined to a wider one, or equal
    by_group = {}
    for entry in ours.sites["sites"]:
        by_group.setdefault(entry["group"], set()).add((entry["scale"], entry["zero_point"]))
    assert all(len(grids) == 1 for grids in by_group.values())


def test_weights_and_table_of_another_net_are_refused():
    one, other = (quantize(hard_nets.make(kind), [hard_nets.images(8)]) for kind in (hard_nets.Residual, hard_nets.Shuffled))
    with pytest.raises(IntegrityError):
        restore(hard_nets.make(hard_nets.Residual), other.state_dict(), one.sites)
    with pytest.raises(IntegrityError):
        restore(hard_nets.make(hard_nets.Residual), one.state_dict(), other.sites)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], "no calibration images"),
        ([torch.zeros(0, 3, 16, 16)], "float32"),
        ([torch.zeros(4, 3, 16, 16, dtype=torch.uint8)], "float32"),
        ([torch.zeros(4, 3, 16, 16), torch.zeros(4, 3, 8, 8)], "change size"),
        ([torch.full((4, 3, 16, 16), float("nan"))], "not finite"),
        ([torch.full((4, 3, 16, 16), float("inf"))], "not finite"),
    ],
)
def test_calibration_images_that_cannot_be_used_are_refused(calibration, message):
    with pytest.raises(InputError, match=message):
        quantize(hard_nets.make(hard_nets.Residual), calibration)


def test_an_unknown_flavour_is_refused():
    with pytest.raises(InputError, match="flavour"):
        quantize(hard_nets.make(hard_nets.Residual), [hard_nets.images(4)]).simulate("int4")


def test_a_channel_that_is_all_zero_and_a_constant_image_still_give_finite_grids():
    net = hard_nets.make(hard_nets.Residual)
    net.a.weight.data[0] = 0
    net.a.bias.data[0] = 0.3
    ours = quantize(net, [torch.zeros(4, 3, 16, 16)])
    with torch.no_grad():
        assert torch.isfinite(ours.simulate("ort")(hard_nets.images(4))).all()
