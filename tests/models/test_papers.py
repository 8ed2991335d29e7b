"""The papers' networks: their published size, and that every other part of edgekd takes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.models import check_model, count_parameters, create, fold_for_inference, load_saved, names, save
from edgekd.models.papers import BUILDERS

# M parameters and M multiplications of convolutions and linear layers for one picture, with 100 classes and 32x32 pixels: counted
# on the public networks behind the published tables (mdistiller); MobileNetV1 from its paper's table 1, at 224x224 with 1000
SIZES = {
    "cifar_resnet8x4": (1.234, 177.1),
    "cifar_resnet20": (0.278, 40.8),
    "cifar_resnet32": (0.473, 69.1),
    "cifar_resnet32x4": (7.434, 1083.0),
    "cifar_resnet56": (0.862, 125.8),
    "cifar_resnet110": (1.737, 253.2),
    "cifar_wrn_16_2": (0.703, 101.1),
    "cifar_wrn_40_1": (0.570, 83.3),
    "cifar_wrn_40_2": (2.255, 327.6),
    "cifar_vgg8": (3.965, 96.2),
    "cifar_vgg13": (9.462, 284.9),
    "cifar_resnet50": (23.705, 1298.0),
    "cifar_mobilenet_v2": (0.813, 6.5),
    "cifar_shufflenet_v1": (0.949, 38.7),
    "cifar_shufflenet_v2": (1.356, 44.5),
}
FAMILIES = ["cifar_resnet20", "cifar_wrn_16_2", "cifar_vgg8", "cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2"]


def multiplications(model: nn.Module, size: int) -> int:
    """Of convolutions and linear layers of a network without numbers, for one picture; nothing is computed."""
    found = []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        found.append(output[0].numel() * module.weight[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return sum(found)


@pytest.mark.parametrize("name", SIZES)
def test_a_network_has_the_published_parameters_and_multiplications(name: str) -> None:
    with torch.device("meta"):
        model = create(name, classes=100, image_size=32)
    found = (round(count_parameters(model) / 1e6, 3), round(multiplications(model, 32) / 1e6, 1))
    assert found == SIZES[name]


def test_mobilenet_v1_has_the_size_of_its_paper() -> None:
    with torch.device("meta"):
        model = create("mobilenet_v1", classes=1000, image_size=224)
    assert (round(count_parameters(model) / 1e6, 1), round(multiplications(model, 224) / 1e6)) == (4.2, 569)


def test_the_names_known_without_torch_are_those_that_can_be_built() -> None:
    assert list(names.PAPERS) == sorted(BUILDERS)


@pytest.mark.parametrize("name", [*FAMILIES, "cifar_resnet50", "mobilenet_v1"])
def test_a_network_learns_at_another_size_with_other_classes(name: str) -> None:
    logits = create(name, classes=7, image_size=[24, 40]).train()(torch.randn(2, 3, 24, 40))
    logits.sum().backward()
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("name", [*FAMILIES, "mobilenet_v1"])
def test_folding_changes_nothing_but_rounding_and_is_kept_in_a_file(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    model = create(name, classes=5, image_size=32)
    images = torch.randn(4, 3, 32, 32)
    model.train()(images)  # running statistics that are not those of a new batch norm
    folded = fold_for_inference(model)
    save(folded, tmp_path / "folded.safetensors")
    with torch.no_grad():
        expected = model.eval()(images)
        assert torch.allclose(folded(images), expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(load_saved(tmp_path / "folded.safetensors")(images), folded(images))
    left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert left == ({"cifar_wrn_16_2": 6}.get(name, 0))  # a sum is normalised there, not a convolution's output


@pytest.mark.parametrize("name", ["cifar_resnet8x4", "cifar_wrn_16_2", "mobilenet_v1"])
def test_a_network_of_the_papers_comes_in_one_width(name: str) -> None:
    with pytest.raises(InputError, match="one width"):
        check_model(name, 0.5, where="student.width")
