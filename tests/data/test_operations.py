from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from edgekd.data.operations import OPERATIONS, Operation

Pillow = Callable[[Image.Image, float], Image.Image]


def affine(a: float, b: float, c: float, d: float, e: float, f: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f))


PILLOW: dict[str, Pillow] = {
    "autocontrast": lambda image, m: ImageOps.autocontrast(image),
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(m),
    "color": lambda image, m: ImageEnhance.Color(image).enhance(m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(m),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "identity": lambda image, m: image,
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "rotate": lambda image, m: image.rotate(m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(m),
    "shear_x": lambda image, m: affine(1, m, 0, 0, 1, 0)(image),
    "shear_y": lambda image, m: affine(1, 0, 0, m, 1, 0)(image),
    "solarize": lambda image, m: ImageOps.solarize(image, math.ceil(m)),
    "translate_x": lambda image, m: affine(1, 0, m * image.size[0], 0, 1, 0)(image),
    "translate_y": lambda image, m: affine(1, 0, 0, 0, 1, m * image.size[1])(image),
}
# an equal share of pixels may differ: geometry by a neighbour (float32 against 16.16 fixed point), values by one level
GEOMETRIC = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}


def pictures() -> Tensor:
    """Smooth, dark, low-contrast, noisy and flat: uint8 [5,3,24,32]."""
    y, x = np.mgrid[0:24, 0:32]
    smooth = np.stack([x * 8, y * 10, (x + y) * 4], -1)
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 3))
    images = np.stack([smooth, smooth // 5, 100 + smooth // 16, noise, np.full_like(noise, 77)]).astype(np.uint8)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_does_what_pillow_does(operation: Operation) -> None:
    images = pictures()
    for share in (0.0, 0.13, 0.37, 0.62, 0.999):
        magnitude = operation.low + share * (operation.high - operation.low)
        ours = operation.apply(images, torch.full((len(images),), magnitude)).permute(0, 2, 3, 1).numpy().astype(int)
        theirs = np.stack(
            [np.asarray(PILLOW[operation.name](Image.fromarray(one), magnitude)) for one in images.permute(0, 2, 3, 1).numpy()]
        )
        differs = abs(ours - theirs)
        if operation.name in GEOMETRIC:
            assert (differs > 0).mean() < 0.01
        else:
            assert differs.max() <= 1 and (differs > 0).mean() < 0.01


def test_the_fourteen_operations_have_their_own_names_and_a_range() -> None:
    assert len({operation.name for operation in OPERATIONS}) == 14
    assert all(operation.low < operation.high for operation in OPERATIONS)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(OPERATIONS), st.integers(0, 2**31), st.integers(3, 9), st.integers(3, 9))
def test_an_image_does_not_depend_on_its_batch(operation: Operation, seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, 3, height, width), dtype=torch.uint8, generator=generator)
    magnitudes = operation.low + torch.rand(4, generator=generator) * (operation.high - operation.low)
    together = operation.apply(images, magnitudes)
    alone = torch.cat([operation.apply(images[i : i + 1], magnitudes[i : i + 1]) for i in range(4)])
    assert torch.equal(together, alone)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
