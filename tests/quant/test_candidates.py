"""The best candidate ships: by its worst flavour, and corrected biases only where they help every flavour."""

import math

import hard_nets
import pytest
import torch

from edgekd.quant import candidates as candidates_module
from edgekd.quant import quantize, restore, use
from edgekd.quant.bias import correct_biases
from edgekd.quant.candidates import sqnr_db

FLAVOURS = ("ort", "ort-w7", "trt")


@pytest.mark.parametrize("kind", [hard_nets.Residual, hard_nets.PreActivated, hard_nets.Odd])
def test_the_chosen_candidate_has_the_highest_least_sqnr_of_those_that_may_stand(kind, monkeypatch):
    monkeypatch.setattr(candidates_module, "WORTH_DB", 1e-9)
    ours = quantize(hard_nets.make(kind), hard_nets.images(64).split(32), FLAVOURS)
    tried = {one["name"]: one["sqnr_db"] for one in ours.candidates}
    assert list(tried) == ["plain", "plain, biases corrected", "equalised", "equalised, biases corrected"]
    stands = {name for name in tried if "corrected" not in name}
    for name in tuple(stands):
        corrected = tried[f"{name}, biases corrected"]
        if all(corrected[flavour] > tried[name][flavour] for flavour in FLAVOURS):
            stands.add(f"{name}, biases corrected")
    (chosen,) = (one["name"] for one in ours.candidates if one["chosen"])
    assert chosen == max(stands, key=lambda name: min(tried[name].values()))


@pytest.mark.parametrize(
    ("least", "chosen"),
    [
        ((20.0, 20.4, 20.45), "plain"),
        ((20.0, 20.6, 20.9), "plain, biases corrected"),
        ((20.0, 20.4, 20.8), "equalised"),
        ((20.0, 20.6, 21.2), "equalised"),
        ((-math.inf, 1.0, 1.2), "plain, biases corrected"),
        ((math.inf, math.inf, math.inf), "plain"),
    ],
)
def test_a_candidate_replaces_a_simpler_one_only_for_a_gain_worth_it(monkeypatch, least, chosen):
    found = iter([*least, -math.inf])
    monkeypatch.setattr(candidates_module, "_sqnr", lambda *_: {"ort": next(found)})
    ours = quantize(hard_nets.make(hard_nets.Residual), [hard_nets.images(8)], ("ort",))
    assert [one["name"] for one in ours.candidates if one["chosen"]] == [chosen]


@torch.no_grad()
def test_what_was_measured_is_what_ships():
    net, images = hard_nets.make(hard_nets.Residual), hard_nets.images(64)
    ours = quantize(net, images.split(32), FLAVOURS)
    (chosen,) = (one for one in ours.candidates if one["chosen"])
    again = restore(net, ours.state_dict(), ours.sites)
    for flavour in FLAVOURS:
        assert sqnr_db(net(images), again.simulate(flavour)(images)) == pytest.approx(chosen["sqnr_db"][flavour], abs=0.02)


def test_a_correction_that_harms_one_flavour_does_not_stand(monkeypatch):
    def harm(network, layers, images, flavours):
        with torch.no_grad():
            network.get_submodule(layers[-1]).bias += 1.0

    monkeypatch.setattr(candidates_module, "correct_biases", harm)
    ours = quantize(hard_nets.make(hard_nets.Residual), [hard_nets.images(16)])
    assert not any(one["chosen"] for one in ours.candidates if "corrected" in one["name"])


@torch.no_grad()
def test_after_correction_every_layer_answers_as_in_float_on_average():
    net, images = hard_nets.make(hard_nets.Residual), hard_nets.images(64)
    ours = quantize(net, [images])
    network = ours.trainable().eval()
    layers = [layer["layer"] for layer in ours.sites["layers"]]
    means: dict[str, torch.Tensor] = {}

    def mean_outputs(flavour):
        use(network, flavour)
        handles = [
            network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: means.__setitem__(name, output.mean((0, *range(2, output.dim()))))
            )
            for name in layers
        ]
        network(images)
        for handle in handles:
            handle.remove()
        return dict(means)

    in_float = mean_outputs("fp32")
    before = mean_outputs("ort-w7")
    correct_biases(network, layers, images.split(16), ("ort-w7",))
    after = mean_outputs("ort-w7")
    for name in layers:
        was, now = ((one[name] - in_float[name]).abs().max() for one in (before, after))
        assert now <= max(0.2 * float(was), 1e-3)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 127, 128, 200, 512, 1000])
@pytest.mark.parametrize("batch", [7, 64])
def test_candidates_are_tried_on_images_spread_over_all_however_they_come_in_batches(count, batch):
    trial = candidates_module.TrialImages()
    for images in torch.arange(float(count)).view(-1, 1, 1, 1).split(batch):
        trial.see(images)
    chosen = trial.chosen().flatten()
    steps = chosen.diff(append=torch.tensor([float(count)]))
    assert len(chosen) == min(count, 64) and chosen[0] == 0
    assert steps.min() >= 1 and steps.max() <= 2 * max(count / 64, 1)


def test_of_images_that_come_class_by_class_every_class_is_tried(monkeypatch):
    tried = []
    monkeypatch.setattr("edgekd.quant.ptq.best", lambda made, images, flavours: tried.append(images) or made["plain"])
    by_class = [torch.full((32, 3, 8, 8), float(label)) for label in range(1, 11)]
    quantize(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4)).eval(), by_class)
    counts = torch.bincount(tried[0][:, 0, 0, 0].long(), minlength=11)[1:]
    assert counts.sum() == 64 and counts.min() >= 4


def test_nothing_to_equalise_is_not_tried():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4)).eval()
    assert [one["name"] for one in quantize(net, [hard_nets.images(8, 8)]).candidates] == ["plain", "plain, biases corrected"]


def test_sqnr_of_equal_and_of_broken_logits():
    ones, broken = torch.ones(2, 3), torch.full((2, 3), float("nan"))
    assert sqnr_db(ones, ones) == float("inf")
    assert sqnr_db(ones, broken) == sqnr_db(torch.zeros(2, 3), ones) == -float("inf")
    assert sqnr_db(ones, 0.9 * ones) == pytest.approx(20.0, abs=1e-5)
