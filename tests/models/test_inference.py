from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd import models
from edgekd.core import InputError


def trained_looking(name: str, size: int = 32) -> nn.Module:
    """A model whose batch normalizations do something."""
    torch.manual_seed(0)
    model = models.create(name, classes=6, image_size=size)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


def in_batches(count: int, of: int = 4) -> list[tuple[Tensor, Tensor]]:
    images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return [(images[i : i + of], torch.zeros(len(images[i : i + of]), dtype=torch.int64)) for i in range(0, count, of)]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mobilenet_v2", 0),
        ("resnet18", 0),
        ("shufflenet_v2_x0_5", 0),
        ("mobilenet_v3_small", 0),
        ("densenet121", 62),
    ],
)
def test_folding_removes_normalizations_and_keeps_the_logits(name: str, left: int) -> None:
    model = trained_looking(name)
    folded = models.fold_for_inference(model)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == left
    expected, seen = models.logits(model, in_batches(3)), models.logits(folded, in_batches(3))
    assert np.abs(expected - seen).max() <= 1e-4 * np.abs(expected).max()


def test_folding_leaves_the_model_itself_alone() -> None:
    model = trained_looking("shufflenet_v2_x0_5").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = models.fold_for_inference(model)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not folded.training and not any(parameter.requires_grad for parameter in folded.parameters())


def test_a_convolution_used_twice_or_seen_elsewhere_is_not_folded() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.tapped, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.twice(self.twice(x)))
            tapped = self.tapped(x)
            return self.second(tapped) + tapped

    folded = models.fold_for_inference(Shared())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 2


def test_logits_are_those_of_eval_mode_in_order_and_every_mode_is_put_back() -> None:
    model = trained_looking("shufflenet_v2_x0_5").train()
    model.stage2.eval()  # type: ignore[operator]
    modes = [module.training for module in model.modules()]
    statistics = model.conv1[1].running_mean.clone()  # type: ignore[index, union-attr]
    found = models.logits(model, in_batches(10))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model.conv1[1].running_mean, statistics)  # type: ignore[index, union-attr]
    assert (found.shape, found.dtype) == ((10, 6), np.float32)
    assert np.allclose(found, models.logits(model, in_batches(10, of=10)), atol=1e-5)


def test_modes_are_put_back_when_the_batches_fail() -> None:
    model = trained_looking("squeezenet1_1").train()
    with pytest.raises(ZeroDivisionError):
        models.logits(model, (1 / 0 for _ in range(1)))  # type: ignore[misc]
    assert model.training


def test_no_images_are_an_error_and_not_an_accuracy() -> None:
    with pytest.raises(InputError, match="no images"):
        models.logits(trained_looking("squeezenet1_1"), [])


def test_parameters_are_counted_and_freezing_stops_all_of_them() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert models.count_parameters(model) == 3 * 4 * 9 + 4 + 4 + 4
    frozen = models.freeze(model)
    assert frozen is model and not model.training and not any(parameter.requires_grad for parameter in model.parameters())


def test_published_sizes_are_met() -> None:
    assert (
        models.count_parameters(models.create("mobilenet_v2", classes=1000, image_size=224)) == 3_504_872
    )  # torchvision's model page
    assert models.count_parameters(models.create("resnet18", classes=1000, image_size=224)) == 11_689_512


def test_multiply_accumulates_are_those_of_the_papers():
    network = models.create("mobilenet_v2", classes=1000, image_size=224)
    network.train()
    assert models.count_macs(network, (224, 224)) == 300_774_272  # 300 M, Sandler et al. 2018, table 4
    assert network.training and not network.features[0][0]._forward_hooks
