from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from edgekd.data import augment
from edgekd.data.augment import cutout, normalized, operate, strong_view, weak_view
from edgekd.data.operations import OPERATIONS
from edgekd.device import normalize

NUMBER = {operation.name: number for number, operation in enumerate(OPERATIONS)}


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def stored(batch: int = 6, height: int = 16, width: int = 16) -> Tensor:
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=seeded(9))


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([weak_view, strong_view]),
    st.integers(1, 5),
    st.integers(8, 20),
    st.integers(8, 20),
    st.booleans(),
    st.booleans(),
)
def test_a_view_has_the_asked_size_for_any_batch(view, batch: int, height: int, width: int, larger: bool, hflip: bool) -> None:  # type: ignore[no-untyped-def]
    images = stored(batch, height + 3 * larger, width + 2 * larger)
    made = view(images, (height, width), hflip=hflip, generator=seeded())
    assert (made.shape, made.dtype) == ((batch, 3, height, width), torch.uint8)


@pytest.mark.parametrize("view", [weak_view, strong_view])
@pytest.mark.parametrize("margin", [0, 4])
def test_a_seed_gives_the_same_view_and_another_seed_another(view, margin: int) -> None:  # type: ignore[no-untyped-def]
    images = stored(8, 16 + margin, 16 + margin)
    one, again, other = (view(images, (16, 16), hflip=True, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("view", [weak_view, strong_view])
def test_stored_images_are_not_changed(view) -> None:  # type: ignore[no-untyped-def]
    images = stored()
    before = images.clone()
    view(images, (16, 16), hflip=True, generator=seeded())
    assert torch.equal(images, before)


def test_a_weak_view_is_a_shifted_image_with_black_around() -> None:
    images = stored(64) | 1  # nothing is black but what flows in
    views = weak_view(images, (16, 16), hflip=False, generator=seeded())
    shifts = set()
    for image, view in zip(images.permute(0, 3, 1, 2), views, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 16, x : x + 16], view)]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 15  # of 25: nearly all offsets happen


def test_without_flip_nothing_is_mirrored_and_with_it_about_half_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "PADDING", 0)
    images = stored(200)
    straight = images.permute(0, 3, 1, 2)
    assert torch.equal(weak_view(images, (16, 16), hflip=False, generator=seeded()), straight)
    views = weak_view(images, (16, 16), hflip=True, generator=seeded())
    mirrored = (views == straight.flip(3)).flatten(1).all(1)
    assert ((views == straight).flatten(1).all(1) | mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


def test_a_resized_crop_shows_a_part_of_the_image_and_may_be_mirrored() -> None:
    ramp = torch.arange(32, dtype=torch.uint8)[None, None, :, None].expand(50, 32, 32, 3).contiguous() * 8
    views = weak_view(ramp, (28, 28), hflip=True, generator=seeded()).float()
    assert (views[:, :, :1] - views).abs().max() <= 1  # rows stay rows
    slopes = (views[:, 0, 0, -1] - views[:, 0, 0, 0]).sign()
    assert 10 < int((slopes < 0).sum()) < 40
    assert views.max() <= 31 * 8


def test_a_crop_of_everything_is_the_resized_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "AREA", (1.0, 1.0))
    monkeypatch.setattr(augment, "RATIO", (1.0, 1.0))
    images = stored(3, 20, 20)
    view = weak_view(images, (16, 16), hflip=False, generator=seeded())
    whole = torch.nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), (16, 16), mode="bilinear").round()
    assert (view.float() - whole).abs().max() <= 1


def test_identity_leaves_the_image_and_each_image_gets_its_own_operation() -> None:
    views = stored(3).permute(0, 3, 1, 2).contiguous()
    which = torch.tensor([NUMBER["identity"], NUMBER["solarize"], NUMBER["identity"]]) / 14 + 0.01
    made = operate(views, which, torch.zeros(3))  # solarize from 0 on: everything is inverted
    assert torch.equal(made[[0, 2]], views[[0, 2]])
    assert torch.equal(made[1], 255 - views[1])


def test_each_operation_is_drawn_equally_often() -> None:
    which = torch.rand(14_000, generator=seeded())
    counts = torch.bincount((which * 14).long(), minlength=14)
    assert counts.min() > 850 and counts.max() < 1150


def test_cutout_paints_one_square_of_at_most_half_the_width() -> None:
    views = torch.zeros(300, 3, 20, 20, dtype=torch.uint8)
    generator = seeded()
    made = cutout(views, *(torch.rand(300, generator=generator) for _ in range(3)))
    painted = (made == torch.tensor(augment.CUTOUT_FILL, dtype=torch.uint8)[:, None, None]).all(1)
    assert ((made == 0).all(1) | painted).all()
    heights, widths = painted.any(2).sum(1), painted.any(1).sum(1)
    assert torch.equal(painted.flatten(1).sum(1), heights * widths)  # a full rectangle
    assert heights.max() <= 10 and widths.max() <= 10 and widths.max() >= 9


def test_a_view_is_normalized_as_the_app_normalizes() -> None:
    spec = {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}
    images = stored()
    ours = normalized(images.permute(0, 3, 1, 2), spec)
    assert ours.dtype == torch.float32
    assert np.allclose(ours.numpy(), normalize(images.numpy(), spec), atol=2e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_making_views_never_waits_for_the_gpu() -> None:
    images = stored(16).cuda()
    on_host = strong_view(images.cpu(), (16, 16), hflip=True, generator=seeded())
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = strong_view(images, (16, 16), hflip=True, generator=seeded())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (on_gpu.cpu().int() - on_host.int()).abs().float().mean() < 0.5
