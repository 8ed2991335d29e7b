from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import InputError
from edgekd.models import check_model, count_parameters, create, known_models, names, registry, spec_of

# one model of each family that is quick to build, with the sizes it takes
SIZES = [
    ("convnext_tiny", 32),
    ("densenet121", 32),
    ("efficientnet_b0", 32),
    ("googlenet", 32),
    ("mnasnet0_5", 32),
    ("mobilenet_v2", 32),
    ("mobilenet_v3_small", 32),
    ("regnet_y_400mf", 32),
    ("resnet18", 32),
    ("shufflenet_v2_x0_5", 32),
    ("squeezenet1_1", 32),
    ("alexnet", 64),
    ("mobilenet_v2", 8),
    ("resnet18", [24, 40]),
]


def test_the_names_known_without_torch_are_torchvisions_classifiers() -> None:
    assert sorted(torchvision.models.list_models(module=torchvision.models)) == list(names.TORCHVISION)


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_a_model_of_each_family_answers_and_learns_at_its_size(name: str, size: int | list[int]) -> None:
    model = create(name, classes=7, image_size=size)
    height, width = (size, size) if isinstance(size, int) else size
    logits = model.train()(torch.randn(2, 3, height, width))
    logits.sum().backward()
    assert logits.shape == (2, 7)
    assert spec_of(model) == registry.ModelSpec(name, 7, (height, width))


@pytest.mark.parametrize(
    ("name", "size", "works"),
    [("alexnet", 32, 64), ("squeezenet1_1", 16, 24), ("maxvit_t", 64, 224), ("vit_b_32", [32, 64], 64)],
)
def test_a_size_a_model_cannot_take_is_refused_with_one_it_can(name: str, size: int, works: int) -> None:
    with pytest.raises(InputError) as error:
        create(name, classes=7, image_size=size)
    assert error.value.fix == f"data.image_size: {works} works"


def test_a_model_is_torchvisions_own_strides_and_all() -> None:
    ours, theirs = create("mobilenet_v2", classes=10, image_size=32), torchvision.models.mobilenet_v2(num_classes=10)
    assert str(ours) == str(theirs)


def test_the_global_generator_decides_the_initial_weights() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(create("squeezenet1_1", classes=3, image_size=32).parameters())

    assert torch.equal(first(0), first(0)) and not torch.equal(first(0), first(1))


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "mobilenet_v3_small", "mnasnet1_0", "resnet18", "resnet50", "shufflenet_v2_x1_0"]
)
def test_half_the_width_is_a_quarter_to_half_of_the_parameters(name: str) -> None:
    with torch.device("meta"):
        full, half = (create(name, classes=10, image_size=32, width=width) for width in (1.0, 0.5))
    assert half(torch.randn(2, 3, 32, 32, device="meta")).shape == (2, 10)
    assert 0.2 < count_parameters(half) / count_parameters(full) < 0.55


def test_a_resnet_is_scaled_from_stem_to_classifier() -> None:
    model = create("resnet18", classes=10, image_size=32, width=0.25)
    channels = [module.out_channels for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert (channels[0], max(channels), model.fc.in_features) == (16, 128, 128)


def test_a_width_of_shufflenet_is_the_published_model() -> None:
    scaled, published = (
        create(n, classes=5, image_size=32, width=w) for n, w in (("shufflenet_v2_x1_0", 0.5), ("shufflenet_v2_x0_5", 1))
    )
    assert str(scaled) == str(published)
    with pytest.raises(InputError, match="no such width"):
        create("shufflenet_v2_x1_0", classes=5, image_size=32, width=0.75)


@pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "resnext50_32x4d", "wide_resnet50_2"])
def test_a_model_without_widths_says_which_have_them(name: str) -> None:
    with pytest.raises(InputError) as error:
        check_model(name, 0.5, where="student.width")
    assert "mobilenet_v2" in str(error.value.fix) and error.value.where == "student.width"


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), 9.0])
def test_a_width_that_is_none_is_refused(width: float) -> None:
    with pytest.raises(InputError, match="width must lie"):
        check_model("mobilenet_v2", width, where="student.width")


@pytest.mark.parametrize(
    ("given", "meant"), [("mobilenetv2", "mobilenet_v2"), ("ResNet18", "resnet18"), ("resnet_18", "resnet18")]
)
def test_an_unknown_model_gets_the_nearest_name_and_the_families(given: str, meant: str) -> None:
    with pytest.raises(InputError) as error:
        create(given, classes=10, image_size=32)
    assert meant in str(error.value.fix) and "families: alexnet, cifar, convnext" in str(error.value.fix)


@given(st.text(max_size=30).filter(lambda name: name not in (*names.TORCHVISION, *names.PAPERS)))
def test_no_other_text_is_a_model(name: str) -> None:
    with pytest.raises(InputError):
        check_model(name, 1.0, where="student.model")


def test_one_class_is_no_classifier() -> None:
    with pytest.raises(InputError, match="at least two classes"):
        create("resnet18", classes=1, image_size=32)


def test_an_installed_package_can_add_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "tiny_net", "their_package:build"

        @staticmethod
        def load() -> registry.Builder:
            return lambda spec: torch.nn.Sequential(
                torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, spec.classes)
            )

    def offered(group: str, name: str | None = None) -> list[type[Entry]]:
        return [Entry] if group == "edgekd.models" and name in (None, "tiny_net") else []

    monkeypatch.setattr(names, "entry_points", offered)
    monkeypatch.setattr(registry, "entry_points", offered)
    known_models.cache_clear()
    try:
        assert "tiny_net" in known_models()
        assert create("tiny_net", classes=4, image_size=16)(torch.randn(2, 3, 16, 16)).shape == (2, 4)
    finally:
        known_models.cache_clear()


def test_a_model_from_elsewhere_has_no_spec() -> None:
    with pytest.raises(InputError, match="not made by"):
        spec_of(torch.nn.Linear(1, 1))
