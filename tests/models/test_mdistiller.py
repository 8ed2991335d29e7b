"""Checkpoints of mdistiller: its names, in the order in which its networks define their tensors, land on the right tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgekd.models import create, load
from edgekd.models.mdistiller import renamed

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv_bn(prefix: str, *numbers: int) -> Iterator[str]:
    for number in numbers:
        yield f"{prefix}conv{number}.weight"
        yield from (f"{prefix}bn{number}.{part}" for part in NORM)


def sequence(prefix: str, kinds: str, bias: bool = False) -> Iterator[str]:
    """A Sequential: c a convolution, b a batch norm, r an activation without tensors."""
    for place, kind in enumerate(kinds):
        if kind == "c":
            yield from (f"{prefix}.{place}.{part}" for part in ("weight", "bias")[: 1 + bias])
        elif kind == "b":
            yield from (f"{prefix}.{place}.{part}" for part in NORM)


def linear(name: str) -> list[str]:
    return [f"{name}.weight", f"{name}.bias"]


def resnet(blocks: tuple[int, ...], convolutions: int, shortcut: str, last: str, first_changes: bool) -> Iterator[str]:
    yield from conv_bn("", 1)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            yield from conv_bn(f"layer{stage}.{block}.", *range(1, convolutions + 1))
            if block == 0 and (stage > 1 or first_changes):
                yield from sequence(f"layer{stage}.{block}.{shortcut}", "cb")
    yield from linear(last)


def wrn(blocks: int, factor: int) -> Iterator[str]:
    yield "conv1.weight"
    for stage in (1, 2, 3):
        for block in range(blocks):
            prefix = f"block{stage}.layer.{block}."
            for number in (1, 2):
                yield from (f"{prefix}bn{number}.{part}" for part in NORM)
                yield f"{prefix}conv{number}.weight"
            if block == 0 and (stage > 1 or factor > 1):
                yield f"{prefix}convShortcut.weight"
    yield from (f"bn1.{part}" for part in NORM)
    yield from linear("fc")


def vgg(convolutions: int) -> Iterator[str]:
    for block in range(5):
        yield from sequence(f"block{block}", "cbr" * convolutions, bias=True)
    yield from linear("classifier")


def mobile_half() -> Iterator[str]:
    yield from sequence("conv1", "cb")
    for stage, blocks in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for block in range(blocks):
            yield from sequence(f"blocks.{stage}.{block}.conv", "cbrcbrcb")
    yield from sequence("conv2", "cb")
    yield from linear("classifier.0")


def shuffle_v1() -> Iterator[str]:
    yield from conv_bn("", 1)
    for stage, blocks in enumerate((4, 8, 4), 1):
        for block in range(blocks):
            yield from conv_bn(f"layer{stage}.{block}.", 1, 2, 3)
    yield from linear("linear")


def shuffle_v2() -> Iterator[str]:
    yield from conv_bn("", 1)
    for stage, blocks in enumerate((3, 7, 3), 1):
        yield from conv_bn(f"layer{stage}.0.", 1, 2, 3, 4, 5)
        for block in range(1, blocks + 1):
            yield from conv_bn(f"layer{stage}.{block}.", 1, 2, 3)
    yield from conv_bn("", 2)
    yield from linear("linear")


def mobilenet_v1() -> Iterator[str]:
    yield from sequence("model.0", "cb")
    for layer in range(1, 14):
        yield from sequence(f"model.{layer}", "cbrcb")
    yield from linear("fc")


CHECKPOINTS = {
    name: list(names)
    for name, names in {
        "cifar_resnet20": resnet((3, 3, 3), 2, "downsample", "fc", first_changes=False),
        "cifar_resnet32x4": resnet((5, 5, 5), 2, "downsample", "fc", first_changes=True),
        "cifar_resnet50": resnet((3, 4, 6, 3), 3, "shortcut", "linear", first_changes=True),
        "cifar_wrn_16_2": wrn(2, 2),
        "cifar_wrn_40_1": wrn(6, 1),
        "cifar_vgg8": vgg(1),
        "cifar_vgg13": vgg(2),
        "cifar_mobilenet_v2": mobile_half(),
        "cifar_shufflenet_v1": shuffle_v1(),
        "cifar_shufflenet_v2": shuffle_v2(),
        "mobilenet_v1": mobilenet_v1(),
    }.items()
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_tensor_of_a_checkpoint_lands_where_it_belongs(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):  # its numbers are the file's
        model = create(name, classes=10, image_size=32)
    own = model.to_empty(device="cpu").state_dict()
    theirs = CHECKPOINTS[name]
    state = {key: torch.full_like(tensor, turn) for turn, (key, tensor) in enumerate(zip(theirs, own.values(), strict=True))}
    torch.save({"model": state, "epoch": 240, "best_acc": 79.42}, tmp_path / "ckpt_epoch_240.pth")
    assert load(model, tmp_path / "ckpt_epoch_240.pth") == ()
    assert [float(tensor.flatten()[0]) for tensor in model.state_dict().values()] == list(range(len(own)))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_of_our_own_passes_through(name: str) -> None:
    with torch.device("meta"):
        own = create(name, classes=10, image_size=32).state_dict()
    assert list(renamed(name, own)) == list(own)


def test_other_models_keep_their_names() -> None:
    names = dict.fromkeys(("linear.weight", "classifier.0.weight", "layer1.0.conv1.weight"), torch.zeros(1))
    assert list(renamed("resnet18", names)) == list(names)
